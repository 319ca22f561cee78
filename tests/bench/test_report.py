"""What a run leaves behind: a table, a JSON file, a picture, and an exit status."""

import io
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.bench.loopback_server import Answer, serving
from upnext.bench.machine import Machine, commit_of, this_machine
from upnext.bench.plot import draw_run, tiers_by_second
from upnext.bench.progress import ProgressLine
from upnext.bench.report import as_table, report_of, write_json
from upnext.bench.run import Plan, Run
from upnext.bench.samples import Outcome, Samples
from upnext.bench.summary import summarize
from upnext.bench.target import Target
from upnext.cli.bench_command import bench_command
from upnext.errors import SettingsError

MACHINE = Machine("Abacus 9", 4, 1, 2**30, "Linux 1", "3.11.0", 0.5, {"upnext": "1"}, "abc123")


def make_run() -> Run:
    """Two seconds after one of warm-up: full for a second, then half fast, with one request never answered."""
    samples = Samples()
    for intended_ms, tier in ((500, "popular"), (1100, "full"), (1200, "full"), (2100, "fast"), (2200, "full")):
        index = samples.arrived(float(intended_ms))
        samples.sent(index, intended_ms + 0.1)
        body = b'{"tier":"%b","items":[1,2],"timing_ms":{"ranking":2.5}}' % tier.encode()
        samples.ended(index, intended_ms + 4.0, Outcome.REPLIED, 200, body)
    samples.arrived(2300.0)
    plan = Plan(Target("127.0.0.1", 8000, "/v1/recommend"), ["a"], rate_per_s=2.0, seconds=2.0, warmup_s=1.0)
    return Run(plan, samples, 3_000.0)


def test_the_json_names_machine_parameters_commit_and_figures(tmp_path: Path) -> None:
    run = make_run()
    write_json(report_of(run.plan, summarize(run), MACHINE), tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["loop"] == "open"
    assert written["parameters"]["rate_per_s"] == 2.0
    assert written["machine"] == msgspec.to_builtins(MACHINE)
    assert written["result"]["latency_ms"]["p50"] == pytest.approx(4.0)
    assert written["result"]["answers"]["stages_ms"]["ranking"]["p99"] == 2.5
    assert written["result"]["failures"] == {"unsent": 1}


def test_the_table_shows_latency_stages_tiers_and_failures() -> None:
    run = make_run()
    output = io.StringIO()
    Console(file=output, width=120).print(as_table(report_of(run.plan, summarize(run), MACHINE)))
    for shown in ("Abacus 9", "abc123", "ranking", "p99.9", "full 75.0%, fast 25.0%", "unsent 1", "4 of 5"):
        assert shown in output.getvalue()


def test_a_run_without_one_answer_can_still_be_reported_and_drawn(tmp_path: Path) -> None:
    nothing = Run(make_run().plan, Samples(), 3_000.0)
    report = report_of(nothing.plan, summarize(nothing), MACHINE)
    Console(file=io.StringIO()).print(as_table(report))
    write_json(report, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text())["result"]["latency_ms"]["p50"] is None
    draw_run(nothing, tmp_path / "bench.png", "nothing")


def test_tiers_are_shared_out_per_second_and_requests_without_answer_are_shown() -> None:
    shares = tiers_by_second(make_run())
    assert shares["full"] == pytest.approx([1.0, 1 / 3])
    assert shares["fast"] == pytest.approx([0.0, 1 / 3])
    assert shares["no answer"] == pytest.approx([0.0, 1 / 3])
    assert "popular" not in shares  # only in the warm-up


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    draw_run(make_run(), tmp_path / "bench.png", "title")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_this_machine_has_a_name_cores_and_versions(tmp_path: Path) -> None:
    machine = this_machine()
    assert machine.cpu
    assert 1 <= machine.usable_cores <= machine.cores
    assert machine.memory_bytes > 2**26
    assert "upnext" in machine.versions
    assert commit_of(tmp_path) is None


def test_the_progress_line_draws_on_a_terminal_once_a_percent_and_never_into_a_file() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, file = Terminal(), io.StringIO()
    for output in (terminal, file):
        line = ProgressLine("load", output)
        for share in (0.5, 0.501, 0.502, 1.0):
            line(share, 1234)
        line.close()
    assert terminal.getvalue().count("\rload") == 2
    assert " 50 % 1,234 requests" in terminal.getvalue()
    assert file.getvalue() == ""


def test_the_command_writes_what_it_is_asked_to_and_exits_with_0(tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("ann\n\nbob\n")
    with serving(lambda number: Answer()) as url:
        options = (
            f"--rate 100 --seconds 0.2 --warmup 0 --users-file {users} --json {tmp_path}/b.json --png {tmp_path}/b.png"
        )
        result = CliRunner().invoke(bench_command, [url, *options.split()])
    assert result.exit_code == 0, result.output
    assert "p99.9" in result.output
    assert json.loads((tmp_path / "b.json").read_text())["parameters"]["users"] == 2
    assert (tmp_path / "b.png").stat().st_size > 1_000


def test_the_command_exits_with_1_when_a_request_failed() -> None:
    with serving(lambda number: Answer(status=500)) as url:
        result = CliRunner().invoke(bench_command, [url, "--closed", "2", "--seconds", "0.1", "--warmup", "0"])
    assert result.exit_code == 1
    assert "status_500" in result.output


@pytest.mark.parametrize(
    "wrong", [[], ["--rate", "1", "--closed", "1"], ["--rate", "1", "--users", "0"], ["--rate", "1", "--cpu", "100000"]]
)
def test_options_that_contradict_each_other_are_refused(wrong: list[str]) -> None:
    result = CliRunner().invoke(bench_command, ["http://127.0.0.1:1", *wrong])
    assert isinstance(result.exception, SettingsError)
