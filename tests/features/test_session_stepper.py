"""The exported session encoder, stepped by item."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.features import world
from upnext.catalog.catalog import Catalog
from upnext.clock import Deadline, ManualClock
from upnext.compress.step import session_step_graph
from upnext.domain.event import ACTIONS, INTERACTIONS, Event, Item
from upnext.domain.identity import key_of
from upnext.features.content_text import ContentText, QueryVectors
from upnext.features.session_inputs import N_GAPS, InputTables
from upnext.features.session_stepper import GraphStepper
from upnext.models.session import SessionConfig, session_encoder
from upnext.release.onnx_session import open_session
from upnext.settings import StateSettings
from upnext.state.apply import apply_events, read_user
from upnext.state.step_input import StepInput
from upnext.store.memory_store import MemoryStore
from upnext.training.sequences import Sequences


class AddingGraph:
    """Adds the item's vector to the state and returns twice the sum; its inputs are not in the usual order."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="item_vector", shape=["n", 2]), SimpleNamespace(name="state", shape=["n", 2])]

    def run(self, outputs: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        n = len(feed["state"])
        assert {name: (array.dtype.name, array.shape) for name, array in feed.items()} == {
            "state": ("float32", (n, 2)), "item_vector": ("float32", (n, 2)),
        }  # fmt: skip
        assert feed["item_vector"].flags.c_contiguous
        state = feed["state"] + feed["item_vector"]
        return [state, 2 * state]


def stepper() -> GraphStepper:
    session = world.vectors().session
    assert session is not None
    return GraphStepper(AddingGraph(), session, world.catalog(), "enc")  # type: ignore[arg-type]


def of(item_id: str, **known: object) -> StepInput:
    return StepInput(key_of(item_id), **known)


NOBODY = np.empty(0, np.float32)


def lists(step: tuple[np.ndarray, np.ndarray] | None) -> list[list[float]] | None:
    return step and [array.tolist() for array in step]


def test_a_user_without_history_starts_from_zeros() -> None:
    (step,) = stepper().step([NOBODY], [of("i2")])
    assert lists(step) == [[3, 4], [6, 8]]


def test_a_step_goes_on_from_the_state_before_without_the_bias() -> None:
    (step,) = stepper().step([np.array([10, 20], np.float32)], [of("i0")])
    assert lists(step) == [[11, 20], [22, 40]]
    (by_row,) = stepper().step_rows([np.array([10, 20], np.float32)], np.array([0], np.int32))
    assert lists(by_row) == [[11, 20], [22, 40]]


def test_over_items_that_the_encoder_does_not_know_there_is_no_step() -> None:
    assert stepper().step([NOBODY], [of("elsewhere")]) == [None]
    assert stepper().step([NOBODY], [of("i7")]) == [None], "in the catalogue, but not learnt"


def test_many_users_step_at_once_each_over_their_own_item() -> None:
    hidden = [np.array([10, 20], np.float32), NOBODY, NOBODY, np.array([1, 1], np.float32)]
    steps = stepper().step(hidden, [of("i0"), of("elsewhere"), of("i2"), of("i0")])
    assert [lists(step) for step in steps] == [[[11, 20], [22, 40]], None, [[3, 4], [6, 8]], [[2, 1], [4, 2]]]


ACTION, GAP_MS, VALUE = 2, 3_000, 5.0  # rows 2, 3 and 2 of the tables
ADDED = {"actions": [0.5, 0.0], "gaps": [0.0, 0.25], "values": [8.0, 16.0]}


def tables(*names: str) -> InputTables:
    """Zero but for the rows of the event above."""
    rows = {"actions": (14, ACTION), "gaps": (N_GAPS, 3), "values": (3, 2)}
    made = {name: np.zeros((rows[name][0], 2), np.float32) for name in names}
    for name, table in made.items():
        table[rows[name][1]] = ADDED[name]
    return InputTables(**made, value_edges=np.array([4], np.float32))


def stepper_with(inputs: InputTables, queries: QueryVectors | None = None) -> GraphStepper:
    session = world.vectors().session
    assert session is not None
    return GraphStepper(AddingGraph(), session, world.catalog(), "enc", inputs, queries)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [(), ("actions",), ("gaps",), ("values",), ("actions", "gaps", "values")])
def test_what_the_release_has_learnt_of_action_gap_and_value_is_added_to_the_item(names: tuple[str, ...]) -> None:
    expected = np.array([3, 4], np.float32) + sum((np.array(ADDED[name]) for name in names), np.zeros(2))
    known = of("i2", action=ACTION, gap_ms=GAP_MS, value=VALUE)
    one = stepper_with(tables(*names))
    (alone,) = one.step([NOBODY], [known])
    beside = one.step([NOBODY, NOBODY], [known, of("elsewhere", action=ACTION)])
    assert lists(alone) == lists(beside[0]) == [expected.tolist(), (2 * expected).tolist()]
    assert beside[1] is None, "not known, whatever is known of the event"
    (unknown,) = one.step([NOBODY], [of("i2")])
    assert lists(unknown) == [[3, 4], [6, 8]], "nothing is known of it, nothing is added"


def queries() -> QueryVectors:
    """Two words and a genre, each a direction of its own in a space of three that is mapped to the session's two."""
    terms = ["night", "train", "genre:film noir"]
    text = ContentText.from_terms(terms, np.ones(3, np.float32), np.eye(3, dtype=np.float32))
    return QueryVectors(text, np.array([[2, 0], [0, 2], [-1, 1]], np.float32))


def test_a_search_is_a_step_over_what_its_words_are_in_the_session_space() -> None:
    search = StepInput(query="The NIGHT ferry")
    one = stepper_with(InputTables(), queries())
    assert lists(one.step([NOBODY], [search])[0]) == [[2, 0], [4, 0]]
    assert lists(one.step([NOBODY], [StepInput(query="a film noir")])[0]) == [[-1, 1], [-2, 2]]
    many = one.step([NOBODY] * 3, [search, of("i2"), StepInput(query="ferry")])
    assert [lists(step) for step in many] == [[[2, 0], [4, 0]], [[3, 4], [6, 8]], None]


def test_a_search_without_a_known_word_or_without_a_content_model_is_no_step() -> None:
    assert stepper_with(InputTables(), queries()).step([NOBODY], [StepInput(query="ferry !? " * 9_000)]) == [None]
    assert stepper_with(InputTables()).step([NOBODY, NOBODY], [StepInput(query="night")] * 2) == [None, None]
    assert stepper_with(InputTables()).step([NOBODY], [StepInput(query="night")]) == [None]


@pytest.mark.parametrize("kind", ["lru", "gru"])
def test_walking_a_history_event_by_event_is_reading_it_at_once(kind: str) -> None:
    torch.manual_seed(0)
    rng, n = np.random.default_rng(0), 30
    encoder = session_encoder(20, SessionConfig(kind=kind, embedding_size=8))
    history = Sequences.from_events(
        np.zeros(n),
        rng.integers(0, 20, n),
        1,
        actions=rng.integers(0, 14, n).astype(np.uint8),
        times_ms=np.cumsum(rng.integers(-1_000, 10**6, n)),
        values=rng.choice([0.5, 2.0, 3.0, np.nan], n).astype(np.float32),
    )
    encoder.tables.fit_edges(history.values)
    for table in (encoder.tables.actions, encoder.tables.gaps, encoder.tables.values):
        table.weight.data.normal_()
        table.weight.data[table.padding_idx] = 0
    catalog = Catalog.build([Item(item_id=f"{row}") for row in range(20)])
    graph = open_session(session_step_graph(encoder))
    one = GraphStepper(graph, encoder.item_vectors(), catalog, "enc", encoder.input_tables())
    store, never = MemoryStore(ManualClock()), Deadline.never(ManualClock())
    assert history.actions is not None
    assert history.times_ms is not None
    assert history.values is not None
    columns = (history.items.tolist(), history.actions.tolist(), history.times_ms.tolist(), history.values.tolist())
    chosen = [each for each in zip(*columns, strict=True) if ACTIONS[each[1]] in INTERACTIONS]
    for number, (row, action, time_ms, value) in enumerate(chosen, 1):
        event = Event(
            event_id=f"{number}", action=ACTIONS[action], timestamp_ms=time_ms, user_id="u", item_id=f"{row}",
            value=None if math.isnan(value) else value,
        )  # fmt: skip
        apply_events([(number, event)], store, one, StateSettings(), never)
    _, vectors = read_user("u:u", store, one, never)
    rows, actions, times_ms, values = zip(*chosen, strict=True)
    read = Sequences.from_events(
        np.zeros(len(chosen)), rows, 1, actions=np.array(actions, np.uint8), times_ms=np.array(times_ms),
        values=np.array(values, np.float32),
    )  # fmt: skip
    session_vectors, states = encoder.encode(read)
    assert vectors is not None
    np.testing.assert_allclose(vectors.session_vector, session_vectors[0], atol=1e-4)
    np.testing.assert_allclose(vectors.hidden, states[0], atol=1e-4)
    bare, _ = encoder.encode(Sequences.from_events(np.zeros(len(chosen)), rows, 1))
    assert not np.allclose(bare, session_vectors, atol=1e-2), "the tables do matter"
