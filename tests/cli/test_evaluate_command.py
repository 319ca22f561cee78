"""What `upnext evaluate`, `compare` and `off-policy` tell, over a tiny trained home."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from tests.conftest import TrainedHome
from upnext.cli.main import cli
from upnext.errors import DataError
from upnext.release.releases import Releases
from upnext.training.cold_start import ColdStart
from upnext.training.comparison_report import ComparisonReport
from upnext.training.report import EvaluationReport

ROUND = {"reward": 1.0, "propensity": 0.5, "target": 0.25}


def told(folder: Path, *words: str) -> dict[str, Any]:
    """The JSON that a command writes."""
    file = folder / "told.json"
    result = CliRunner().invoke(cli, [*words, "--json", str(file)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return dict(json.loads(file.read_text()))


def test_an_evaluation_has_intervals_and_segments(trained_home: TrainedHome, tmp_path: Path) -> None:
    report = msgspec.convert(told(tmp_path, "evaluate", "--home", str(trained_home.path)), EvaluationReport)
    kept = Releases(trained_home.path).evaluations.of(trained_home.release_id)["leave-one-out"]
    assert msgspec.convert(kept, EvaluationReport) == report  # where the console finds it
    low, high = report.intervals["funnel"]["ndcg@10"]
    assert low < report.systems["funnel"]["ndcg@10"] < high
    assert high - low < 0.2
    n_cases = report.systems["funnel"]["n_cases"]
    for kind in ("users", "items"):
        segments = {name: each for name, each in report.segments.items() if name.startswith(kind)}
        assert sum(each.n_cases for each in segments.values()) == n_cases
        mean = sum(each.n_cases * each.systems["funnel"]["hr@10"] for each in segments.values()) / n_cases
        assert mean == pytest.approx(report.systems["funnel"]["hr@10"])


def test_cold_start_is_told_by_number_of_interactions(trained_home: TrainedHome, tmp_path: Path) -> None:
    png = tmp_path / "cold.png"
    words = ("evaluate", "--home", str(trained_home.path), "--cold-start", "--most-users", "25", "--png", str(png))
    words = (*words, "--set", "retrieval.candidates=30")  # few, so that it matters where they come from
    report = msgspec.convert(told(tmp_path, *words), ColdStart)
    assert [start.n_known for start in report.starts] == list(range(11))
    assert {start.n_cases for start in report.starts} == {25}
    nothing_known = report.starts[0].systems
    assert "cold-start-leave-one-out" in Releases(trained_home.path).evaluations.of(trained_home.release_id)
    assert nothing_known["with content"] == nothing_known["without content"]  # there is no text to start from
    assert any(start.systems["with content"] != start.systems["without content"] for start in report.starts)
    # The planted series can be followed from a few interactions, not from none.
    funnel = [start.systems["without content"]["recall@20"] for start in report.starts]
    assert sum(funnel[6:]) / 5 > funnel[0]
    assert 0 < report.content_us["p50"] <= report.content_us["p99"] <= report.content_us["max"]
    assert png.read_bytes().startswith(b"\x89PNG")


def test_cold_start_does_not_go_with_the_stream(trained_home: TrainedHome) -> None:
    words = ["evaluate", "--home", str(trained_home.path), "--cold-start", "--split", "stream"]
    assert "--cold-start goes with" in CliRunner().invoke(cli, words).output


def test_a_release_compared_with_itself_is_not_told_apart(trained_home: TrainedHome, tmp_path: Path) -> None:
    words = ("compare", trained_home.release_id, trained_home.release_id, "--home", str(trained_home.path))
    report = msgspec.convert(told(tmp_path, *words), ComparisonReport)
    assert {each.system for each in report.differences} == {"session", "retrieval", "ranked", "funnel"}
    assert {(each.difference, each.verdict) for each in report.differences} == {(0.0, "not told apart")}
    assert report.n_cases > 100


def test_lines_of_rounds_are_estimated(tmp_path: Path) -> None:
    file = tmp_path / "rounds.jsonl"
    lines = [ROUND, ROUND | {"reward": 0.0, "target": 0.75}]
    file.write_text("\n".join(json.dumps(line) for line in lines * 20) + "\n\n")
    result = told(tmp_path, "off-policy", str(file))["rounds"]
    assert set(result["estimates"]) == {"logged", "ips", "snips"}
    assert result["estimates"]["ips"]["value"] == pytest.approx(0.25)  # (0.5 × 1 + 1.5 × 0) / 2
    assert result["estimates"]["snips"]["value"] == pytest.approx(0.25)
    assert result["diagnostics"]["rounds"] == 40


def test_lines_with_guesses_are_estimated_doubly_robustly(tmp_path: Path) -> None:
    file = tmp_path / "rounds.jsonl"
    file.write_text(json.dumps(ROUND | {"modelled": 0.5, "expected": 0.3}) + "\n")
    estimates = told(tmp_path, "off-policy", str(file))["rounds"]["estimates"]
    assert estimates["dr"]["value"] == pytest.approx(0.3 + 0.5 * (1 - 0.5))
    assert estimates["dm"]["value"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"reward": 1}', "line 1 of .* is no round"),
        (json.dumps(ROUND | {"propensity": 0}), "propensities are above 0"),
        (json.dumps(ROUND | {"modelled": 0.5}), "give both in all"),
        ("", "holds no line"),
    ],
)
def test_lines_that_are_no_rounds_are_refused(line: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rounds.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        CliRunner().invoke(cli, ["off-policy", str(file)], catch_exceptions=False)


def test_of_the_open_bandit_dataset_all_campaigns_are_told(tmp_path: Path) -> None:
    header = "index,timestamp,item_id,position,click,propensity_score," + ",".join(
        f"user_feature_{n}" for n in range(4)
    )
    for policy, propensity in (("random", 0.5), ("bts", 0.8)):
        folder = tmp_path / "data" / policy / "men"
        folder.mkdir(parents=True)
        rows = [
            f"{n},2019-11-24 00:03:{n % 60:02}+00:00,{n % 2},1,{int(n % 4 == 1)},"
            f"{propensity if n % 2 else 1 - propensity},a,b,c,d"
            for n in range(80)
        ]
        (folder / "men.csv").write_text("\n".join([header, *rows]) + "\n")
    found = told(tmp_path, "off-policy", str(tmp_path / "data"))
    assert set(found) == {"men", "all"}
    assert found["men"]["estimates"]["logged"]["value"] == pytest.approx(0.25)
    # Item 1, of which half is clicked, is shown with 0.8 in place of 0.5.
    assert found["men"]["estimates"]["ips"]["value"] == pytest.approx(0.4)
    assert found["men"]["estimates"]["on-policy"]["value"] == pytest.approx(0.25)
    with pytest.raises(DataError, match="has no log of policy 'x', only of bts, random"):
        CliRunner().invoke(cli, ["off-policy", str(tmp_path / "data"), "--evaluate", "x"], catch_exceptions=False)
