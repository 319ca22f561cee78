"""One suite for every session encoder: however a history is read, the same state and vectors come out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from upnext.domain.event import ACTIONS
from upnext.models.session import SessionConfig, SessionEncoder, session_encoder
from upnext.training.sequences import PADDING, Sequences

N_ITEMS = 50
LENGTHS = (3, 0, 1, 700, 40, 2, 257, 256)


def histories() -> Sequences:
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    return Sequences.from_events(users, rng.integers(0, N_ITEMS, len(users)), len(LENGTHS))


def told_histories() -> Sequences:
    """The same histories with actions, times and values, of which some are not known."""
    rng = np.random.default_rng(6)
    known = histories()
    n = len(known.items)
    values = rng.integers(1, 6, n).astype(np.float32)
    values[rng.random(n) < 0.3] = np.nan
    return replace(
        known,
        actions=rng.integers(0, len(ACTIONS), n).astype(np.uint8),
        times_ms=np.cumsum(rng.choice([500, 60_000, 10**8], n)),
        values=values,
    )


class SessionEncoderSuite:
    kind: str

    @pytest.fixture
    def encoder(self) -> SessionEncoder:
        torch.manual_seed(7)
        config = SessionConfig(kind=self.kind, embedding_size=8, dropout=0.5)
        encoder = session_encoder(N_ITEMS, config).eval()
        with torch.no_grad():  # as after training: vectors and biases of a size that matters
            encoder.embedding.weight.normal_()
            encoder.bias.normal_()
        return encoder

    @pytest.fixture
    def taught(self, encoder) -> SessionEncoder:
        """An encoder that has learnt something of every action, gap and value."""
        encoder.tables.fit_edges(told_histories().values)
        with torch.no_grad():
            for table in (encoder.tables.actions, encoder.tables.gaps, encoder.tables.values):
                table.weight.normal_()
                table.weight[table.padding_idx] = 0
        return encoder

    def stepped(self, encoder: SessionEncoder, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        table = torch.from_numpy(encoder.item_vectors()[:, :-1])
        state = torch.from_numpy(encoder.initial_state())[None]
        vector = torch.zeros(1, 8)
        with torch.no_grad():
            for item in items:
                state, vector = encoder.step(state, table[[item]])
        return vector[0].numpy(), state[0].numpy()

    def test_stepping_event_by_event_equals_encoding_whole_histories(self, encoder):
        known = histories()
        vectors, states = encoder.encode(known)
        assert vectors.dtype == states.dtype == np.float32
        assert vectors.shape == (len(LENGTHS), 8)
        assert states.shape == (len(LENGTHS), encoder.state_size)
        for user in range(len(LENGTHS)):
            items = known.items[known.offsets[user] : known.offsets[user + 1]]
            vector, state = self.stepped(encoder, items)
            np.testing.assert_allclose(vectors[user], vector, atol=1e-4)
            np.testing.assert_allclose(states[user], state, atol=1e-4)

    @pytest.mark.parametrize("chunk_length", [1, 7, 10_000])
    def test_the_chunks_a_history_is_read_in_do_not_matter(self, encoder, chunk_length):
        whole = encoder.encode(histories())
        chunked = encoder.encode(histories(), chunk_length=chunk_length, batch_events=100)
        np.testing.assert_allclose(chunked[0], whole[0], atol=1e-4)
        np.testing.assert_allclose(chunked[1], whole[1], atol=1e-4)

    def test_an_empty_history_gives_the_initial_state_and_the_zero_vector(self, encoder):
        vectors, states = encoder.encode(histories())
        assert LENGTHS[1] == 0
        np.testing.assert_array_equal(vectors[1], 0)
        np.testing.assert_array_equal(states[1], encoder.initial_state())

    def test_the_last_vector_of_forward_is_the_one_of_encode(self, encoder):
        known = histories()
        items = torch.from_numpy(known.items[known.offsets[3] : known.offsets[4]]).long()[None]
        with torch.no_grad():
            forward = encoder(items)
        assert forward.shape == (1, 700, 8)
        np.testing.assert_allclose(forward[0, -1].numpy(), encoder.encode(known)[0][3], atol=1e-4)

    def test_padding_on_the_right_changes_nothing(self, encoder):
        short, long = torch.tensor([[3, 1, 4]]), torch.tensor([[1, 5, 9, 2, 6]])
        together = torch.full((2, 5), PADDING)
        together[0, :3], together[1] = short, long
        with torch.no_grad():
            both = encoder(together)
            torch.testing.assert_close(both[:1, :3], encoder(short), atol=1e-5, rtol=0)
            torch.testing.assert_close(both[1:], encoder(long), atol=1e-5, rtol=0)

    def test_what_comes_later_does_not_change_what_was_said_before(self, encoder):
        with torch.no_grad():
            before, after = encoder(torch.tensor([[1, 2, 3, 4]])), encoder(torch.tensor([[1, 2, 3, 40]]))
        torch.testing.assert_close(before[:, :3], after[:, :3])
        assert (before[:, 3] - after[:, 3]).abs().max() > 1e-3

    def test_stepping_over_sums_made_outside_equals_encoding_what_is_known_of_each_event(self, taught):
        known, tables, table = told_histories(), taught.input_tables(), taught.item_vectors()[:, :-1]
        vectors, states = taught.encode(known, chunk_length=7)
        events = slice(known.offsets[4], known.offsets[5])
        gaps_ms = np.append(-1, np.diff(known.times_ms[events]))
        read = table[known.items[events]] + tables.added(known.actions[events], gaps_ms, known.values[events])
        state = torch.from_numpy(taught.initial_state())[None]
        with torch.no_grad():
            for one in torch.from_numpy(read):
                state, vector = taught.step(state, one[None])
        np.testing.assert_allclose(vectors[4], vector[0], atol=1e-4)
        np.testing.assert_allclose(states[4], state[0], atol=1e-4)
        assert np.abs(vectors[4] - taught.encode(histories())[0][4]).max() > 1e-2

    def test_an_event_of_which_nothing_but_the_item_is_known_adds_nothing(self, taught):
        known = histories()
        unknown = replace(known, values=np.full(len(known.items), np.nan, np.float32))
        np.testing.assert_array_equal(taught.encode(unknown)[0], taught.encode(known)[0])

    def test_tables_that_have_learnt_nothing_are_not_released(self, encoder):
        tables = encoder.input_tables()
        assert tables.actions is tables.gaps is tables.values is None

    def test_an_early_event_is_remembered(self, encoder):
        with torch.no_grad():
            one, other = encoder(torch.tensor([[1, 2, 3, 4]])), encoder(torch.tensor([[30, 2, 3, 4]]))
        assert (one[:, 3] - other[:, 3]).abs().max() > 1e-3

    def test_item_vectors_end_with_the_bias(self, encoder):
        table = encoder.item_vectors()
        assert table.shape == (N_ITEMS, 9)
        assert table.dtype == np.float32
        np.testing.assert_array_equal(table[:, 8], encoder.bias.detach().numpy())
        np.testing.assert_array_equal(table[4, :8], encoder.embedding.weight[4].detach().numpy())

    def test_encoding_drops_nothing_and_leaves_the_mode_as_it_was(self, encoder):
        calm = encoder.encode(histories())[0]
        encoder.train()
        np.testing.assert_array_equal(encoder.encode(histories())[0], calm)
        assert encoder.training

    def test_a_step_is_a_graph_of_real_numbers_without_the_item_table(self, encoder):
        example = (torch.zeros(3, encoder.state_size), torch.ones(3, 8))

        class Step(torch.nn.Module):
            def forward(self, state, item_vectors):
                return encoder.step(state, item_vectors)

        graph = torch.export.export(Step(), example).graph
        values = [node.meta["val"] for node in graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)]
        assert len(values) > 10
        assert not any(value.is_complex() for value in values)
        assert not any(value.shape and value.shape[0] == N_ITEMS for value in values)


class TestGatedEncoder(SessionEncoderSuite):
    kind = "gated"


class TestLruEncoder(SessionEncoderSuite):
    kind = "lru"


class TestGruEncoder(SessionEncoderSuite):
    kind = "gru"
