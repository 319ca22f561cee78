"""What every ranker promises, attacked; a kind joins by giving the `ranker` and `lists` fixtures."""

from typing import Protocol

import numpy as np
import pytest

from upnext.funnel.ranking.chunking import Chunked, measured_chunk
from upnext.funnel.ranking.ranker import Ranker
from upnext.models.ranker_lists import RankerLists

N = 40  # candidates in the question


class AnyRanker(Ranker, Chunked, Protocol):
    """Both protocols of what the engine opens, and what evaluations ask."""

    def probability(self, scores, exit_name): ...


class RankerSuite:
    tolerance = 0.0  # of scores that should be the same

    def same(self, scores, expected) -> bool:
        return bool(np.abs(scores - expected).max() <= self.tolerance * np.abs(expected).max())

    @pytest.fixture
    def lists(self) -> RankerLists:
        raise NotImplementedError

    @pytest.fixture
    def ranker(self) -> AnyRanker:
        """With chunks larger than any question."""
        raise NotImplementedError

    @pytest.fixture
    def question(self, lists):
        return lists.rows[0], lists.user[0], lists.cross[0].astype(np.float32)

    def test_there_is_a_finite_score_for_each_candidate_at_every_exit(self, ranker, question):
        rows, user, cross = question
        assert ranker.default_exit in ranker.exits
        for name in ranker.exits:
            scores = ranker.score(rows, user, cross, name)
            assert (scores.shape, scores.dtype) == ((N,), np.float32)
            assert np.isfinite(scores).all()
            assert len(set(scores.tolist())) > N // 2

    def test_exits_differ(self, ranker, question):
        rows, user, cross = question
        scores = [ranker.score(rows, user, cross, name).tolist() for name in ranker.exits]
        assert len({tuple(each) for each in scores}) == len(ranker.exits)

    @pytest.mark.parametrize("chunk", [1, 7, 20, 39, 40])
    def test_chunks_give_the_scores_of_one_call(self, ranker, question, chunk):
        rows, user, cross = question
        other = ranker.with_chunk(chunk)
        assert (other.exits, other.default_exit) == (ranker.exits, ranker.default_exit)
        for name in ranker.exits:
            whole = ranker.score(rows, user, cross, name)
            assert self.same(other.score(rows, user, cross, name), whole)

    def test_a_score_does_not_depend_on_the_other_candidates(self, ranker, question):
        rows, user, cross = question
        for name in ranker.exits:
            whole = ranker.score(rows, user, cross, name)
            order = np.random.default_rng(0).permutation(N)[:17]
            assert self.same(ranker.score(rows[order], user, cross[order], name), whole[order])
            for place in range(0, N, 9):
                alone = slice(place, place + 1)
                assert self.same(ranker.score(rows[alone], user, cross[alone], name), whole[alone])

    def test_user_items_and_cross_features_all_count(self, ranker, lists, question):
        rows, user, cross = question
        whole = ranker.score(rows, user, cross, ranker.default_exit).tolist()
        assert ranker.score(lists.rows[1], user, cross, ranker.default_exit).tolist() != whole
        assert ranker.score(rows, lists.user[1], cross, ranker.default_exit).tolist() != whole
        assert ranker.score(rows, user, cross[::-1].copy(), ranker.default_exit).tolist() != whole

    def test_probabilities_keep_the_order_of_the_scores(self, ranker, question):
        rows, user, cross = question
        scores = ranker.score(rows, user, cross, ranker.default_exit)
        found = ranker.probability(scores, ranker.default_exit)
        assert (found >= 0).all()
        assert found.sum() == pytest.approx(1.0, abs=1e-3)  # nothing measured: shares of the list
        assert (np.diff(found[np.argsort(scores)]) >= 0).all()

    def test_no_candidates_have_no_scores(self, ranker, question):
        rows, user, cross = question
        assert ranker.score(rows[:0], user, cross[:0], ranker.default_exit).shape == (0,)

    def test_made_up_inputs_are_such_as_it_takes(self, ranker, lists, question):
        _, user, cross = question
        inputs = ranker.made_up_inputs(130)
        assert (inputs.user.shape, inputs.cross.shape) == (user.shape, (130, cross.shape[1]))
        assert 0 <= inputs.rows.min() < inputs.rows.max() < len(lists.item_inputs)
        assert np.isfinite(ranker.score(inputs.rows, inputs.user, inputs.cross, ranker.default_exit)).all()
        assert measured_chunk(ranker, 130, rounds=3) in (64, 128, 1_024)
