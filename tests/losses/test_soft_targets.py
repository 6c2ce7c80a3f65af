"""Gold mixed with soft targets: the gradient against torch, and the optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from clinical_ner.losses.base import TokenLoss
from clinical_ner.losses.focal import Focal
from clinical_ner.losses.vector_scaling import VectorScaling

from .examples import cross_entropies, statistics_of

#: Documents of which one lacks the last tag.
DOCUMENTS = np.array([[40, 3, 2, 1, 0], [7, 4, 1, 2, 0]])
LENGTHS = np.array([4, 8])
TAKERS = {name: case for name, case in cross_entropies().items() if case.posterior is not None}


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logits, gold with masked tokens, soft targets of which one is not known, their weights."""
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(12, 5)) * 3
    gold = np.array([0, 1, -1, 3, 0, 0, -1, 2, 1, 0, -1, 4])
    targets = generator.dirichlet(np.ones(5), size=12)
    targets[9] = 0.0
    weights = np.array([0, 0.3, 0.6, 1, 1, 0.5, 0, 0.2, 0, 0.7, 1, 0.4])
    return logits, gold, targets, weights


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("name", TAKERS)
def test_gradient_and_loss_are_those_of_torch(name: str, reduction: str) -> None:
    case = TAKERS[name]
    loss = case.make(reduction=reduction, tokens_per_batch=20.0)
    statistics = statistics_of(*DOCUMENTS)
    loss.initialize(statistics)
    assert loss.takes_soft_targets
    logits, gold, targets, weights = batch()
    gradient, value = loss.mixed(logits, gold, LENGTHS, targets, weights)

    counts = DOCUMENTS.sum(axis=0)[:4]
    # The last tag has no training token.
    z = torch.tensor(logits[:, :4], requires_grad=True)
    shares = {
        "tokens": counts / counts.sum(),
        "documents": (DOCUMENTS / DOCUMENTS.sum(axis=1, keepdims=True)).mean(axis=0)[:4],
    }
    q = targets[:, :4] * shares[reduction] / shares["tokens"]
    q /= np.maximum(q.sum(axis=1, keepdims=True), 1e-300)
    known = (gold >= 0) & (gold < 4) & (weights < 1) | (q.any(axis=1) & (weights > 0))
    starts = np.repeat([0, 4], LENGTHS)
    total = torch.zeros(())
    for token in np.flatnonzero(known):
        in_document = known[starts == starts[token]].sum()
        by_document = 1 / (in_document * 20 * 2 / counts.sum())
        scale = 1 / 20 if reduction == "tokens" else by_document
        for tag in range(4):
            share = weights[token] * q[token, tag] + (1 - weights[token]) * (gold[token] == tag)
            one = case.token_loss(z[token : token + 1], torch.tensor([tag]), counts)
            weight = case.weights(statistics.counts)[tag]
            total = total + scale * share * weight * one[0]
    total.backward()
    assert value == pytest.approx(total.item())
    np.testing.assert_allclose(gradient[:, :4], z.grad.numpy(), atol=1e-12)
    assert (gradient[:, 4] == 0).all()


@pytest.mark.parametrize("name", TAKERS)
def test_one_hot_targets_are_gold_and_the_optimum_is_the_target(name: str) -> None:
    loss: TokenLoss = TAKERS[name].make(reduction="tokens", tokens_per_batch=20.0)
    loss.initialize(statistics_of(*DOCUMENTS, [5, 1, 1, 1, 2]))
    logits, gold, targets, _ = batch()
    expected, value = loss(logits, gold, LENGTHS)
    gradient, found = loss.mixed(
        logits, np.full(12, -1), LENGTHS, np.eye(5)[gold] * (gold >= 0)[:, None], np.ones(12)
    )
    np.testing.assert_allclose(gradient, expected, atol=1e-12)
    assert found == pytest.approx(value)
    # Logits whose posterior is the target: the inverse is z plus a constant of each tag.
    at_target = np.log(targets[:9]) - loss.posterior_logits(np.zeros((9, 5)))
    np.testing.assert_allclose(softmax(loss.posterior_logits(at_target), axis=1), targets[:9])
    gradient, _ = loss.mixed(at_target, gold[:9], [9], targets[:9], np.ones(9))
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_only_losses_whose_inverse_is_a_shift_take_them() -> None:
    weighted = next(iter(TAKERS.values())).make
    refused = (Focal(), VectorScaling(), weighted(reduction="classes", tokens_per_batch=20.0))
    assert not any(loss.takes_soft_targets for loss in refused)
