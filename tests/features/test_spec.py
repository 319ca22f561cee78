"""Names of inputs and the digest over them."""

import msgspec

from upnext.features.spec import CROSS, N_FLAGS, SOURCE_BIT, SOURCES, FeatureSpec, feature_spec


def test_every_name_is_there_once_in_its_place() -> None:
    spec = feature_spec(user_dim=2, session_dim=1, genres=["a", "b"])
    assert spec.user == (
        "user_vector:0", "user_vector:1", "session_vector:0", "interactions", "genre:a", "genre:b",
    )  # fmt: skip
    assert spec.item == (
        "user_space:0", "user_space:1", "session_space:0", "session_bias", "count_weekly", "published", "price",
        "learnt", "genre:a", "genre:b",
    )  # fmt: skip
    assert spec.cross == CROSS
    assert len(set(CROSS)) == len(CROSS)


def test_only_the_most_frequent_genres_are_inputs() -> None:
    spec = feature_spec(user_dim=0, session_dim=0, genres=[f"g{number}" for number in range(100)])
    assert spec.user[1:] == tuple(f"genre:g{number}" for number in range(24))


def test_equal_inputs_have_equal_digests_and_any_other_name_another() -> None:
    def digest(user: int = 4, session: int = 4, genres: tuple[str, ...] = ("a", "b")) -> str:
        return feature_spec(user_dim=user, session_dim=session, genres=list(genres)).digest()

    assert digest() == digest()
    assert len(digest()) == 16
    assert int(digest(), 16) > 0
    spec = feature_spec(user_dim=4, session_dim=4, genres=["a", "b"])
    others = [digest(user=5), digest(session=3), digest(genres=("b", "a")), digest(genres=("a",)), digest(genres=())]
    others.append(msgspec.structs.replace(spec, cross=CROSS[:-1]).digest())
    others.append(msgspec.structs.replace(spec, cross=CROSS[::-1]).digest())
    others.append(FeatureSpec(user=spec.item, item=spec.user).digest())
    assert len({digest(), *others}) == 1 + len(others)


def test_sources_have_a_bit_each_and_the_first_ones_a_flag() -> None:
    assert [SOURCE_BIT[source] for source in SOURCES] == [1 << place for place in range(len(SOURCES))]
    assert CROSS[-N_FLAGS:] == tuple(f"from_{source}" for source in SOURCES[:N_FLAGS])
