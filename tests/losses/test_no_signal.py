"""With no signal, the optimum of every loss with a posterior turns back to the prior.

A model of biases only is trained to its optimum on the whole corpus, and its posterior, shifted
from what the loss averages over, must be the shares of the tags in the corpus.
"""

import numpy as np
import pytest
from scipy.optimize import minimize

from clinical_ner.arrays import log_softmax
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels
from clinical_ner.losses.prior_matching import PriorMatching

from .examples import DOCUMENTS, PRIOR, WITH_POSTERIOR, batch_of, corpus, tags_of

#: The documents that hold each type.
POOLS = {"L0": DOCUMENTS, "L1": DOCUMENTS[[1, 3]]}
BASES = ("ce-inverse", "adjusted-1.0", "scaling-0.2-1.0", "focal-2.0", "ldam-0.5-1.0")


def optimum(calls):
    """Biases at which the sum of the losses is least.

    calls: each a loss as a function of logits, and its number of tokens.
    """

    def objective(bias):
        value, gradient = 0.0, np.zeros(5)
        for call, n_tokens in calls:
            d_logits, loss = call(np.broadcast_to(bias, (n_tokens, 5)).copy())
            value += loss
            gradient += d_logits.sum(axis=0)
        return value, gradient

    found = minimize(
        objective, np.zeros(5), jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 1000}
    )
    return found.x


def recovered(loss, bias):
    """The chain of the component: posterior, sampling shift, softmax."""
    log_p = log_softmax(loss.posterior_logits(bias[None]))
    shares = loss.training_odds()
    if shares is not None:
        log_p = log_p + loss.statistics.sampling_shift(shares)
    return np.exp(log_softmax(log_p))[0]


def on_corpus(loss):
    statistics, tags, lengths = corpus()
    loss.initialize(statistics)
    return optimum(
        [(lambda z: (loss.get_grad(z, tags, lengths), loss.get_loss(z, tags, lengths)), len(tags))]
    )


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("name", WITH_POSTERIOR)
def test_the_optimum_turns_back_to_the_prior(name, reduction):
    loss = WITH_POSTERIOR[name].make(reduction=reduction)
    assert loss.has_posterior
    np.testing.assert_allclose(recovered(loss, on_corpus(loss)), PRIOR, atol=1e-5)


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("name", BASES)
def test_prior_matching_leaves_the_optimum_where_it_is(name, reduction):
    base = WITH_POSTERIOR[name].make(reduction=reduction)
    loss = PriorMatching(base=base, strength=2.0, momentum=0.0)
    np.testing.assert_allclose(recovered(loss, on_corpus(loss)), PRIOR, atol=1e-5)


def test_prior_matching_with_momentum_descends_to_the_prior():
    loss = PriorMatching(
        base=WITH_POSTERIOR["ce-inverse"].make(tokens_per_batch=1000.0), strength=0.5, momentum=0.9
    )
    statistics, tags, _ = corpus()
    loss.initialize(statistics)
    bias = np.zeros(5)
    for _ in range(600):
        bias -= 2.0 * loss(np.broadcast_to(bias, (1000, 5)).copy(), tags)[0].sum(axis=0)
    np.testing.assert_allclose(recovered(loss, bias), PRIOR, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["ce-inverse", "focal-2.0", "ldam-0.8-3.0", "asymmetric-0.0-4.0-0.0"]
)
def test_without_the_inverse_the_optimum_is_off(name):
    """The control of the tests above."""
    bias = on_corpus(WITH_POSTERIOR[name].make())
    assert abs(np.exp(log_softmax(bias[None]))[0] - PRIOR).max() > 0.02


def test_without_the_sampling_shift_a_mean_per_document_is_off():
    loss = WITH_POSTERIOR["ce-none"].make(reduction="documents")
    bias = on_corpus(loss)
    assert abs(np.exp(log_softmax(bias[None]))[0] - PRIOR).max() > 0.02


@pytest.mark.parametrize("reduction", ["classes", "weights"])
@pytest.mark.parametrize("name", ["ce-inverse", "focal-2.0"])
def test_reductions_by_class_or_by_weight_lose_the_prior(name, reduction):
    loss = WITH_POSTERIOR[name].make(reduction=reduction)
    assert not loss.has_posterior
    statistics, _, _ = corpus()
    loss.initialize(statistics)
    # A batch per document: only where batches differ does the divisor move the optimum.
    calls = [(lambda z, tags=tags_of(counts): loss(z, tags), counts.sum()) for counts in DOCUMENTS]
    assert abs(recovered(loss, optimum(calls)) - PRIOR).max() > 0.01


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("weights", ["paper", "none"])
@pytest.mark.parametrize("scale_types", [True, False])
def test_binary_token_labels_turn_back_to_the_prior(weights, scale_types, reduction):
    loss = BinaryTokenLabels(weights=weights, scale_types=scale_types, reduction=reduction)
    assert loss.has_posterior
    statistics, _, _ = corpus()
    loss.initialize(statistics)
    calls = []
    # One optimum for both types: O is common, and two biases per type fit its odds.
    for label, pool in POOLS.items():
        batch = batch_of(pool, label)
        statistics.observe(batch)
        tags, lengths = np.concatenate([tags_of(counts) for counts in pool]), pool.sum(axis=1)
        calls.append(
            (lambda z, y=tags, n=lengths, b=batch: loss(z, y, n, b), len(tags)),
        )
    np.testing.assert_allclose(recovered(loss, optimum(calls)), PRIOR, atol=1e-4)


def test_binary_token_labels_need_the_sampling_shift():
    """The control: documents with a type hold more of it than the corpus does."""
    statistics, _, _ = corpus()
    statistics.observe(batch_of(POOLS["L1"], "L1"))
    corpus_odds = PRIOR[3] / PRIOR[0]
    assert statistics.type_odds[3] > 2 * corpus_odds
