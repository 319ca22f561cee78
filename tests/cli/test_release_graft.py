"""The worked example of docs/bring_your_own.md, run as it stands, and what becomes of the release it is grafted on."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.conftest import TrainedHome
from tests.funnel.ranking.own_graph import exported, own_ranker
from upnext.cli.main import cli
from upnext.clock import Deadline, SystemClock
from upnext.errors import ReleaseError, TrainingError
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.live import open_live
from upnext.funnel.request import SlateRequest
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bring_your_own.md"
PYTORCH, XGBOOST = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def upnext(*words: str) -> str:
    """What a command prints last."""
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()[-1]


@pytest.fixture(scope="module")
def home(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the inputs of its release beside it."""
    home = trained_home.copy(tmp_path_factory.mktemp("own") / "home")
    upnext("release", "inputs", "--home", str(home), "--to", str(home.parent / "lists.npz"), "--most", "60")
    return home


def run_block(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # the page's own words


def answered(release: Release, **fields) -> Answer:
    """Somebody unknown asks the release for a slate."""
    funnel = open_live(release, Settings(), SystemClock()).funnel
    answer = Answer(funnel.popular())
    funnel.run(SlateRequest(None, k=10, **fields), answer, lambda _: UserView(), Deadline.never(SystemClock()))
    assert answer.slate is not None
    assert (answer.slate.tier, answer.degraded) == ("full", [])
    return answer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the tracing exporter
def test_the_ranker_from_pytorch_of_the_page_is_served(home, monkeypatch):
    run_block(PYTORCH, home.parent, monkeypatch)
    before = Releases(home).open_active()
    made = upnext("release", "graft", "--home", str(home), "--ranker", str(home.parent / "ranker.onnx"))
    release = Releases(home).open(made)
    assert Releases(home).active_id() == before.id
    assert release.manifest.parent == before.id
    report = release.manifest.reports["ranker"]
    assert (report["kind"], report["file"], report["p50_us"] > 0) == ("own graph", "ranker.onnx", True)
    assert answered(release).exit == "own"
    assert not {name for name in release.manifest.parts if name.startswith("ranker.exit") and name != "ranker.exits"}


def test_the_lists_are_those_of_the_release(home):
    with np.load(home.parent / "lists.npz") as file:
        lists = dict(file)
    spec = open_live(Releases(home).open_active(), Settings(), SystemClock()).funnel.assembler.spec
    assert lists["cross_names"].tolist() == list(spec.cross)
    assert lists["user"].shape[1] == len(spec.user)
    assert lists["item"].shape == (200, len(spec.item))
    n_lists = len(lists["rows"])
    assert 20 < n_lists <= 60
    assert lists["cross"].shape[:2] == lists["rows"].shape
    assert (lists["rows"][np.arange(n_lists), lists["target"]] >= 0).all()


def test_the_ranker_from_xgboost_of_the_page_is_served_and_can_stop_early(home, monkeypatch):
    run_block(XGBOOST, home.parent, monkeypatch)
    made = upnext("release", "graft", "--home", str(home), "--trees", str(home.parent / "ranker.ubj"), "--exits", "20")
    release = Releases(home).open(made)
    assert release.json("ranker.exits")["names"] == ["trees20", "trees60"]
    assert set(release.manifest.reports["ranker"]["p50_us"]) == {"trees20", "trees60"}
    assert answered(release).exit == "trees60"
    assert answered(release, mode="scroll").exit == "trees20"


def refused(home: Path, tmp_path: Path, option: str, content: bytes) -> str:
    """The message with which a file is refused; no release is left behind."""
    releases, before = Releases(home), Releases(home).ids()
    (tmp_path / "own").write_bytes(content)
    with pytest.raises(ReleaseError) as error:
        CliRunner().invoke(
            cli, ["release", "graft", "--home", str(home), option, str(tmp_path / "own")], catch_exceptions=False
        )
    assert releases.ids() == before
    assert not list(releases.folder.glob(".draft-*"))
    return str(error.value)


def test_a_graph_for_other_inputs_is_refused_by_the_name_of_the_input(home, tmp_path):
    assert "input `user`" in refused(home, tmp_path, "--ranker", own_ranker(3, 4, 5))


def test_trees_of_other_columns_are_refused(home, tmp_path):
    import xgboost

    rng = np.random.default_rng(0)
    trees = xgboost.train({}, xgboost.DMatrix(rng.normal(size=(50, 3)), label=rng.normal(size=50)), 2)
    assert "read 3 columns" in refused(home, tmp_path, "--trees", bytes(trees.save_raw("ubj")))


def test_a_session_step_of_ones_own_moves_sessions_under_a_name_of_its_own(home, tmp_path):
    class Half(torch.nn.Module):
        def forward(self, state, item_vector):
            mixed = 0.5 * state + 0.5 * item_vector
            return mixed, mixed * 1.0

    before = Releases(home).open_active()
    dim = before.array("vectors.session").shape[1] - 1
    inputs = {"state": torch.zeros(2, dim), "item_vector": torch.zeros(2, dim)}
    (tmp_path / "step.onnx").write_bytes(exported(Half(), inputs, ["new_state", "vector"]))
    made = upnext("release", "graft", "--home", str(home), "--session-step", str(tmp_path / "step.onnx"))
    release = Releases(home).open(made)
    assert release.json("facts")["encoders"] != before.json("facts")["encoders"]
    assert release.manifest.reports["session_step"]["kind"] == "own graph"
    assert release.json("ranker.exits") == before.json("ranker.exits")
    live = open_live(release, Settings(), SystemClock())
    assert live.stepper is not None
    assert live.stepper.encoders == release.json("facts")["encoders"]
    answered(release)
    with pytest.raises(TrainingError, match=f"evaluate {before.id}, onto which it was grafted"):
        upnext("release", "inputs", made, "--home", str(home), "--to", str(tmp_path / "lists.npz"))
