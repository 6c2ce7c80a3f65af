from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime, minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.fit_tokens import BiasTerms, Objective, fit_tokens
from clinical_ner.tags.problems import LEAST_OUTSIDE, by_type, of_problems

Array = NDArray[np.float64]
BIAS = (0.0, 0.7, -0.4, 1.1, 0.2)
COUNTS = np.array([9000.0, 500, 300, 50, 20])


def random_log_probs(n: int, *, seed: int = 0, n_tags: int = 5) -> Array:
    rng = np.random.default_rng(seed)
    return log_softmax(rng.normal(scale=2.0, size=(n, n_tags)), axis=1)


def draw(log_probs: Array, *, seed: int = 1) -> NDArray[np.int64]:
    """Gold tags that have exactly these probabilities."""
    rng = np.random.default_rng(seed)
    cumulative = np.exp(log_probs).cumsum(axis=1)
    return (rng.random((len(log_probs), 1)) > cumulative[:, :-1]).sum(axis=1)


# The step


def test_it_is_the_softmax_of_scaled_and_shifted_log_probabilities() -> None:
    log_probs = random_log_probs(7)
    probabilities = np.exp(log_probs) ** (1 / 1.7) * np.exp(BIAS)
    expected = probabilities / probabilities.sum(axis=1, keepdims=True)
    found = TokenCalibration(1.7, BIAS).apply(log_probs)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12)


def test_temperature_1_without_bias_changes_nothing() -> None:
    log_probs = random_log_probs(7)
    np.testing.assert_allclose(
        TokenCalibration(1.0, (0.0,) * 5).apply(log_probs), log_probs, atol=1e-12
    )


def test_undo_inverts_it() -> None:
    log_probs = random_log_probs(7)
    log_probs[:, 3] = -np.inf
    log_probs = log_softmax(log_probs, axis=1)
    step = TokenCalibration(0.6, BIAS)
    np.testing.assert_allclose(step.undo(step.apply(log_probs)), log_probs, atol=1e-12)
    np.testing.assert_allclose(step.apply(step.undo(log_probs)), log_probs, atol=1e-12)


def test_an_impossible_tag_stays_so_and_rows_stay_normalised() -> None:
    log_probs = random_log_probs(4).astype(np.float32)
    log_probs[:, 2] = -np.inf
    log_probs[1, 1] = -np.inf
    found = TokenCalibration(2.0, BIAS).apply(log_probs)
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(log_probs))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-6)
    assert found.dtype == np.float32


def test_of_tags_that_overlap_each_problem_is_a_softmax_of_its_own() -> None:
    problems = random_problems(7)
    found = TokenCalibration(1.7, BIAS, overlaps=True).apply(of_problems(problems))
    for index, bias in enumerate([(0.0, 0.7, -0.4), (0.0, 1.1, 0.2)]):
        weights = np.exp(problems[:, index]) ** (1 / 1.7) * np.exp(bias)
        expected = (weights / weights.sum(axis=1, keepdims=True))[:, 1:]
        np.testing.assert_allclose(
            np.exp(found[:, 1 + 2 * index : 3 + 2 * index]), expected, rtol=1e-10
        )
    # What is left of 1, at least a little.
    left = 1.0 - np.exp(found[:, 1:]).sum(axis=1)
    np.testing.assert_allclose(np.exp(found[:, 0]), np.maximum(left, LEAST_OUTSIDE), rtol=1e-10)


def test_of_tags_that_overlap_undo_inverts_it() -> None:
    log_probs = of_problems(random_problems(50))
    log_probs[:, 3] = -np.inf
    log_probs = of_problems(by_type(log_probs))
    step = TokenCalibration(0.6, BIAS, overlaps=True)
    np.testing.assert_allclose(step.undo(step.apply(log_probs)), log_probs, atol=1e-9)
    np.testing.assert_allclose(step.apply(step.undo(log_probs)), log_probs, atol=1e-9)
    unchanged = TokenCalibration(1.0, (0.0,) * 5, overlaps=True)
    np.testing.assert_allclose(unchanged.apply(log_probs), log_probs, atol=1e-12)


def test_of_tags_that_overlap_a_higher_temperature_is_less_sure_of_each_problem() -> None:
    log_probs = of_problems(random_problems(50))
    steps = [TokenCalibration(t, (0.0,) * 5, overlaps=True) for t in (0.5, 0.8, 1.0, 1.3, 2.0)]
    surest = [by_type(step.apply(log_probs)).max(axis=2) for step in steps]
    assert (np.diff(surest, axis=0) < 0).all()


def test_of_tags_that_overlap_an_impossible_one_stays_so() -> None:
    log_probs = of_problems(random_problems(4)).astype(np.float32)
    log_probs[:, 1:3] = -np.inf
    for step in (
        TokenCalibration(2.0, BIAS, overlaps=True).apply,
        TokenCalibration(2.0, BIAS, overlaps=True).undo,
    ):
        found = step(log_probs)
        np.testing.assert_array_equal(np.isneginf(found), np.isneginf(log_probs))
        assert found.dtype == np.float32 and np.isfinite(found[:, [0, 3, 4]]).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_out_of_range(temperature: float) -> None:
    with pytest.raises(ClinicalNerError, match="temperature must be a number"):
        TokenCalibration(temperature, BIAS)


@pytest.mark.parametrize("bias", [(), (0.1, 0.0), (0.0, np.nan), (0.0, np.inf)])
def test_a_bias_out_of_range(bias: tuple[float, ...]) -> None:
    with pytest.raises(ClinicalNerError, match="The biases of a calibration must be finite"):
        TokenCalibration(1.0, bias)


# The fit


def random_problems(n: int, *, seed: int = 0, n_types: int = 2) -> Array:
    """Log-probabilities of everything else, B and I of each type."""
    rng = np.random.default_rng(seed)
    return log_softmax(rng.normal(scale=2.0, size=(n, n_types, 3)), axis=2)


def draw_problems(problems: Array) -> NDArray[np.int64]:
    """Gold ids by type that have exactly these probabilities, O for everything else."""
    drawn = [draw(problems[:, m], seed=m + 1) for m in range(problems.shape[1])]
    return np.stack([np.where(of, 2 * m + of, 0) for m, of in enumerate(drawn)], axis=1)


@pytest.mark.parametrize("problems", [1, 3])
def test_the_gradient_agrees_with_finite_differences(problems: int) -> None:
    log_probs = np.stack([random_log_probs(60, seed=seed) for seed in range(problems)], axis=1)
    log_probs[:, 0, 4] = -np.inf
    log_probs[3, -1, 2] = -np.inf
    log_probs = log_softmax(log_probs, axis=2)
    gold = np.stack([draw(log_probs[:, g]) for g in range(problems)], axis=1)
    rng = np.random.default_rng(4)
    # In one problem some tags share a term, in several also those of different problems do.
    membership = rng.integers(0, 2, size=(problems, 5, 3)).astype(float)
    membership[:, 0] = 0
    objective = Objective(log_probs, gold, membership, np.array([1.0, 0.2, 0.1, 0.5]))
    for at in ([1.0, 0.0, 0.0, 0.0], [0.4, 0.3, -0.9, 1.2]):
        numeric = approx_fprime(np.array(at), lambda x: objective(x)[0], 1e-7)
        np.testing.assert_allclose(objective(np.array(at))[1], numeric, rtol=1e-4, atol=1e-6)


def test_of_tags_that_overlap_it_is_the_optimum_of_a_search_without_gradient() -> None:
    problems = random_problems(300)
    gold = draw_problems(log_softmax(problems / 1.5 + [0.0, 0.6, -0.5], axis=2))
    # So common that all share a term.
    counts = np.array([9000.0, 500, 300, 400, 200])
    fit = fit_tokens([of_problems(problems)], [gold], counts, min_support=10, own_sd=0.3)
    assert (fit.shared_biases, fit.own_biases) == (1, 4)

    def value(parameters: Array) -> float:
        sharpness, shared, *own = parameters
        nll = 0.0
        for m in range(2):
            bias = [0.0, shared + own[2 * m], shared + own[2 * m + 1]]
            local = np.where(gold[:, m] > 0, gold[:, m] - 2 * m, 0)
            logits = log_softmax(sharpness * problems[:, m] + bias, axis=1)
            nll -= logits[np.arange(300), local].sum()
        priors = (sharpness - 1) ** 2 + (shared / 0.2) ** 2 + sum((b / 0.3) ** 2 for b in own)
        return nll + 0.5 * priors

    options = {"xtol": 1e-9, "ftol": 1e-14}
    best = minimize(value, [1.0] + [0.0] * 5, method="Powell", options=options)
    sharpness, shared, *own = best.x
    assert 1 / fit.calibration.temperature == pytest.approx(sharpness, abs=1e-4)
    expected = [0.0, *(shared + of for of in own)]
    np.testing.assert_allclose(fit.calibration.bias, expected, atol=1e-4)
    assert fit.nll_after < fit.nll_before


def test_of_tags_that_overlap_a_token_is_masked_for_all_types() -> None:
    problems = random_problems(200)
    gold = draw_problems(log_softmax(problems / 2, axis=2))
    masked = gold.copy()
    masked[::3, 1] = -1
    kept = (masked >= 0).all(axis=1)
    whole = of_problems(problems)
    found = fit_tokens([whole[:50], whole[50:]], [masked[:50], masked[50:]], COUNTS)
    assert found == fit_tokens([whole[kept]], [gold[kept]], COUNTS)
    assert found.tokens == kept.sum()
    # And left out for all types where that of one was never seen in training.
    whole[:, 4] = -np.inf
    unseen = fit_tokens([whole], [gold], COUNTS)
    assert unseen.left_out == (gold[:, 1] == 4).sum() > 0
    assert unseen.tokens == (gold[:, 1] != 4).sum()


def test_without_biases_the_temperature_is_that_of_a_search_in_one_dimension() -> None:
    log_probs = random_log_probs(400)
    gold = draw(log_softmax(log_probs / 1.8, axis=1))

    def nll(temperature: float) -> float:
        calibrated = log_softmax(log_probs / temperature, axis=1)
        # The prior of 1 / T, worth one token.
        prior = 0.5 * (1 / temperature - 1) ** 2
        return -calibrated[np.arange(400), gold].sum() + prior

    best = minimize_scalar(nll, bounds=(0.2, 5), method="bounded", options={"xatol": 1e-8})
    fit = fit_tokens([log_probs], [gold], COUNTS, biases=False)
    assert fit.calibration.temperature == pytest.approx(best.x, rel=1e-4)
    assert fit.calibration.bias == (0.0,) * 5
    assert fit.own_biases == fit.shared_biases == 0


def test_known_temperature_and_biases_are_recovered() -> None:
    log_probs = random_log_probs(40_000)
    gold = draw(log_softmax(log_probs / 1.6 + BIAS, axis=1))
    fit = fit_tokens([log_probs], [gold], COUNTS, group_sd=np.inf, own_sd=10.0)
    assert fit.calibration.temperature == pytest.approx(1.6, rel=0.03)
    np.testing.assert_allclose(fit.calibration.bias, BIAS, atol=0.07)
    truth = -log_softmax(log_probs / 1.6 + BIAS, axis=1)[np.arange(40_000), gold].mean()
    assert fit.nll_after <= truth < fit.nll_before


def test_of_two_tags_it_is_a_logistic_regression_on_the_log_odds() -> None:
    log_probs = random_log_probs(500, n_tags=2)
    gold = draw(log_softmax(log_probs / 1.4 + [0.0, 0.8], axis=1))
    log_odds = (log_probs[:, 1] - log_probs[:, 0])[:, None]
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds, gold)
    found = Objective(
        log_probs[:, None], gold[:, None], np.array([[[0.0], [1.0]]]), np.array([np.inf, np.inf])
    )
    optimum = np.r_[expected.coef_[0], expected.intercept_]
    np.testing.assert_allclose(found(optimum)[1], 0.0, atol=1e-6)


def test_what_is_calibrated_stays_nearly_as_it_is() -> None:
    log_probs = random_log_probs(20_000)
    fit = fit_tokens([log_probs], [draw(log_probs)], COUNTS)
    assert fit.calibration.temperature == pytest.approx(1.0, rel=0.03)
    np.testing.assert_allclose(fit.calibration.bias, 0.0, atol=0.06)


def test_documents_are_pooled_and_masked_tokens_left_out() -> None:
    log_probs = random_log_probs(300)
    gold = draw(log_softmax(log_probs / 2, axis=1))
    masked = gold.copy()
    masked[::3] = -1
    kept = masked >= 0
    parts = fit_tokens([log_probs[:100], log_probs[100:]], [masked[:100], masked[100:]], COUNTS)
    whole = fit_tokens([log_probs[kept]], [gold[kept]], COUNTS)
    assert parts == whole
    assert parts.tokens == kept.sum()


def test_gold_of_probability_0_is_left_out_and_counted() -> None:
    log_probs = random_log_probs(300)
    log_probs[:, 2] = -np.inf
    gold = draw(log_softmax(log_probs, axis=1))
    gold[:7] = 2
    fit = fit_tokens([log_probs], [gold], COUNTS)
    assert fit.left_out == 7
    assert fit == replace(fit_tokens([log_probs[7:]], [gold[7:]], COUNTS), left_out=7)


def test_no_usable_token_is_an_error() -> None:
    log_probs = random_log_probs(3)
    log_probs[:, 2] = -np.inf
    for documents, gold in (([], []), ([log_probs], [np.array([2, 2, -1])])):
        with pytest.raises(ClinicalNerError, match="No held-out token has a gold tag that the"):
            fit_tokens(documents, gold, COUNTS)


def test_a_model_that_is_always_right_keeps_a_finite_temperature() -> None:
    log_probs = random_log_probs(500)
    fit = fit_tokens([log_probs], [log_probs.argmax(axis=1)], COUNTS)
    assert 0 < fit.calibration.temperature < 0.3
    assert fit.nll_after < fit.nll_before


# Who has a bias of its own


def test_own_biases_need_support_and_the_others_share() -> None:
    # Two frequency groups: 100 to 999, and 10 to 99, which has too few tokens on its own.
    terms = BiasTerms.by_support(COUNTS, np.array([500.0, 60, 20, 3, 1]), min_support=10)
    expected = [[0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert terms.membership.tolist() == expected
    assert (terms.shared, terms.own) == (1, 2)


def test_without_support_there_is_no_bias() -> None:
    terms = BiasTerms.by_support(COUNTS, np.array([500.0, 2, 1, 0, 1]), min_support=10)
    assert terms.membership.shape == (5, 0)


def test_tags_below_the_support_get_one_and_the_same_bias() -> None:
    log_probs = random_log_probs(2000)
    gold = draw(log_softmax(log_probs + [0.0, 0.5, 0.5, -3.5, -4.5], axis=1))
    support = np.bincount(gold, minlength=5)
    between = int(support[[3, 4]].max()) + 1
    assert support[[1, 2]].min() >= between
    fit = fit_tokens([log_probs], [gold], COUNTS, min_support=between, own_sd=1.0)
    bias = fit.calibration.bias
    assert bias[3] == bias[4]
    assert len({bias[0], bias[1], bias[2], bias[3]}) == 4


def test_a_tighter_prior_draws_own_biases_to_that_of_the_group() -> None:
    log_probs = random_log_probs(3000)
    gold = draw(log_softmax(log_probs + [0.0, 0.9, -0.9, 0.0, 0.0], axis=1))
    spread = [
        np.ptp(fit_tokens([log_probs], [gold], COUNTS, own_sd=sd).calibration.bias[1:3])
        for sd in (0.001, 0.05, 1.0)
    ]
    assert spread[0] < 0.01 < spread[1] < spread[2]


def test_probabilities_become_frequencies() -> None:
    log_probs = random_log_probs(30_000)
    truth = log_softmax(log_probs / 1.6 + BIAS, axis=1)
    step = fit_tokens([log_probs], [draw(truth)], COUNTS, own_sd=1.0, group_sd=1.0).calibration
    unseen = random_log_probs(30_000, seed=5)
    gold = draw(log_softmax(unseen / 1.6 + BIAS, axis=1), seed=6)
    mass = np.exp(step.apply(unseen)).sum(axis=0) / np.bincount(gold, minlength=5)
    before = softmax(unseen, axis=1).sum(axis=0) / np.bincount(gold, minlength=5)
    assert np.abs(mass - 1).max() < 0.05 < np.abs(before - 1).max()
