"""Settings: where they come from, which wins, and what stops the start."""

from pathlib import Path

import msgspec
import pytest

from upnext.errors import SettingsError
from upnext.settings import Settings, load_settings, settings_table


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "upnext.toml").write_text("[ranking]\ntop = 60\nchunk = 256\n[serve]\nport = 9000\n")
    return tmp_path


def test_without_any_source_settings_have_their_defaults(tmp_path: Path) -> None:
    assert load_settings() == load_settings(tmp_path, {}, []) == Settings()
    assert Settings().ranking.top == 100


def test_the_file_beats_defaults_the_environment_the_file_and_set_the_environment(home: Path) -> None:
    environment = {"UPNEXT_RANKING__TOP": "70", "UPNEXT_SERVE__PORT": "9001"}
    assert load_settings(home).ranking.top == 60
    assert load_settings(home, environment).ranking.top == 70
    settings = load_settings(home, environment, ["ranking.top=80"])
    assert (settings.ranking.top, settings.serve.port, settings.ranking.chunk) == (80, 9001, 256)
    assert settings.retrieval == Settings().retrieval


def test_of_two_overrides_the_last_wins() -> None:
    assert load_settings(overrides=["ranking.top=1", "ranking.top=2"]).ranking.top == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("serve.host=0.0.0.0", "0.0.0.0"),
        ('ranking.exit="3"', "3"),
        ("reranking.blocked=['a', 'b']", ("a", "b")),
        ("reranking.drop_seen=false", False),
        ("retrieval.content_weight=2", 2.0),
        ("ranking.exit=a=b", "a=b"),
        ("trends.half_lives_ms=[1, 2, 3]", (1, 2, 3)),
    ],
)
def test_values_are_read_as_toml_or_else_as_text(override: str, expected: object) -> None:
    name = override.partition("=")[0]
    assert dict(settings_table(load_settings(overrides=[override])))[name] == expected


def test_other_variables_of_the_environment_are_not_looked_at() -> None:
    assert load_settings(environment={"PATH": "x", "UPNEXT_DATA": "y", "RANKING__TOP": "1"}) == Settings()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rankin.top=1", "'rankin'; did you mean 'ranking'"),
        ("ranking.topp=1", "ranking.topp; did you mean 'top'"),
        ("ranking.xyzzy=1", "ranking.xyzzy; known are top, chunk, exit"),
        ("ranking.top=many", r"Expected `int`, got `str` - at `\$.ranking.top`"),
        ("ranking.top=true", r"`\$.ranking.top`"),
        ("ranking.top=0", r">= 1 - at `\$.ranking.top`"),
        ("trends.popular_half_life=3", r"<= 2 - at `\$.trends.popular_half_life`"),
        ("budget.full_ms=0", r"> 0.0 - at `\$.budget.full_ms`"),
        ("ranking.top", "is not of the form group.name=value"),
        ("top=3", "is not of the form group.name=value"),
    ],
)
def test_a_setting_that_is_wrong_stops_the_start_and_is_named(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(overrides=[override])


def test_a_misspelt_variable_of_the_environment_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="did you mean 'workers'"):
        load_settings(environment={"UPNEXT_SERVE__WORKER": "2"})


@pytest.mark.parametrize("overrides", [[], ["ranking.top=5"]])
def test_a_value_where_a_group_is_due_stops_the_start(tmp_path: Path, overrides: list[str]) -> None:
    (tmp_path / "upnext.toml").write_text("ranking = 3\n")
    with pytest.raises(SettingsError, match="'ranking' must be a table"):
        load_settings(tmp_path, {}, overrides)


@pytest.mark.parametrize("raw", [b"[ranking\n", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "upnext.toml").write_bytes(raw)
    with pytest.raises(SettingsError, match=r"upnext\.toml cannot be read as TOML"):
        load_settings(tmp_path)


def test_the_table_lists_every_setting_once_with_the_value_in_force() -> None:
    table = settings_table(load_settings(overrides=["ranking.top=42"]))
    expected = {
        f"{group}.{name}": value
        for group, values in msgspec.to_builtins(Settings()).items()
        for name, value in values.items()
    }
    names = [name for name, _ in table]
    assert len(names) == len(set(names)) == sum(len(values) for values in msgspec.to_builtins(Settings()).values())
    assert set(names) == set(expected)
    assert dict(table)["ranking.top"] == 42
    assert dict(table)["state.seen_items"] == 5_000


def test_the_defaults_are_values_that_could_be_set() -> None:
    overrides = [f"{name}={list(v) if isinstance(v, tuple) else repr(v)}" for name, v in settings_table(Settings())]
    assert load_settings(overrides=[each.replace("True", "true").replace("False", "false") for each in overrides]) == (
        Settings()
    )
