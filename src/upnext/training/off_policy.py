"""What another policy would have earned, from the log of the one that ran: IPS, SNIPS, DR; knows no file format.

Sources: inverse propensity scoring (Horvitz and Thompson, 1952; Dudík, Langford and Li, ICML 2011, also of the doubly
robust estimator) and its self-normalised form (Swaminathan and Joachims, NIPS 2015).
"""

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.training.bootstrap import RESAMPLES, Interval, percentiles, resampled_means

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rounds:
    """What a policy did and what came of it; all arrays are (n_rounds,) but `contexts`.

    `actions` int64: index of what was shown; `strata` int64: the kind of round that policies tell apart, such as the
    position; `rewards`; `propensities`: the probability with which the policy that ran showed just this, > 0;
    `contexts` (n_rounds, n_features): what else the reward may depend on, possibly no column. Raises TrainingError for
    a propensity that is not in (0, 1].
    """

    actions: npt.NDArray[np.int64]
    strata: npt.NDArray[np.int64]
    rewards: Floats
    propensities: Floats
    contexts: Floats

    def __post_init__(self) -> None:
        wrong = ~((self.propensities > 0) & (self.propensities <= 1))
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise TrainingError(
                f"round {at} has propensity {self.propensities[at]}; only what a policy could show can have been shown"
            )

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True)
class Terms:
    """What the estimators add up, (n_rounds,) each: importance weight × reward and so on.

    `weights`: probability under the policy to be judged / propensity; `rewards`; `modelled`: the reward model's guess
    for what was shown; `expected`: its guess for what the judged policy would show, on average.
    """

    weights: Floats
    rewards: Floats
    modelled: Floats
    expected: Floats


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Reward per round, and its 95 % bootstrap interval over rounds."""

    value: float
    interval: Interval


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True):
    """How far the log can be trusted for this policy.

    `mean_weight` is 1 but for chance where propensities are right and every action of the policy is in the log;
    `effective_rounds`: rounds of the policy's own log that are worth as much (Kish); `unsupported`: share of the
    policy's probability on what the log never shows in that stratum, None where it is not known.
    """

    rounds: int
    rewarded: int
    mean_weight: float
    max_weight: float
    effective_rounds: float
    clipped: float = 0.0  # share of rounds whose weight was cut down
    unsupported: float | None = None


class OffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Estimates by name: `logged` (what the policy that ran earned), `ips`, `snips`, `dm` (the model alone), `dr`."""

    estimates: dict[str, Estimate]
    diagnostics: Diagnostics


def terms_of(rounds: Rounds, policy: Floats, modelled: Floats) -> Terms:
    """The terms for a `policy` (n_strata, n_actions) of probabilities, by a reward model's guesses.

    `modelled` (n_rounds, n_actions): the reward of each action in each round; zeros where there is no model, which
    makes DR the same as IPS.
    """
    probabilities = policy[rounds.strata]
    everyone = np.arange(len(rounds))
    return Terms(
        weights=probabilities[everyone, rounds.actions] / rounds.propensities,
        rewards=rounds.rewards,
        modelled=modelled[everyone, rounds.actions],
        expected=(probabilities * modelled).sum(axis=1),
    )


def estimate(
    terms: Terms, *, clip: float | None = None, unsupported: float | None = None, modelled: bool = True,
    resamples: int = RESAMPLES, seed: int = 0,
) -> OffPolicy:  # fmt: skip
    """All estimates from one log. Without `modelled` there is no `dm` and no `dr`.

    `clip` cuts weights down to that: less variance, and a bias towards too little (IPS) or towards the model (DR).
    Raises TrainingError when there is no round, or no weight is above 0.
    """
    if not len(terms.rewards) or not np.any(terms.weights > 0):
        raise TrainingError("the log holds nothing that the policy would show, so it says nothing about it")
    weights = terms.weights if clip is None else np.minimum(terms.weights, clip)
    robust = terms.expected + weights * (terms.rewards - terms.modelled)
    columns = np.stack([terms.rewards, weights * terms.rewards, weights, terms.expected, robust], axis=1)
    means = resampled_means(columns, np.arange(len(columns)), resamples=resamples, seed=seed)
    values, drawn = _by_name(columns.mean(axis=0)[None]), _by_name(means)
    names = [name for name in values if modelled or name not in ("dm", "dr")]
    found = {name: Estimate(value=float(values[name][0]), interval=_interval(drawn[name])) for name in names}
    return OffPolicy(
        estimates=found,
        diagnostics=Diagnostics(
            rounds=len(weights),
            rewarded=int(np.count_nonzero(terms.rewards)),
            mean_weight=float(terms.weights.mean()),
            max_weight=float(weights.max()),
            effective_rounds=float(weights.sum() ** 2 / (weights**2).sum()),
            clipped=0.0 if clip is None else float((terms.weights > clip).mean()),
            unsupported=unsupported,
        ),
    )


def on_policy(rewards: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """What a policy earned in its own log, `rewards` (n_rounds,): what estimates from another's log must agree with."""
    drawn = resampled_means(rewards[:, None], np.arange(len(rewards)), resamples=resamples, seed=seed)
    return Estimate(value=float(rewards.mean()), interval=percentiles(drawn)[0])


def _by_name(means: Floats) -> dict[str, Floats]:
    """Means of the columns of `estimate`, (n, 5), as estimates (n,)."""
    logged, ips, weight, expected, robust = means.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"logged": logged, "ips": ips, "snips": ips / weight, "dm": expected, "dr": robust}


def _interval(drawn: Floats) -> Interval:
    return percentiles(drawn[np.isfinite(drawn)][:, None])[0]


def policy_of_log(rounds: Rounds, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """The policy that ran, as its own propensities tell it: (n_strata, n_actions) of probabilities, `shape`.

    Of a policy that changed meanwhile it is the average over time, so of each pair the harmonic mean is taken: rounds
    in which an action was likely are more often among those that show it, and a plain mean would count them more than
    once. Right for a policy that looks at nothing but the stratum. Also the sum of each stratum before it was made 1,
    (n_strata,): far from 1, the log is too short or the policy looks at more.
    """
    pairs = rounds.strata * shape[1] + rounds.actions
    n = np.bincount(pairs, minlength=shape[0] * shape[1])
    inverse = np.bincount(pairs, weights=1.0 / rounds.propensities, minlength=shape[0] * shape[1])
    policy = np.divide(n, inverse, out=np.zeros(len(n)), where=inverse > 0).reshape(shape)
    totals = policy.sum(axis=1)
    return policy / np.maximum(totals, 1e-12)[:, None], totals


def unsupported_share(rounds: Rounds, policy: Floats) -> float:
    """Mean share of a `policy`'s probability (n_strata, n_actions) on pairs of stratum and action not in the log."""
    there = np.zeros(policy.shape, dtype=bool)
    there[rounds.strata, rounds.actions] = True
    return float(np.where(there, 0.0, policy).sum(axis=1)[rounds.strata].mean())
