"""A small release opened for requests: what was written is what serves, and parts that do not fit are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.funnel.fakes import NOW_MS, World, noted, run
from upnext.clock import Deadline
from upnext.compress.ranker import export_ranker
from upnext.compress.step import session_step_graph
from upnext.domain.event import Event
from upnext.errors import ReleaseError
from upnext.features.assemble import Assembler
from upnext.features.item_vectors import ItemVectors
from upnext.features.signals import signals_of
from upnext.funnel.live import Live, open_live
from upnext.index.flat import FlatIndex
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists
from upnext.models.session import SessionConfig, session_encoder
from upnext.release.onnx_session import open_session
from upnext.release.writer import ReleaseWriter
from upnext.settings import RankingSettings, Settings
from upnext.state.apply import apply_events
from upnext.store.memory_store import MemoryStore

N_ITEMS, DIM = 60, 16
SPACES = ("session", "user", "content")


@pytest.fixture(scope="module")
def parts():
    """World, encoder and exported ranker, all of random weights."""
    torch.manual_seed(0)
    world = World(N_ITEMS, dim=DIM)
    encoder = session_encoder(N_ITEMS, SessionConfig(embedding_size=DIM))
    torch.nn.init.normal_(encoder.embedding.weight)
    world.vectors = ItemVectors(encoder.item_vectors(), world.user, world.content)
    assembler = Assembler(world.catalog, world.vectors)
    items = assembler.items(world.crowd(Settings(), range(20)).trends)
    spec, rng = assembler.spec, np.random.default_rng(0)
    lists = RankerLists(
        item_inputs=items,
        user=rng.normal(size=(20, len(spec.user))).astype(np.float32),
        rows=np.stack([rng.permutation(N_ITEMS)[:30] for _ in range(20)]).astype(np.int32),
        cross=rng.normal(size=(20, 30, len(spec.cross))).astype(np.float32),
        target=np.zeros(20, np.int32),
    )
    config = RankerConfig(first_width=32, hidden=(16, 16), exits=(1, 2))
    model = RankerDnn(
        config, n_item_inputs=items.shape[1], n_user_inputs=len(spec.user), n_cross_inputs=len(spec.cross)
    )
    for weights in (*model.heads.parameters(), model.wide.weight):
        weights.data.normal_()
    return world, encoder, spec, export_ranker(model.eval(), lists)


def release_of(folder: Path, parts, *, digest: str = "", without: tuple[str, ...] = (), **replaced: np.ndarray):
    """A release of `parts`, some tables `replaced` by name."""
    world, encoder, spec, exported = parts
    folder.mkdir(exist_ok=True)
    writer = ReleaseWriter(folder / "releases", world.clock)
    world.catalog.save(writer.add_array, writer.add_json)
    world.crowd(Settings(), range(20)).save(writer.add_array)
    for space in SPACES:
        writer.add_array(f"vectors.{space}", replaced.get(space, getattr(world.vectors, space)))
        FlatIndex.build(replaced.get(f"{space}_index", getattr(world.vectors, space))).save(folder / space)
        writer.add_file(f"index.{space}", folder / space)
    writer.add_bytes("session_step", session_step_graph(encoder), ".onnx")
    for depth, graph in exported.int8_graphs.items():
        writer.add_bytes(f"ranker.exit{depth}", graph, ".onnx")
    writer.add_array("ranker.item_hidden", replaced.get("hidden", exported.items.table))
    if "ranker.exits" not in without:
        writer.add_json("ranker.exits", {"names": ["exit1", "exit2"], "default": "exit2"})
    writer.add_json("ranker.spec", {"digest": digest or spec.digest()})
    facts = {"encoders": "e1", "log_sequence": 5, "warm_up": ["u:1"]}
    writer.add_json("facts", facts)
    return writer.commit()


@pytest.fixture(scope="module")
def live(parts, tmp_path_factory) -> Live:
    return open_live(release_of(tmp_path_factory.mktemp("home"), parts), Settings(), parts[0].clock)


def test_a_click_is_seen_by_the_next_request_and_reshapes_its_slate(live, parts):
    clock, store = parts[0].clock, MemoryStore()
    never = Deadline.never(clock)
    slates = []
    for number, row in enumerate((3, 17, 41)):
        click = Event(event_id=f"{number}", action="click", timestamp_ms=NOW_MS, user_id="1", item_id=f"{row}")
        apply_events([click], store, live.stepper, Settings().state, never)
        answer = run(live.funnel, clock, read=lambda until: live.view("u:1", store, until))
        assert (answer.slate.tier, answer.state_version, noted(answer)) == ("full", number + 1, [])
        assert len(answer.slate.rows) == 10
        assert row not in answer.slate.rows
        slates.append(answer.slate.rows.tolist())
    assert slates[0] != slates[1] != slates[2]


def test_what_is_served_is_the_float_rankers_order_but_for_rounding(live, parts):
    world, _, _, exported = parts
    view = world.view(recent=[5, 9], seen=[5, 9])
    answer = run(live.funnel, world.clock, view, k=20)
    funnel, rows, sources = live.funnel, answer.ranked.rows, answer.ranked.sources
    signals = signals_of(view, funnel.catalog, funnel.vectors, funnel.crowd.covisits)
    cross = funnel.assembler.cross(view, signals, rows, sources, funnel.crowd)
    hidden = exported.weights.item_part(funnel.assembler.items(funnel.crowd.trends)[rows])
    user = funnel.assembler.user(view, signals)[None]
    exact = open_session(exported.float_graphs[2]).run(None, {"item_hidden": hidden, "user": user, "cross": cross})[0]
    assert np.corrcoef(exact, answer.ranked.scores)[0, 1] > 0.98


def test_nobody_in_particular_is_a_user_with_nothing_known(live, parts):
    store = MemoryStore()
    view = live.view(None, store, Deadline.never(parts[0].clock))
    assert (view.n_interactions, len(view.session_vector)) == (0, 0)
    answer = run(live.funnel, parts[0].clock, view)
    assert (answer.slate.tier, noted(answer)) == ("full", [])


def test_what_the_release_says_of_itself_is_kept(live):
    assert (live.log_sequence, live.warm_up, live.stepper.encoders) == (5, ("u:1",), "e1")
    assert live.funnel.crowd.trends.popular().tolist() == list(range(20))
    assert live.funnel.ranker.exits == ("exit1", "exit2")


def test_a_release_without_a_ranker_serves_the_fast_tier(parts, tmp_path):
    release = release_of(tmp_path, parts, without=("ranker.exits",))
    answer = run(open_live(release, Settings(), parts[0].clock).funnel, parts[0].clock)
    assert (answer.slate.tier, noted(answer)) == ("fast", [("ranking", "absent")])


def test_a_ranker_made_for_other_inputs_is_refused(parts, tmp_path):
    with pytest.raises(ReleaseError, match="other ranker inputs"):
        open_live(release_of(tmp_path, parts, digest="0123456789abcdef"), Settings(), parts[0].clock)


def test_an_exit_that_the_release_does_not_have_is_refused(parts, tmp_path):
    settings = Settings(ranking=RankingSettings(exit="exit9"))
    with pytest.raises(ReleaseError, match=r"'exit9', but release .* has exit1, exit2"):
        open_live(release_of(tmp_path, parts), settings, parts[0].clock)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"user_index": (N_ITEMS - 1, DIM)}, "index and vectors of the user space .* differ"),
        ({"content_index": (N_ITEMS, DIM + 1)}, "index and vectors of the content space .* differ"),
        ({"session": (N_ITEMS + 2, DIM + 1), "session_index": (N_ITEMS + 2, DIM + 1)}, "62 session vectors for 60"),
        ({"hidden": (N_ITEMS - 5, 32)}, "knows 55 of 60 items"),
    ],
)
def test_parts_of_different_catalogues_are_refused(parts, tmp_path, replaced, message):
    tables = {name: np.ones(shape, np.float32) for name, shape in replaced.items()}
    with pytest.raises(ReleaseError, match=message):
        open_live(release_of(tmp_path, parts, **tables), Settings(), parts[0].clock)
