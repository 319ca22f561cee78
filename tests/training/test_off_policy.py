"""In a made-up world, where it is known what a policy earns, the estimates find it."""

from pathlib import Path

import numpy as np
import pytest

from upnext.errors import TrainingError
from upnext.training.off_policy import Rounds, Terms, estimate, policy_of_log, terms_of, unsupported_share
from upnext.training.reward_model import cross_fitted_rewards

CHANCES = np.array([[0.05, 0.10, 0.30, 0.60], [0.50, 0.20, 0.10, 0.05]])  # of a reward, by stratum and action
LOGGING = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
JUDGED = np.array([[0.1, 0.1, 0.2, 0.6], [0.7, 0.1, 0.1, 0.1]])
TRUE = float((JUDGED * CHANCES).sum(axis=1).mean())  # strata are equally frequent


def log_of(n: int, seed: int, policy: np.ndarray = LOGGING) -> Rounds:
    rng = np.random.default_rng(seed)
    strata = np.arange(n) % 2
    actions = (rng.random((n, 1)) > np.cumsum(policy, axis=1)[strata]).sum(axis=1)
    rewards = (rng.random(n) < CHANCES[strata, actions]).astype(float)
    return Rounds(actions, strata, rewards, policy[strata, actions], np.zeros((n, 0)))


def estimates(n: int, seed: int, modelled: np.ndarray | None = None, clip: float | None = None) -> dict[str, float]:
    rounds = log_of(n, seed)
    guesses = np.zeros((n, 4)) if modelled is None else modelled[rounds.strata]
    found = estimate(terms_of(rounds, JUDGED, guesses), clip=clip, resamples=10).estimates
    return {name: each.value for name, each in found.items()}


def over_seeds(n: int, trials: int, modelled: np.ndarray | None = None) -> dict[str, np.ndarray]:
    found = [estimates(n, seed, modelled) for seed in range(trials)]
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def test_all_three_find_the_true_value_on_average_and_the_log_itself_does_not() -> None:
    values = over_seeds(400, 300, modelled=CHANCES * 0.5)  # a wrong model
    for name, tolerance in (("ips", 0.01), ("snips", 0.01), ("dr", 0.01)):
        assert values[name].mean() == pytest.approx(TRUE, abs=tolerance), name
    assert values["logged"].mean() < TRUE - 0.2
    assert values["dm"].mean() == pytest.approx(TRUE / 2, abs=1e-9)


def test_with_a_good_model_the_doubly_robust_estimate_varies_least() -> None:
    values = over_seeds(400, 200, modelled=CHANCES)
    assert values["dr"].std() < 0.75 * values["ips"].std()
    assert values["dr"].std() < values["snips"].std()


def test_without_a_model_doubly_robust_is_plain_inverse_propensity() -> None:
    found = estimates(500, 0)
    assert found["dr"] == found["ips"]


def test_wrong_propensities_are_forgiven_by_doubly_robust_with_a_right_model() -> None:
    rounds = log_of(20_000, 5)
    wrong = Rounds(rounds.actions, rounds.strata, rounds.rewards, np.full(20_000, 0.4), rounds.contexts)
    found = estimate(terms_of(wrong, JUDGED, CHANCES[wrong.strata]), resamples=10).estimates
    assert found["dr"].value == pytest.approx(TRUE, abs=0.015)
    assert abs(found["ips"].value - TRUE) > 0.1


def test_about_95_of_100_intervals_hold_the_true_value() -> None:
    held = {"ips": 0, "snips": 0, "dr": 0}
    for seed in range(150):
        rounds = log_of(1_000, 1_000 + seed)  # drawn apart from the bootstrap's own draws
        found = estimate(terms_of(rounds, JUDGED, CHANCES[rounds.strata] * 0.8), resamples=300, seed=seed).estimates
        for name in held:
            held[name] += found[name].interval[0] <= TRUE <= found[name].interval[1]
    assert all(0.90 <= n / 150 <= 0.99 for n in held.values()), held


def test_the_policy_that_ran_is_worth_what_it_earned() -> None:
    rounds = log_of(300, 1)
    found = estimate(terms_of(rounds, LOGGING, np.zeros((300, 4))))
    assert found.estimates["ips"].value == pytest.approx(found.estimates["logged"].value)
    assert found.estimates["snips"].value == pytest.approx(rounds.rewards.mean())
    assert found.diagnostics.effective_rounds == pytest.approx(300)
    assert (found.diagnostics.mean_weight, found.diagnostics.max_weight) == (1.0, 1.0)


def test_diagnostics_are_counted_by_hand() -> None:
    terms = Terms(np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.0, 1.0]), np.zeros(3), np.zeros(3))
    about = estimate(terms).diagnostics
    assert (about.rounds, about.rewarded, about.max_weight, about.clipped) == (3, 2, 3.0, 0.0)
    assert about.mean_weight == pytest.approx(4 / 3)
    assert about.effective_rounds == pytest.approx(16 / 10)


def test_clipped_weights_give_a_smaller_estimate_that_says_so() -> None:
    rounds = log_of(2_000, 3)
    terms = terms_of(rounds, JUDGED, np.zeros((2_000, 4)))
    free, clipped = estimate(terms), estimate(terms, clip=2.0)
    assert clipped.estimates["ips"].value < free.estimates["ips"].value - 0.1
    assert clipped.diagnostics.max_weight == 2.0
    assert clipped.diagnostics.clipped == pytest.approx((terms.weights > 2).mean())


def test_what_the_log_never_shows_is_told_as_unsupported() -> None:
    rounds = Rounds(np.array([0, 1, 0]), np.array([0, 0, 1]), np.zeros(3), np.full(3, 0.5), np.zeros((3, 0)))
    policy = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert unsupported_share(rounds, policy) == pytest.approx(0.25 * 2 / 3)


def test_a_policy_is_known_again_from_its_own_log_even_when_it_changed_meanwhile() -> None:
    early, late = (log_of(20_000, seed, policy) for seed, policy in ((1, LOGGING), (2, JUDGED)))
    both = Rounds(
        *(np.concatenate([getattr(early, name), getattr(late, name)]) for name in Rounds.__dataclass_fields__)
    )
    steady, totals = policy_of_log(early, (2, 4))
    np.testing.assert_allclose(steady, LOGGING, atol=1e-12)
    np.testing.assert_allclose(totals, 1.0)
    np.testing.assert_allclose(policy_of_log(both, (2, 4))[0], (LOGGING + JUDGED) / 2, atol=0.02)


def test_a_chance_of_zero_cannot_have_been_shown() -> None:
    with pytest.raises(TrainingError, match="round 1 has propensity 0"):
        Rounds(np.zeros(2, int), np.zeros(2, int), np.zeros(2), np.array([0.5, 0.0]), np.zeros((2, 0)))


def test_a_log_without_anything_the_policy_would_show_is_an_error() -> None:
    with pytest.raises(TrainingError, match="says nothing"):
        estimate(Terms(np.zeros(3), np.ones(3), np.zeros(3), np.zeros(3)))


def test_the_reward_model_learns_chances_and_never_from_the_round_it_guesses() -> None:
    rounds = log_of(1_000, 7)
    guesses = cross_fitted_rewards(rounds, 4)
    assert guesses.shape == (1_000, 4)
    # Which actions are good in the first stratum, the second turning it round, is beyond a sum of two scores.
    assert guesses.mean(axis=0)[3] > guesses.mean(axis=0)[1]
    flipped = Rounds(rounds.actions, rounds.strata, rounds.rewards.copy(), rounds.propensities, rounds.contexts)
    flipped.rewards[11] = 1 - flipped.rewards[11]
    np.testing.assert_array_equal(cross_fitted_rewards(flipped, 4)[11], guesses[11])


def test_a_log_without_any_reward_is_guessed_to_give_none() -> None:
    rounds = log_of(100, 0)
    nothing = Rounds(rounds.actions, rounds.strata, np.zeros(100), rounds.propensities, rounds.contexts)
    assert not cross_fitted_rewards(nothing, 4).any()


def test_of_the_open_bandit_sample_the_estimates_agree_with_what_the_policy_earned(shared_data: Path) -> None:
    from upnext.cli.pipeline.bandit import open_bandit_logs

    data = shared_data / "open-bandit-small.zip"
    if not data.exists():
        pytest.skip(f"no {data}")
    for logs in open_bandit_logs(data, "random", "bts"):
        assert (len(logs.logging), len(logs.evaluated)) == (10_000, 10_000)
        policy, totals = policy_of_log(logs.evaluated, logs.shape)
        assert ((totals > 0.9) & (totals < 1.2)).all()
        found = estimate(
            terms_of(logs.logging, policy, cross_fitted_rewards(logs.logging, logs.shape[1])),
            unsupported=unsupported_share(logs.logging, policy),
        )
        assert found.diagnostics.rewarded == 46
        assert found.diagnostics.mean_weight == pytest.approx(1.0, abs=0.05)
        assert found.diagnostics.unsupported == 0.0
        for name in ("ips", "snips", "dr"):
            low, high = found.estimates[name].interval
            assert low < logs.evaluated.rewards.mean() < high, (logs.campaign, name)
