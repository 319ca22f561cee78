"""Slates as served become lists that the ranker learns from: the right rows, the features as served, one target."""

import numpy as np
import pytest

from tests.funnel.fakes import World
from tests.ingest.serving import NOW_MS, event, slate
from tests.models.planted_lists import small_config
from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.impression_lists import impression_lists, usable_impressions, with_impressions
from upnext.clock import Deadline, ManualClock
from upnext.domain.event import Item
from upnext.features.spec import FeatureSpec
from upnext.funnel.answer import Answer
from upnext.funnel.request import SlateRequest
from upnext.funnel.served import served_slate
from upnext.ingest.served import JoinedSlate, Outcome
from upnext.ingest.served_slates import ServedSlates
from upnext.models.ranker_dnn import score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.release.releases import Releases
from upnext.settings import ImpressionSettings, RerankingSettings, RetrievalSettings, Settings
from upnext.training.metrics import ndcg, places_in_scores
from upnext.training.ranker_loop import train_ranker

SPEC = FeatureSpec(user=("u0", "u1", "u2"), item=("i0",), cross=("c0", "c1"))
CATALOG = Catalog.build(Item(item_id=item_id) for item_id in "dcba")  # a is row 3
ITEMS = np.zeros((4, 1), np.float32)


def outcome(item_id: str, action: str = "click", after_ms: int = 0) -> Outcome:
    return Outcome(item_id=item_id, action=action, timestamp_ms=NOW_MS + after_ms, subject=1)


def joined(*outcomes: Outcome, items: str = "abc", **fields) -> JoinedSlate:
    return JoinedSlate(slate("r", *items, **({"spec": SPEC.digest()} | fields)), list(outcomes))


def lists_of(*slates: JoinedSlate, **options) -> RankerLists:
    return impression_lists(slates, CATALOG, ITEMS, SPEC, **options)


def test_a_list_is_the_slate_with_its_features_and_the_choice_as_target():
    lists = lists_of(joined(outcome("b"), outcome("a", "impression")))
    assert lists.rows.tolist() == [[3, 2, 1]]
    assert lists.cross.tolist() == [[[0, 0.5], [1, 1.5], [2, 2.5]]]
    assert lists.user.tolist() == [[1, 2, 3]]
    assert lists.target.tolist() == [1]


def test_of_several_choices_the_first_is_the_target_and_the_others_are_no_wrong_answers():
    lists = lists_of(joined(outcome("a", "purchase", 20), outcome("c", "click", 10)))
    assert lists.rows.tolist() == [[2, 1]]
    assert lists.target.tolist() == [1]
    assert lists.cross.tolist() == [[[1, 1.5], [2, 2.5]]]


def test_items_without_a_row_or_without_features_are_left_out():
    unranked = np.array([[0, 0], [1, 1], [np.nan, np.nan], [3, 3]], np.float32)
    lists = lists_of(joined(outcome("b"), items="zbad", cross=unranked.tobytes()))
    assert lists.rows.tolist() == [[2, 0]]
    assert lists.target.tolist() == [0]


def test_lists_of_different_length_are_padded():
    lists = lists_of(joined(outcome("a"), items="ab"), joined(outcome("d"), items="abcd"))
    assert lists.rows.tolist() == [[3, 2, -1, -1], [3, 2, 1, 0]]
    assert lists.target.tolist() == [0, 3]


@pytest.mark.parametrize(
    "useless",
    [
        joined(),
        joined(outcome("b", "impression"), outcome("c", "dislike")),
        joined(outcome("z")),
        joined(outcome("b"), spec="another"),
        joined(outcome("b"), spec="", user=b"", cross=b""),
        joined(outcome("z"), items="zab"),
        joined(outcome("a"), outcome("b"), outcome("c")),
        joined(outcome("a"), items="azy"),
        joined(outcome("a"), cross=np.array([[np.nan, 0], [0, 0], [0, 0]], np.float32).tobytes()),
    ],
)
def test_slates_that_teach_nothing_make_no_list(useless):
    lists = lists_of(useless, joined(outcome("b")))
    assert (len(lists), lists.target.tolist()) == (1, [1])
    assert len(lists_of(useless)) == 0


def test_only_slates_of_the_releases_asked_for():
    slates = [joined(outcome("a"), release="old"), joined(outcome("b"), release="new")]
    assert lists_of(*slates, releases={"new"}).target.tolist() == [1]
    assert len(lists_of(*slates)) == 2


def test_impressions_join_the_replayed_lists_with_a_weight_of_their_own():
    slates = lists_of(joined(outcome("b")), joined(outcome("a"), items="ab"))
    replayed = lists_of(joined(outcome("d"), items="abcd"))
    both = with_impressions(replayed, slates, 0.5)
    assert both.rows.tolist() == [[3, 2, 1, 0], [3, 2, 1, -1], [3, 2, -1, -1]]
    assert both.target.tolist() == [3, 1, 0]
    assert both.counts().tolist() == [1, 0.5, 0.5]
    assert np.isnan(both.labels()).all()
    assert with_impressions(replayed, None, 0.5) is replayed


def test_only_slates_of_releases_with_the_same_encoders_are_read(tmp_path):
    clock, releases = ManualClock(NOW_MS), Releases(tmp_path)
    made = {}
    for encoders in ("old", "new"):
        writer = releases.writer()
        writer.add_json("facts", {"encoders": encoders})
        made[encoders] = writer.commit().id
    assert usable_impressions(tmp_path, CATALOG, ITEMS, SPEC, "new", clock) is None
    served = ServedSlates(tmp_path / "served", ImpressionSettings(), clock)
    for number, encoders in enumerate(("old", "new", "new")):
        request = f"r{number}"
        served.put([slate(request, spec=SPEC.digest(), release=made[encoders])])
        served.join([(number + 1, event(request, "abc"[number]))])
    served.close()
    assert sorted(usable_impressions(tmp_path, CATALOG, ITEMS, SPEC, "new", clock).target.tolist()) == [1, 2]
    assert usable_impressions(tmp_path, CATALOG, ITEMS, SPEC, "other", clock) is None


def test_a_ranker_learns_from_slates_what_their_users_look_for():
    """Everybody takes the item of the slate with the highest user score: the features as served tell it."""
    world = World(200)
    retrieval = RetrievalSettings(candidates=60, session_vector=30, user_vector=30)
    settings = Settings(retrieval=retrieval, reranking=RerankingSettings(genre_gap=0))
    funnel = world.funnel(settings)
    at = funnel.assembler.spec.cross.index("user_score")
    slates = []
    for number in range(300):
        request, answer, view = SlateRequest(None, k=20), Answer(funnel.popular(), capture=True), world.view(recent=[1])
        funnel.run(request, answer, lambda _, view=view: view, Deadline.never(world.clock))
        ids = world.catalog.ids.take(answer.slate.rows)
        served = served_slate(
            request, answer, answer.slate, funnel, request_id=str(number), served_ms=NOW_MS, release="r", item_ids=ids
        )
        slates.append(JoinedSlate(served, [outcome(ids[int(served.cross_features()[:, at].argmax())])]))
    items = funnel.assembler.items(funnel.crowd.trends)
    lists = impression_lists(slates, world.catalog, items, funnel.assembler.spec)
    assert lists.rows.shape == (300, 20)
    learnt = train_ranker(lists.take(np.arange(240)), small_config(epochs=3), seed=0, device="cpu")
    fresh = lists.take(np.arange(240, 300))
    as_served = ndcg(fresh.target.astype(np.int64), 10)
    judged = ndcg(places_in_scores(score_lists(learnt, fresh), fresh.target), 10)
    assert as_served < 0.5
    assert judged > 0.8
