"""Prior matching: the penalty, its gradient, and its running means."""

import numpy as np
import pytest
import torch

from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.losses.focal import Focal
from clinical_ner.losses.prior_matching import PriorMatching

from .examples import DOCUMENTS, PRIOR, WITH_POSTERIOR, batch_of, statistics_of

LENGTHS = np.array([6, 0, 9, 2])
STATISTICS = statistics_of(*DOCUMENTS)


def random_batch(seed):
    generator = np.random.default_rng(seed)
    y = generator.integers(-1, 5, size=LENGTHS.sum())
    y[-2:] = -1
    return generator.normal(scale=2.0, size=(len(y), 5)), y


def bound(base, **settings):
    loss = PriorMatching(base=base, **settings)
    loss.initialize(STATISTICS)
    return loss


def batch_mean(case, z, y, reduction):
    """Mean over labelled tokens, or per document first, of the posterior in torch."""
    weights = case.weights(STATISTICS.counts)
    p = case.posterior(z, STATISTICS.counts) / weights
    p = p / p.sum(1, keepdims=True)
    if reduction == "tokens":
        return p[y >= 0].mean(0)
    parts = zip(p.split(LENGTHS.tolist()), y.split(LENGTHS.tolist()), strict=True)
    return torch.stack([part[gold >= 0].mean(0) for part, gold in parts if (gold >= 0).any()]).mean(
        0
    )


def divergence(target, q):
    return (target * torch.log(target / q)).sum()


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("name", WITH_POSTERIOR)
def test_gradient_and_loss_agree_with_autograd(name, reduction):
    """Two batches in a row: the second one meets a running mean that takes no gradient."""
    case = WITH_POSTERIOR[name]
    loss = bound(case.make(reduction=reduction), strength=0.7, momentum=0.6)
    base = case.make(reduction=reduction)
    base.initialize(STATISTICS)
    target = torch.tensor(PRIOR if reduction == "tokens" else STATISTICS.document_shares)
    running = None
    for seed in range(2):
        z, y = random_batch(seed)
        z_torch = torch.tensor(z, requires_grad=True)
        q = batch_mean(case, z_torch, torch.tensor(y), reduction)
        if running is not None:
            # The value is that of the running mean, the slope that of the batch's.
            q = q + (0.6 * (running - q)).detach()
        running = q.detach()
        expected = 0.7 * divergence(target, q)
        expected.backward()
        base_gradient, base_loss = base(z, y, LENGTHS)
        gradient, value = loss(z, y, LENGTHS)
        assert value == pytest.approx(base_loss + expected.item(), rel=1e-9)
        np.testing.assert_allclose(
            gradient - base_gradient, z_torch.grad.numpy(), rtol=1e-6, atol=1e-10
        )


def penalty(loss, z, y, batch=None):
    gradient, value = loss(z, y, LENGTHS, batch)
    base_gradient, base_value = loss.base(z, y, LENGTHS, batch)
    return gradient - base_gradient, value - base_value


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
def test_the_target_under_a_batcher_is_the_shares_of_the_batch(reduction):
    loss = bound(WeightedCrossEntropy(reduction=reduction), strength=1.0)
    batch = batch_of(DOCUMENTS[[1, 3]], "L1")
    key = "batch_shares" if reduction == "tokens" else "batch_document_shares"
    shares = np.array(list(batch[key].values()))
    loss.statistics.observe(batch)
    z, y = np.tile(np.log(shares), (len(random_batch(0)[1]), 1)), random_batch(0)[1]
    gradient, value = penalty(loss, z, y, batch)
    loss.statistics.observe(None)
    assert value == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)
    # The control: the prior of the corpus would be another target.
    assert penalty(loss, z, y)[1] > 1e-3


def test_every_batch_type_has_a_running_mean_of_its_own():
    z, y = random_batch(0)
    other_z, other_y = random_batch(1)
    batches = {label: batch_of(DOCUMENTS, label) for label in ("L0", "L1")}
    loss = bound(Focal())
    alone = penalty(loss, z, y, batches["L0"])
    loss.initialize(STATISTICS)
    penalty(loss, other_z, other_y, batches["L1"])
    np.testing.assert_array_equal(penalty(loss, z, y, batches["L0"])[0], alone[0])
    # The control: a second batch of the same type meets the first one's mean.
    after = penalty(loss, other_z, other_y, batches["L0"])
    fresh = penalty(bound(Focal()), other_z, other_y, batches["L0"])
    assert abs(after[1] - fresh[1]) > 1e-4


def test_initialize_resets_the_running_mean():
    loss = bound(Focal())
    z, y = random_batch(0)
    first = loss(z, y, LENGTHS)[1]
    loss(*random_batch(1), LENGTHS)
    assert loss.get_loss(z, y, LENGTHS) != first
    loss.initialize(STATISTICS)
    assert loss.get_loss(z, y, LENGTHS) == first


def test_asking_for_gradient_or_loss_leaves_the_running_mean_alone():
    loss = bound(Focal())
    z, y = random_batch(0)
    loss(*random_batch(1), LENGTHS)
    asked = [loss.get_loss(z, y, LENGTHS) for _ in range(2)]
    loss.get_grad(z, y, LENGTHS)
    assert asked == [loss(z, y, LENGTHS)[1]] * 2


def test_the_mean_size_of_the_penalty_does_not_depend_on_the_momentum():
    z, y = random_batch(0)
    gradients = []
    for momentum in (0.0, 0.9):
        loss = bound(Focal(), momentum=momentum)
        for _ in range(3):
            gradient, _ = penalty(loss, z, y)
        gradients.append(gradient)
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-9, atol=1e-15)


def test_posterior_and_shares_are_those_of_the_base():
    base = WeightedCrossEntropy(weights="inverse", reduction="documents")
    loss = bound(base)
    z = random_batch(0)[0]
    np.testing.assert_array_equal(loss.posterior_logits(z), base.posterior_logits(z))
    np.testing.assert_array_equal(loss.training_odds(), STATISTICS.document_shares)
    assert loss.has_posterior
