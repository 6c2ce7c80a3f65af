"""With no signal, the optimum of every loss with a posterior turns back to the prior.

A model of biases only is trained to its optimum on the whole corpus, and its posterior, shifted
from what the loss averages over, must be the shares of the tags in the corpus.
"""

import numpy as np
import pytest
from scipy.optimize import minimize, root

from clinical_ner.arrays import log_softmax
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels
from clinical_ner.losses.prior_matching import PriorMatching

from .examples import (
    DOCUMENTS,
    PRIOR,
    WEIGHTINGS,
    WITH_POSTERIOR,
    batch_of,
    corpus,
    overlapping_corpus,
    tags_of,
)

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


class Drawing:
    """Documents, the statistics of all of them, and the batches in which they are drawn.

    sampling: plain; balanced, where some documents are drawn more often than others; or by entity,
    where each type has batches of the documents that hold it.
    """

    def __init__(self, sampling, overlapping):
        self.statistics, tags, counts = overlapping_corpus()
        if not overlapping:
            self.statistics, tags, counts = corpus()[0], list(map(tags_of, DOCUMENTS)), DOCUMENTS
        tokens = np.array([len(of) for of in tags])
        self.prior = counts.sum(axis=0) / tokens.sum()
        pools = {None: [0, 1, 2, 3] if sampling == "plain" else [0, 1, 1, 2, 3, 3, 3]}
        if sampling == "by entity":
            pools = {f"L{i}": np.flatnonzero(counts[:, 2 * i + 1]) for i in range(2)}
        drawn = np.concatenate(list(pools.values()))
        self.calls = []
        for label, pool in pools.items():
            batch = None
            if sampling != "plain":
                shares = batch_of(counts[drawn], None, tokens[drawn])
                batch = batch_of(counts[pool], label, tokens[pool])
                batch |= {key: shares[key] for key in ("shares", "document_shares")}
                self.statistics.observe(batch)
            gold = np.concatenate([tags[row] for row in pool])
            self.calls.append((gold, tokens[pool], batch))

    def restored(self, **settings):
        """What the optimum turns back to; of tags that may overlap, the share of each."""
        loss = BinaryTokenLabels(**settings)
        loss.initialize(self.statistics)
        assert loss.has_posterior and loss.training_odds() is None

        def gradient(biases):
            """The slope in the biases of all tags but O, whose bias is 0."""
            total = 0.0
            for gold, lengths, batch in self.calls:
                z = np.tile(np.concatenate(([0.0], biases)), (len(gold), 1))
                total = total + loss.get_grad(z, gold, lengths, batch).sum(axis=0)
            assert total.sum() == pytest.approx(0.0, abs=1e-12)
            return total[1:]

        # A sum of convex functions: where the slope is 0, the loss is least. Zero would be it.
        found = root(gradient, [0.7, -0.4, 0.3, 0.9], tol=1e-13)
        assert np.abs(found.fun).max() < 1e-11
        return np.exp(loss.posterior_logits(np.concatenate(([0.0], found.x))[None]))[0]


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("sampling", ["plain", "balanced", "by entity"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_binary_token_labels_turn_back_to_the_prior(weighting, sampling, reduction, overlapping):
    drawing = Drawing(sampling, overlapping)
    restored = drawing.restored(reduction=reduction, **WEIGHTINGS[weighting])
    of_tags = slice(1 if overlapping else 0, None)
    np.testing.assert_allclose(restored[of_tags], drawing.prior[of_tags], atol=1e-6)


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_binary_token_labels_of_batches_turn_back_to_the_prior(weighting, reduction, overlapping):
    drawing = Drawing("by entity", overlapping)
    settings = {"problems": "batch", "reduction": reduction, **WEIGHTINGS[weighting]}
    of_tags = slice(1 if overlapping else 0, None)
    np.testing.assert_allclose(
        drawing.restored(**settings)[of_tags], drawing.prior[of_tags], atol=1e-6
    )


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
def test_the_drawings_of_the_tests_above_move_the_odds(reduction):
    """The control: without the inverse the odds would be far from those of the prior."""
    statistics = Drawing("by entity", overlapping=True).statistics
    by_document = reduction == "documents"
    drawn = statistics.sampled_document_shares if by_document else statistics.sampled_shares
    odds = statistics.type_document_odds if by_document else statistics.type_odds
    assert drawn[3] > 1.25 * statistics.prior[3]
    assert odds[3] > 1.25 * statistics.prior[3] / (1 - statistics.prior[3:].sum())


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_binary_token_labels_learn_the_shares_of_every_context(weighting):
    """With signal, a context for each document, the optimum is the shares in each."""
    loss = BinaryTokenLabels(**WEIGHTINGS[weighting])
    loss.initialize(corpus()[0])
    for counts in DOCUMENTS:
        bias = optimum([(lambda z, y=tags_of(counts): loss(z, y), counts.sum())])
        # What is not there has a probability as small as the bias was lowered.
        np.testing.assert_allclose(recovered(loss, bias), counts / counts.sum(), atol=1e-4)
