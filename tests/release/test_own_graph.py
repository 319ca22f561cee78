"""A graph that does not fit is refused before it is in a release, by the name of what is wrong."""

import pytest
import torch
from torch import nn

from tests.funnel.ranking.own_graph import exported, own_ranker
from upnext.errors import ReleaseError
from upnext.release.own_graph import checked_ranker, checked_step

WIDTHS = {"user": 4, "item": 5, "cross": 3, "item_hidden": 8}


class Function(nn.Module):
    """A module of a plain function; the weight makes it one that is worth exporting."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, *inputs):
        return self.function(*(each * self.weight for each in inputs))


def ranker_of(
    function, name: str = "cross", width: int = 3, output: str = "score", fixed: tuple[str, ...] = ()
) -> bytes:
    return exported(Function(function), {name: torch.zeros(2, width)}, [output], fixed)


def test_a_ranker_that_fits_is_opened_and_measured():
    session, took_us = checked_ranker(own_ranker(4, 5, 3), WIDTHS)
    assert [each.name for each in session.get_inputs()] == ["user", "item", "cross"]
    assert took_us > 0


def test_one_that_reads_the_folded_table_takes_integers():
    def score(hidden):
        return hidden.float().sum(dim=1)

    module = Function(score)
    module.forward = lambda hidden: score(hidden) * module.weight
    graph = exported(module, {"item_hidden": torch.zeros(2, 8, dtype=torch.int8)}, ["score"])
    checked_ranker(graph, WIDTHS)


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (lambda: own_ranker(4, 6, 3), r"input `item` is of shape \['n', 6\], but rows of 5 numbers"),
        (lambda: ranker_of(lambda x: x.sum(dim=1), name="query"), "an input `query`, which nobody can give"),
        (lambda: ranker_of(lambda x: x.sum(dim=1), output="logit"), "no output `score`, only logit"),
        (lambda: ranker_of(lambda x: x[:, :1]), r"output `score` is float32 \(500, 1\), but must be float32 \(500,\)"),
        (lambda: ranker_of(lambda x: torch.log(x).sum(dim=1)), "output `score` is not finite"),
        (lambda: ranker_of(lambda x: torch.softmax(x.sum(dim=1), dim=0)), "changes with the other rows"),
        (lambda: ranker_of(lambda x: x.sum(dim=1), fixed=("cross", "score")), "`cross` takes 2 rows and no other"),
        (lambda: exported(Function(lambda x: x.sum(dim=1)), {"user": torch.zeros(1, 4)}, ["score"], ("user", "score")),
         "takes nothing of its candidates"),
        (lambda: ranker_of(lambda x: x.sum(dim=1), name="item_hidden", width=8), "will be given int8"),
    ],
)  # fmt: skip
def test_a_ranker_that_does_not_fit_is_refused_with_what_is_wrong(graph, complaint):
    with pytest.raises(ReleaseError, match=complaint):
        checked_ranker(graph(), WIDTHS)


def step_of(function, *, state: int = 6, dim: int = 4, names=("state", "item_vector")) -> bytes:
    inputs = dict(zip(names, (torch.zeros(2, state), torch.zeros(2, dim)), strict=True))
    return exported(Function(function), inputs, ["new_state", "vector"])


def test_a_step_that_fits_is_opened_and_measured():
    session, took_us = checked_step(step_of(lambda state, item: (state * 0.9, item + state[:, :4])), 4)
    assert took_us > 0
    assert len(session.get_outputs()) == 2


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (lambda: step_of(lambda state, item: (state * 0.9, item), dim=5), "input `item_vector`.* rows of 4 numbers"),
        (lambda: step_of(lambda state, item: (state * 0.9, item), names=("memory", "item_vector")), "input `state`"),
        (lambda: step_of(lambda state, item: (state[:, :5] * 0.9, item)), r"`new_state` is float32 \(500, 5\)"),
        (lambda: step_of(lambda state, item: (state / state.abs().sum(dim=1, keepdim=True), item)), "not finite"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_with_what_is_wrong(graph, complaint):
    with pytest.raises(ReleaseError, match=complaint):
        checked_step(graph(), 4)
