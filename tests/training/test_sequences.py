"""Cutting histories into windows and batches loses no event and repeats none."""

import numpy as np
import pytest

from upnext.errors import TrainingError
from upnext.training.sequences import PADDING, Sequences, cut_windows, pad, plan_batches, training_batches


def random_sequences(seed: int = 0) -> Sequences:
    rng = np.random.default_rng(seed)
    lengths = rng.choice([0, 1, 2, 3, 9, 10, 11, 57], size=200)
    return Sequences.from_events(np.repeat(np.arange(200), lengths), np.arange(lengths.sum()), 200)


def test_events_are_grouped_by_user_in_their_given_order():
    sequences = Sequences.from_events([2, 0, 2, 0, 2], [5, 6, 7, 8, 5], n_users=4)
    assert sequences.offsets.tolist() == [0, 2, 2, 5, 5]
    assert sequences.items.tolist() == [6, 8, 5, 7, 5]
    assert sequences.lengths.tolist() == [2, 0, 3, 0]


def test_leaving_out_the_last_keeps_users_and_empties_short_histories():
    sequences = Sequences.from_events([0, 0, 0, 1, 2, 2], [1, 2, 3, 4, 5, 6], n_users=3).without_last(2)
    assert sequences.offsets.tolist() == [0, 1, 1, 1]
    assert sequences.items.tolist() == [1]


def test_offsets_that_do_not_fit_the_items_are_refused():
    with pytest.raises(TrainingError, match="end at 3"):
        Sequences(np.array([0, 3]), np.zeros(2, np.int32))
    with pytest.raises(TrainingError, match="negative"):
        Sequences(np.array([0, 1]), np.array([-1], np.int32))


@pytest.mark.parametrize("max_length", [1, 10, 100])
def test_every_event_but_the_first_of_each_history_is_a_target_exactly_once(max_length):
    sequences = random_sequences()
    windows = cut_windows(sequences, max_length, np.random.default_rng(1))
    assert windows.lengths.min() >= 1
    assert windows.lengths.max() <= max_length
    targets = np.concatenate([np.arange(s + 1, s + 1 + n) for s, n in zip(*_columns(windows), strict=True)])
    firsts = sequences.offsets[:-1][sequences.lengths > 0]
    assert sorted(targets) == sorted(set(range(len(sequences.items))) - set(firsts))


def _columns(windows):
    return windows.starts, windows.lengths


def test_long_histories_are_cut_elsewhere_each_epoch_and_short_ones_never():
    sequences = random_sequences()
    rng = np.random.default_rng(1)
    one, other = (set(zip(*_columns(cut_windows(sequences, 10, rng)), strict=True)) for _ in range(2))
    assert one != other
    for start, length in zip(sequences.offsets[:-1], sequences.lengths, strict=True):
        if 2 <= length <= 11:
            assert (start, length - 1) in one & other


def test_batches_hold_every_row_once_within_the_bound():
    lengths = np.random.default_rng(2).integers(1, 50, 1000)
    batches = plan_batches(lengths, 200, np.random.default_rng(3))
    assert sorted(np.concatenate(batches)) == list(range(1000))
    assert all(len(batch) * lengths[batch].max() <= 200 for batch in batches)
    padding = sum(len(batch) * lengths[batch].max() for batch in batches) / lengths.sum()
    assert padding < 1.1
    assert not np.all(np.diff([lengths[batch].max() for batch in batches]) >= 0)


def test_a_row_longer_than_the_bound_makes_a_batch_of_its_own():
    assert [batch.tolist() for batch in plan_batches(np.array([3, 500, 3]), 10, None)] == [[0, 2], [1]]


def test_rows_are_filled_up_on_the_right():
    items = np.arange(10, 20, dtype=np.int32)
    padded = pad(items, np.array([0, 7]), np.array([2, 3]))
    assert padded.tolist() == [[10, 11, PADDING], [17, 18, 19]]


def test_a_target_is_the_event_after_its_input():
    sequences = Sequences.from_events([0, 0, 0, 1, 1], [1, 2, 3, 7, 8], n_users=2)
    (places,) = training_batches(sequences, 10, 100, np.random.default_rng(0))
    assert sorted(places.tolist()) == [[0, 1], [3, PADDING]]
    assert sequences.items[places[places >= 0] + 1].tolist() in ([2, 3, 8], [8, 2, 3])


def test_one_seed_gives_one_order_of_batches():
    epochs = [list(training_batches(random_sequences(), 10, 64, np.random.default_rng(seed))) for seed in (4, 4, 5)]
    assert all(np.array_equal(a, b) for a, b in zip(epochs[0], epochs[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(epochs[0], epochs[2], strict=False))
