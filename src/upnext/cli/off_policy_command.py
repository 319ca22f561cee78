"""`upnext off-policy`: what another policy would have earned, from the log of the one that ran."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import numpy as np
from rich.table import Table

from upnext.cli.options import json_option
from upnext.cli.output import hand_over
from upnext.cli.screen import console

if TYPE_CHECKING:
    from upnext.cli.pipeline.bandit import CampaignLogs
    from upnext.training.off_policy import OffPolicy, Terms

_NARROWEST = 130


@click.command("off-policy")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--logging", default="random", show_default=True, help="The policy whose log is read.")
@click.option("--evaluate", "evaluated", default="bts", show_default=True,
              help="The policy to be judged; its own log tells its probabilities and what it earned.")  # fmt: skip
@click.option("--clip", type=click.FloatRange(min=0, min_open=True), help="Cut importance weights down to this.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the folds of the reward model and of intervals."
)
@json_option
def off_policy_command(
    data: Path, logging: str, evaluated: str, clip: float | None, seed: int, json_path: Path | None
) -> None:
    """Estimate a policy's reward by IPS, SNIPS, a reward model alone (DM) and doubly robust (DR), with 95 % intervals.

    DATA is the Open Bandit Dataset (a zip or folder), or a .jsonl file with one object per thing shown: `reward`,
    `propensity` (by which it was shown) and `target` (the probability that the other policy shows it), and for DR
    `modelled` and `expected` rewards.

    \b
    Example:
      upnext off-policy open-bandit-small.zip --logging random --evaluate bts
    """
    if data.suffix == ".jsonl":
        from upnext.cli.pipeline.bandit import terms_from_lines
        from upnext.training.off_policy import estimate

        terms, modelled = terms_from_lines(data)
        results = {data.stem: estimate(terms, clip=clip, modelled=modelled, seed=seed)}
    else:
        results = _of_open_bandit(data, logging, evaluated, clip, seed)
    if hand_over(results, json_path):
        console.width = max(console.width, _NARROWEST)
        _show(results)


def _of_open_bandit(data: Path, logging: str, evaluated: str, clip: float | None, seed: int) -> "dict[str, OffPolicy]":
    """By campaign and over all; `on-policy` is what the judged policy earned when it ran itself."""
    from upnext.cli.pipeline.bandit import open_bandit_logs
    from upnext.training.off_policy import Terms, estimate, on_policy

    logs = open_bandit_logs(data, logging, evaluated)
    parts = [_terms(each, seed) for each in logs]
    everything = Terms(
        *(np.concatenate([getattr(terms, name) for terms, _ in parts]) for name in Terms.__dataclass_fields__)
    )
    earned = [each.evaluated.rewards for each in logs]
    names = [*(each.campaign for each in logs), "all"]
    rows = [*parts, (everything, float(np.mean([share for _, share in parts])))]
    results = {}
    for name, (terms, unsupported), rewards in zip(names, rows, [*earned, np.concatenate(earned)], strict=True):
        found = estimate(terms, clip=clip, unsupported=unsupported, seed=seed)
        estimates = {**found.estimates, "on-policy": on_policy(rewards, seed=seed)}
        results[name] = msgspec.structs.replace(found, estimates=estimates)
    return results


def _terms(logs: "CampaignLogs", seed: int) -> "tuple[Terms, float]":
    from upnext.training.off_policy import policy_of_log, terms_of, unsupported_share
    from upnext.training.reward_model import cross_fitted_rewards

    policy, _ = policy_of_log(logs.evaluated, logs.shape)
    guesses = cross_fitted_rewards(logs.logging, logs.shape[1], seed=seed)
    return terms_of(logs.logging, policy, guesses), unsupported_share(logs.logging, policy)


def _show(results: "dict[str, OffPolicy]") -> None:
    """Per log: every estimate in rewards per 1,000 rounds, and how far the log can be trusted."""
    names = list(dict.fromkeys(name for result in results.values() for name in result.estimates))
    told = ("rounds", "rewarded", "mean weight", "max weight", "effective rounds", "unsupported", "clipped")
    estimates = _table("rewards per 1,000 rounds, ± half the 95 % interval", names)
    trust = _table("how far the log can be trusted for this policy", told)
    for label, result in results.items():
        about = result.diagnostics
        estimates.add_row(
            label,
            *(
                f"{1e3 * each.value:.2f} ±{5e2 * (each.interval[1] - each.interval[0]):.2f}"
                for each in (result.estimates[name] for name in names)
            ),
        )
        unsupported = "–" if about.unsupported is None else f"{about.unsupported:.2%}"
        trust.add_row(
            label, f"{about.rounds:,}", f"{about.rewarded:,}", f"{about.mean_weight:.3f}", f"{about.max_weight:.2f}",
            f"{about.effective_rounds:,.0f}", unsupported, f"{about.clipped:.2%}",
        )  # fmt: skip
    console.print(estimates)
    console.print(trust)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title)
    table.add_column("log")
    for name in columns:
        table.add_column(name, justify="right")
    return table
