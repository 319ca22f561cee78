"""A comparison of two releases on the screen and as a file; tests nothing."""

import msgspec
from rich.table import Table

from upnext.training.compare import Difference


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """Both releases over the same `n_cases` cases. Its JSON has exactly these keys."""

    split: str
    seed: int
    first: str
    second: str
    n_cases: int
    differences: list[Difference]


def as_table(report: ComparisonReport) -> Table:
    """One line per system and figure, with the verdict in words; real differences in bold."""
    table = Table(title=f"{report.first} → {report.second}, split {report.split}, {report.n_cases:,} common cases")
    for name in ("system", "figure", "first", "second", "difference", "95 % interval", "p", "p (Holm)", "verdict"):
        table.add_column(name, justify="left" if name in ("system", "figure", "verdict") else "right")
    for each in report.differences:
        words = f"[bold]{each.in_words}[/bold]" if each.verdict == "real" else each.in_words
        table.add_row(
            each.system, each.figure, f"{each.first:.4f}", f"{each.second:.4f}", f"{each.difference:+.4f}",
            f"{each.interval[0]:+.4f} … {each.interval[1]:+.4f}", f"{each.p:.4f}", f"{each.p_holm:.4f}", words,
        )  # fmt: skip
    return table
