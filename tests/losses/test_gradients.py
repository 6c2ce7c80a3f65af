"""Gradient and loss of every loss and reduction against torch autograd."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot, softmax

from clinical_ner.errors import ClinicalNerError
from clinical_ner.losses.soft_dice import SoftDice

from .examples import DOCUMENTS, REDUCTIONS, TOKEN_CASES, WITH_POSTERIOR, statistics_of, torch_loss

STATISTICS = statistics_of(*DOCUMENTS)
LENGTHS = np.array([6, 0, 9, 2])


def random_batch(seed):
    generator = np.random.default_rng(seed)
    y = generator.integers(-1, 5, size=LENGTHS.sum())
    # One document without a labelled token.
    y[-2:] = -1
    return generator.normal(scale=4.0, size=(len(y), 5)), y


def assert_agrees(loss, z, y, expected, z_torch):
    expected.backward()
    gradient, value = loss(z, y, LENGTHS)
    assert value == pytest.approx(expected.item(), rel=1e-9)
    np.testing.assert_allclose(gradient, z_torch.grad.numpy(), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(loss.get_grad(z, y, LENGTHS), gradient)
    assert loss.get_loss(z, y, LENGTHS) == value


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", TOKEN_CASES)
def test_gradient_and_loss_agree_with_autograd(name, reduction, seed):
    case = TOKEN_CASES[name]
    loss = case.make(reduction=reduction, tokens_per_batch=13.0)
    loss.initialize(STATISTICS)
    z, y = random_batch(seed)
    z_torch = torch.tensor(z, requires_grad=True)
    expected = torch_loss(case, reduction, z_torch, torch.tensor(y), LENGTHS, STATISTICS, 13.0)
    assert_agrees(loss, z, y, expected, z_torch)


def dice(p, y, smoothing):
    """1 - dice of the tags in gold, their mean."""
    losses = []
    for tag in torch.unique(y):
        pc, yc = p[:, tag], one_hot(y, p.shape[1])[:, tag].double()
        overlap = 2 * (pc * yc).sum() + smoothing
        losses.append(1 - overlap / (pc.square().sum() + yc.square().sum() + smoothing))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_soft_dice_of_the_batch_agrees_with_autograd(smoothing, seed):
    loss = SoftDice(smoothing=smoothing, tokens_per_batch=13.0)
    loss.initialize(STATISTICS)
    z, y = random_batch(seed)
    z_torch, keep = torch.tensor(z, requires_grad=True), torch.tensor(y) >= 0
    expected = dice(softmax(z_torch, -1)[keep], torch.tensor(y)[keep], smoothing)
    assert_agrees(loss, z, y, expected * keep.sum() / 13.0, z_torch)


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_soft_dice_of_documents_agrees_with_autograd(smoothing):
    loss = SoftDice(smoothing=smoothing, reduction="documents", tokens_per_batch=500.0)
    loss.initialize(STATISTICS)
    z, y = random_batch(0)
    z_torch = torch.tensor(z, requires_grad=True)
    expected = 0.0
    for part, gold in zip(
        z_torch.split(LENGTHS.tolist()), torch.tensor(y).split(LENGTHS.tolist()), strict=True
    ):
        keep = gold >= 0
        if keep.any():
            expected = expected + dice(softmax(part, -1)[keep], gold[keep], smoothing)
    # 1000 tokens in four documents: 500 tokens are two.
    assert_agrees(loss, z, y, expected / 2.0, z_torch)


@pytest.mark.parametrize("name", WITH_POSTERIOR)
def test_posterior_agrees_with_its_formula_and_its_gradient_with_autograd(name):
    case = WITH_POSTERIOR[name]
    loss = case.make()
    loss.initialize(STATISTICS)
    z, _ = random_batch(3)
    z_torch = torch.tensor(z, requires_grad=True)
    expected = torch.log(case.posterior(z_torch, STATISTICS.counts))
    expected = torch.log_softmax(expected - torch.log(case.weights(STATISTICS.counts)), -1)
    posterior = torch.log_softmax(torch.tensor(loss.posterior_logits(z)), -1)
    np.testing.assert_allclose(posterior, expected.detach(), rtol=1e-7, atol=1e-9)
    # Any gradient with rows that sum to 0, since the posterior is known up to a constant per row.
    d_posterior = np.random.default_rng(4).normal(size=z.shape)
    d_posterior -= d_posterior.mean(axis=1, keepdims=True)
    (expected * torch.tensor(d_posterior)).sum().backward()
    np.testing.assert_allclose(
        loss.backprop_posterior(z, d_posterior), z_torch.grad.numpy(), rtol=1e-6, atol=1e-9
    )


def test_a_mean_per_document_needs_the_lengths():
    for make in (TOKEN_CASES["focal-2.0"].make, SoftDice):
        loss = make(reduction="documents")
        loss.initialize(STATISTICS)
        with pytest.raises(ClinicalNerError, match="' averages per document, so it must be"):
            loss(*random_batch(0))
