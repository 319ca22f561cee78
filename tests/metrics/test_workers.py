"""Several worker processes count as one server; dead ones neither vanish from counts nor linger in gauges."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics.test_recorder import values_of
from upnext.metrics.cells import Cell, Cells, read_cells
from upnext.metrics.workers import share_between_workers

WORKER = Path(__file__).with_name("counting_worker.py")
REQUESTS = ("upnext_requests_total", (("route", "live"), ("tier", "full")))
RANKINGS = ("upnext_stage_duration_seconds_count", (("stage", "ranking"),))
WORKERS = ("upnext_workers", (("tenant", "default"),))
CREATED = ("upnext_release_created_timestamp_seconds", (("tenant", "default"),))
ITEMS = ("upnext_release_items", (("tenant", "default"),))


class Worker:
    """A process under `share_between_workers` that has counted and waits."""

    def __init__(self, requests: int, stage_ms: float = 1.0, quality: float = 1.0, released: float = 0.0) -> None:
        arguments = [str(number) for number in (requests, stage_ms, quality, released)]
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def values(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return values_of(b"".join(iter(self.process.stdout.readline, b"END\n")))

    def die(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder() -> Iterator[Path]:
    with share_between_workers() as folder:
        yield folder


@pytest.fixture
def start(folder: Path) -> Iterator[type[Worker]]:
    started: list[Worker] = []

    def start_worker(*arguments: float) -> Worker:
        started.append(Worker(*arguments))  # type: ignore[arg-type]
        return started[-1]

    yield start_worker  # type: ignore[misc]
    for worker in started:
        worker.die()


def test_any_worker_speaks_for_all(start: type[Worker]) -> None:
    first, second = start(3, 1.0, 0.9, 200.0), start(4, 60.0, 0.4, 100.0)
    for worker in (first, second):
        values = worker.values()
        assert values[REQUESTS] == 7
        assert values[RANKINGS] == 7
        assert values[("upnext_stage_duration_seconds_bucket", (("le", "0.05"), ("stage", "ranking")))] == 3
        assert values[WORKERS] == 7  # a sum
        assert values[ITEMS] == 0.4  # the least
        assert (
            values[("upnext_release_created_timestamp_seconds", (("tenant", "default"),))] == 100.0
        )  # the oldest in use


def test_a_dead_workers_counts_stay_and_its_gauges_go(start: type[Worker]) -> None:
    doomed, survivor = start(5, 1.0, 0.1), start(2, 1.0, 0.8)
    assert survivor.values()[ITEMS] == 0.1
    doomed.die()
    for _ in range(3):  # folding again must not count the dead again
        values = survivor.values()
        assert (values[REQUESTS], values[RANKINGS]) == (7, 7)
        assert (values[WORKERS], values[ITEMS]) == (2, 0.8)


def test_workers_that_die_again_and_again_leave_a_bounded_number_of_files(start: type[Worker], folder: Path) -> None:
    survivor = start(1)
    survivor.values()
    alone = len(list(folder.iterdir()))
    for _ in range(4):
        start(1).die()
    assert survivor.values()[REQUESTS] == 5
    assert len(list(folder.iterdir())) <= alone + 2  # the folded cells and their names


def test_quantiles_of_all_workers_are_those_of_all_their_times_together(start: type[Worker]) -> None:
    fast, slow = start(900, 2.0), start(100, 80.0)
    for _ in range(2):  # the second time one of them is dead
        values = fast.values()
        assert values[RANKINGS] == 1_000
        assert values[("upnext_stage_duration_seconds_bucket", (("le", "0.003"), ("stage", "ranking")))] == 900
        assert values[("upnext_stage_duration_seconds_sum", (("stage", "ranking"),))] == pytest.approx(9.8)
        slow.die()


def test_a_line_of_names_that_is_half_written_is_not_read_yet(folder: Path) -> None:
    cells = Cells(folder, "17")
    cells.words[cells.place(Cell("counter", "requests", ("full", "live")))] = 3.0
    with (folder / "17.names").open("ab") as file:
        file.write(b'["counter", "requ')
    assert [(cell.labels, words.tolist()) for cell, words in read_cells(folder, "17")] == [(("full", "live"), [3.0])]


def test_a_new_server_starts_at_zero() -> None:
    with share_between_workers() as first:
        worker = Worker(9)
        worker.die()
    with share_between_workers() as second:
        worker = Worker(1)
        assert worker.values()[REQUESTS] == 1
        worker.die()
    assert first != second
    assert not first.exists()
    assert not second.exists()
    assert "_UPNEXT_METRICS" not in os.environ
