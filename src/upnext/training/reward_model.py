"""A guess at the reward of every action in every round of a log, for doubly robust estimates; estimates nothing."""

import numpy as np
import numpy.typing as npt

from upnext.training.off_policy import Floats, Rounds


def cross_fitted_rewards(
    rounds: Rounds, n_actions: int, *, folds: int = 2, strength: float = 1.0, seed: int = 0
) -> Floats:
    """(n_rounds, n_actions): the chance of a reward of 1, by logistic regression on action, stratum and contexts.

    Cross-fitted (Chernozhukov et al., 2018): the guesses for a round are made by a model that has not seen it, so what
    is learnt by heart does not bias the estimate. `strength` is the inverse of the L2 penalty. Rewards are 0 or 1.
    """
    fold = np.random.default_rng(seed).permutation(len(rounds)) % folds
    guesses = np.zeros((len(rounds), n_actions))
    for number in range(folds):
        asked = fold == number
        guesses[asked] = _fit_and_guess(rounds, ~asked, asked, n_actions, strength)
    return guesses


def _fit_and_guess(
    rounds: Rounds, taught: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_], n_actions: int, strength: float
) -> Floats:
    """The sum of a score per action and a score of the round, through the logistic function."""
    from sklearn.linear_model import LogisticRegression

    rewards = rounds.rewards[taught]
    if np.all(rewards == rewards[0]):
        return np.full((int(asked.sum()), n_actions), float(rewards[0]))
    strata = np.eye(int(rounds.strata.max()) + 1)[rounds.strata]
    rest = np.hstack([strata, rounds.contexts])
    shown = np.eye(n_actions)[rounds.actions]
    model = LogisticRegression(C=strength, max_iter=1_000)
    model.fit(np.hstack([shown, rest])[taught], rewards)
    weights = model.coef_[0]
    scores = weights[:n_actions] + (rest[asked] @ weights[n_actions:])[:, None] + model.intercept_[0]
    return np.asarray(1.0 / (1.0 + np.exp(-scores)))
