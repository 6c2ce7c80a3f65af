"""Losses against torch autograd, their no-signal optimum against the prior, and their edges."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from thinc.api import registry

from clinical_ner.errors import ClinicalNerError
from clinical_ner.labels.statistics import TagStatistics
from clinical_ner.losses.base import log_softmax
from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.losses.logit_adjusted import LogitAdjusted
from clinical_ner.losses.weights import tag_weights

PRIOR = np.array([0.80, 0.12, 0.05, 0.02, 0.01])


def statistics_of(counts):
    statistics = TagStatistics()
    labels = [f"L{i}" for i in range((len(counts) - 1) // 2)]
    statistics.count(labels, [np.repeat(np.arange(len(counts)), counts)])
    return statistics


STATISTICS = statistics_of((PRIOR * 1000).round().astype(int))
SETTINGS = [
    WeightedCrossEntropy,
    lambda **kw: WeightedCrossEntropy(weights="paper", **kw),
    lambda **kw: WeightedCrossEntropy(weights="inverse", **kw),
    lambda **kw: WeightedCrossEntropy(weights="sqrt_inverse", **kw),
    lambda **kw: WeightedCrossEntropy(weights="effective_number", beta=0.99, **kw),
    lambda **kw: WeightedCrossEntropy(weights={"O": 0.2, "L1": 7.0}, **kw),
    lambda **kw: LogitAdjusted(tau=0.0, **kw),
    lambda **kw: LogitAdjusted(tau=1.0, **kw),
    lambda **kw: LogitAdjusted(tau=1.7, **kw),
]


def torch_loss(loss, z, y, statistics, divisor):
    """The definitions of the losses, written once more in torch's own terms."""
    keep = y >= 0
    counts = statistics.counts
    if isinstance(loss, LogitAdjusted):
        z = z + loss.tau * torch.tensor(np.log(counts / counts.sum()))
        weight = None
    else:
        per_class = np.array([counts[0], *(counts[1::2] + counts[2::2])])
        n = per_class.sum()
        weight = {
            "none": np.ones_like(per_class),
            "paper": 1 - per_class / n,
            "inverse": n / (len(per_class) * per_class),
            "sqrt_inverse": (n / (len(per_class) * per_class)) ** 0.5,
        }.get(loss.weights if isinstance(loss.weights, str) else "")
        if loss.weights == "effective_number":
            weight = (1 - loss.beta) / (1 - loss.beta**per_class)
            weight = weight / weight.sum() * len(weight)
        elif isinstance(loss.weights, dict):
            weight = np.array([0.2, 1.0, 7.0])
        weight = torch.tensor(np.concatenate([weight[:1], np.repeat(weight[1:], 2)]))
    return torch.nn.functional.cross_entropy(z[keep], y[keep], weight, reduction="sum") / divisor


@pytest.mark.parametrize("make", SETTINGS)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_and_loss_agree_with_autograd(make, seed):
    generator = np.random.default_rng(seed)
    loss = make(tokens_per_batch=13.0)
    loss.initialize(STATISTICS)
    z = generator.normal(scale=4.0, size=(17, 5))
    y = generator.integers(-1, 5, size=17)
    z_torch = torch.tensor(z, requires_grad=True)
    expected = torch_loss(loss, z_torch, torch.tensor(y), STATISTICS, 13.0)
    expected.backward()
    gradient, value = loss(z, y)
    assert value == pytest.approx(expected.item(), rel=1e-9)
    np.testing.assert_allclose(gradient, z_torch.grad.numpy(), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(loss.get_grad(z, y), gradient)
    assert loss.get_loss(z, y) == value


@pytest.mark.parametrize("make", SETTINGS)
def test_no_signal_optimum_turns_back_to_the_prior(make):
    """A model of biases only, trained to its optimum, gives back the shares of the tags."""
    loss = make()
    loss.initialize(STATISTICS)
    tags = np.repeat(np.arange(5), STATISTICS.counts.astype(int))

    def objective(bias):
        gradient, value = loss(np.broadcast_to(bias, (len(tags), 5)).copy(), tags)
        return value, gradient.sum(axis=0)

    found = minimize(
        objective, np.zeros(5), jac=True, method="BFGS", options={"gtol": 1e-12, "maxiter": 500}
    )
    posterior = np.exp(log_softmax(loss.posterior_logits(found.x[None])))[0]
    np.testing.assert_allclose(posterior, PRIOR, atol=1e-6)


def test_weights_move_the_raw_optimum_away_from_the_prior():
    """The control of the test above: without the inverse the paper's weights are visibly off."""
    weights = tag_weights(STATISTICS, "paper", beta=0.999)
    raw = weights * PRIOR / (weights * PRIOR).sum()
    assert raw[0] == pytest.approx(0.2 * 0.8 / (0.2 * 0.8 + 0.17 * 0.83 + 0.03 * 0.97))
    assert abs(raw[0] - PRIOR[0]) > 0.2


def test_b_and_i_share_a_weight():
    for scheme in ("paper", "inverse", "sqrt_inverse", "effective_number"):
        weights = tag_weights(STATISTICS, scheme, beta=0.9)
        assert weights[1] == weights[2]
        assert weights[3] == weights[4]
        assert weights[3] > weights[1] > weights[0]


def test_inverse_weights_have_expectation_one():
    weights = tag_weights(STATISTICS, "inverse", beta=0.9)
    assert (weights * PRIOR).sum() == pytest.approx(1.0)


def test_effective_number_with_beta_zero_is_plain_cross_entropy():
    np.testing.assert_allclose(tag_weights(STATISTICS, "effective_number", beta=0.0), 1.0)


def test_effective_number_tends_to_inverse_frequency():
    weights = tag_weights(STATISTICS, "effective_number", beta=1 - 1e-9)
    inverse = tag_weights(STATISTICS, "inverse", beta=0.0)
    np.testing.assert_allclose(weights / weights[0], inverse / inverse[0], rtol=1e-5)


@pytest.mark.parametrize("make", SETTINGS)
def test_unseen_tag_gets_no_gradient_and_no_probability(make):
    statistics = statistics_of([800, 120, 50, 30, 0])
    loss = make()
    loss.initialize(statistics)
    z = np.random.default_rng(0).normal(size=(6, 5))
    gradient, value = loss(z, np.array([0, 1, 2, 3, -1, 0]))
    assert np.isfinite(value)
    assert (gradient[:, 4] == 0).all()
    assert (np.exp(log_softmax(loss.posterior_logits(z)))[:, 4] == 0).all()
    np.testing.assert_allclose(np.exp(log_softmax(loss.posterior_logits(z))).sum(1), 1.0)


@pytest.mark.parametrize("make", SETTINGS)
def test_everything_masked_gives_zero(make):
    loss = make()
    loss.initialize(STATISTICS)
    gradient, value = loss(np.ones((3, 5)), np.full(3, -1))
    assert value == 0.0
    assert (gradient == 0).all()


@pytest.mark.parametrize("make", SETTINGS)
def test_empty_batch_gives_zero(make):
    loss = make()
    loss.initialize(STATISTICS)
    gradient, value = loss(np.zeros((0, 5), dtype="f"), np.zeros(0, dtype=int))
    assert gradient.shape == (0, 5)
    assert value == 0.0


@pytest.mark.parametrize("make", SETTINGS)
def test_huge_logits_stay_finite_and_right(make):
    loss = make(tokens_per_batch=1.0)
    loss.initialize(STATISTICS)
    z = np.array([[1e4, -1e4, 0, 0, 0], [-1e4, 1e4, 0, 0, 0]], dtype="float32")
    gradient, value = loss(z, np.array([0, 0]))
    weight = getattr(loss, "_tag_weights", np.ones(5))[0]
    assert value == pytest.approx(2e4 * weight, rel=1e-2)
    np.testing.assert_allclose(gradient[0], 0, atol=1e-6)
    np.testing.assert_allclose(gradient[1], weight * np.array([-1, 1, 0, 0, 0]), atol=1e-5)
    assert gradient.dtype == np.float32


def test_one_class_only():
    loss = LogitAdjusted()
    loss.initialize(statistics_of([10, 0, 0]))
    gradient, value = loss(np.random.default_rng(0).normal(size=(4, 3)), np.zeros(4, dtype=int))
    assert value == 0.0
    assert (gradient == 0).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: WeightedCrossEntropy(weights="papr"), "E030.*papr.*paper"),
        (lambda: WeightedCrossEntropy(weights={"L0": -1.0}), "E032.*L0"),
        (lambda: WeightedCrossEntropy(weights="effective_number", beta=1.0), "E004.*beta"),
        (lambda: WeightedCrossEntropy(tokens_per_batch=0), "E004.*tokens_per_batch"),
        (lambda: LogitAdjusted(tau=-1), "E004.*tau"),
        (lambda: LogitAdjusted(tau=float("nan")), "E004.*tau"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ClinicalNerError, match=message):
        make()


def test_weight_of_a_label_that_the_corpus_lacks_names_close_matches():
    loss = WeightedCrossEntropy(weights={"L00": 2.0})
    with pytest.raises(ClinicalNerError, match="E031.*L00.*Did you mean L0"):
        loss.initialize(STATISTICS)


def test_paper_weights_of_a_single_class_are_refused():
    with pytest.raises(ClinicalNerError, match="E033.*'L0'"):
        WeightedCrossEntropy(weights="paper").initialize(statistics_of([0, 4, 4]))


def test_a_loss_without_statistics_says_so():
    with pytest.raises(ClinicalNerError, match="E034.*LogitAdjusted"):
        LogitAdjusted()(np.ones((1, 3)), np.zeros(1, dtype=int))


def test_losses_are_made_from_a_config():
    loss = registry.resolve(
        {"loss": {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": {"Mass": 3.0}}}
    )["loss"]
    assert isinstance(loss, WeightedCrossEntropy)
    assert loss.weights == {"Mass": 3.0}
