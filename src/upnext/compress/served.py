"""What is served of a ranker: a graph per exit, each in its own width and precision, over one item table."""

from collections.abc import Mapping
from dataclasses import dataclass

from upnext.compress.export import float_graph
from upnext.compress.fold import FoldedItems
from upnext.compress.parity import Candidate, GraphParity, check_catalogue, parity_of
from upnext.compress.ranker import float_items, table_items
from upnext.compress.sweep import SweepRow
from upnext.compress.widths import Widths
from upnext.models.ranker_lists import RankerLists


@dataclass(frozen=True, slots=True)
class ServedRanker:
    """`graphs` by depth, all reading rows of `items`; `choices` says what each of them is."""

    items: FoldedItems
    graphs: Mapping[int, bytes]
    choices: Mapping[int, SweepRow]


def served_ranker(widths: Widths, choices: Mapping[int, SweepRow], lists: RankerLists) -> ServedRanker:
    """The chosen graphs, and the table of the catalogue of `lists`, as wide as the widest of them needs."""
    n_table = max(widths.by_share[row.width].n_first for row in choices.values())
    graphs = {depth: widths.by_share[row.width].graph(row.precision, depth, n_table) for depth, row in choices.items()}
    return ServedRanker(widths.table(n_table, lists.item_inputs), graphs, choices)


def served_parity(served: ServedRanker, widths: Widths, lists: RankerLists) -> list[GraphParity]:
    """Every served graph, and first the float32 one of the same exit and width, against that width's trained ranker."""
    check_catalogue(served.items, lists)
    graphs = []
    for depth, row in served.choices.items():
        width = widths.by_share[row.width]
        exact = float_graph(width.weights, depth)
        graphs.append(Candidate("float32", depth, exact, float_items(width.weights, lists), width.model))
    for depth, row in served.choices.items():
        model, table = widths.by_share[row.width].model, table_items(served.items.table)
        # Float arithmetic over integers from the table is no exact copy of the model, and not judged as one.
        precision = "float32, int8 items" if row.precision == "float32" else row.precision
        graphs.append(Candidate(precision, depth, served.graphs[depth], table, model))
    return parity_of(graphs, lists)
