"""Settings at which one loss is another."""

import numpy as np
import pytest

from clinical_ner.losses.asymmetric import Asymmetric
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels
from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.losses.focal import Focal
from clinical_ner.losses.ldam import LDAM
from clinical_ner.losses.logit_adjusted import LogitAdjusted
from clinical_ner.losses.majority_or_minority import MajorityOrMinority
from clinical_ner.losses.prior_matching import PriorMatching
from clinical_ner.losses.vector_scaling import VectorScaling
from clinical_ner.tags.statistics import TagStatistics

from .examples import DOCUMENTS, REDUCTIONS, TABLE, batch_of, corpus, per_type, statistics_of

PAIRS = {
    "focal of gamma 0": (lambda **kw: Focal(gamma=0.0, **kw), WeightedCrossEntropy),
    "margin 0": (lambda **kw: LDAM(max_margin=0.0, **kw), WeightedCrossEntropy),
    "vector scaling with factors 1 and offsets 0": (
        lambda **kw: VectorScaling(gamma=0.0, tau=0.0, **kw),
        WeightedCrossEntropy,
    ),
}


def assert_same(one, other, reduction="tokens"):
    statistics, tags, lengths = corpus()
    for loss in (one, other):
        loss.initialize(statistics)
    z = np.random.default_rng(0).normal(scale=3.0, size=(len(tags), 5))
    gradient, value = one(z, tags, lengths)
    expected_gradient, expected = other(z, tags, lengths)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-15)
    if one.has_posterior:
        np.testing.assert_allclose(
            one.posterior_logits(z) - one.posterior_logits(z)[:, :1],
            other.posterior_logits(z) - other.posterior_logits(z)[:, :1],
            atol=1e-12,
        )


@pytest.mark.parametrize("weights", ["none", "paper", TABLE], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_a_loss_without_its_own_part_is_weighted_cross_entropy(name, reduction, weights):
    one, other = PAIRS[name]
    settings = {"weights": weights, "reduction": reduction}
    assert_same(one(**settings), other(**settings))


def test_effective_number_of_beta_zero_is_plain_cross_entropy():
    assert_same(WeightedCrossEntropy(weights="effective_number", beta=0.0), WeightedCrossEntropy())


def test_majority_or_minority_of_all_tokens_is_plain_cross_entropy():
    assert_same(MajorityOrMinority(lam=1.0), WeightedCrossEntropy())


def test_majority_or_minority_is_its_two_terms():
    statistics, tags, _ = corpus()
    loss, plain = MajorityOrMinority(lam=0.3), WeightedCrossEntropy()
    loss.initialize(statistics)
    plain.initialize(statistics)
    z = np.random.default_rng(0).normal(size=(len(tags), 5))
    outside = np.where(tags == 0, 0, -1)
    expected = 0.3 * plain(z, tags)[1] + 0.7 * plain(z, outside)[1]
    assert loss(z, tags)[1] == pytest.approx(expected)


def test_vector_scaling_without_factors_is_logit_adjustment():
    assert_same(VectorScaling(gamma=0.0, tau=1.3), LogitAdjusted(tau=1.3))


def test_prior_matching_of_strength_zero_is_its_base():
    assert_same(PriorMatching(base=Focal(), strength=0.0), Focal())


def test_asymmetric_without_focus_is_one_cross_entropy_per_tag():
    statistics, tags, _ = corpus()
    loss = Asymmetric(gamma_positive=0.0, gamma_negative=0.0, tokens_per_batch=1.0)
    loss.initialize(statistics)
    z = np.random.default_rng(0).normal(size=(len(tags), 5))
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(loss.get_grad(z, tags), p - np.eye(5)[tags])
    # The inverse of a loss that changes nothing is the sigmoid itself.
    np.testing.assert_allclose(np.exp(loss.posterior_logits(z)), p)


@pytest.mark.parametrize("problems", ["all", "batch"])
@pytest.mark.parametrize("reduction", ["tokens", "documents"])
def test_binary_token_labels_of_one_type_are_cross_entropy_with_paper_weights(reduction, problems):
    # The same mix in both documents: a document's mean then has the shares of the tokens.
    documents = [[80, 12, 8], [40, 6, 4]]
    statistics = statistics_of(*documents)
    batch = batch_of(documents, "L0")
    statistics.observe(batch)
    btl = BinaryTokenLabels(reduction=reduction, problems=problems)
    plain = WeightedCrossEntropy(weights="paper", reduction=reduction)
    for loss in (btl, plain):
        loss.initialize(statistics)
    generator = np.random.default_rng(0)
    z, tags = generator.normal(size=(40, 3)), generator.integers(-1, 3, size=40)
    lengths = np.array([15, 25])
    # Of the type's tokens, 12 in 20 begin one.
    moved = z + np.log([1.0, 12 / 20, 8 / 20])
    gradient, value = btl(z, tags, lengths, batch)
    expected_gradient, expected = plain(moved, tags, lengths)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-15)
    offset = btl.posterior_logits(z) - plain.posterior_logits(moved)
    np.testing.assert_allclose(offset, offset[:, :1].repeat(3, axis=1), atol=1e-12)


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
def test_tags_of_one_type_at_most_are_the_same_by_token_and_by_type(reduction):
    _, tags, lengths = corpus()
    tags = np.where(np.arange(len(tags)) % 9, tags, -1)
    z = np.random.default_rng(0).normal(scale=3.0, size=(len(tags), 5))
    found = []
    for gold in (tags, per_type(tags, 5)):
        statistics = TagStatistics()
        statistics.count(["L0", "L1"], np.split(gold, np.cumsum(lengths)[:-1]))
        loss = BinaryTokenLabels(reduction=reduction)
        loss.initialize(statistics)
        found.append((*loss(z, gold, lengths), loss.posterior_logits(z)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("z", [0.0, 3.0])
def test_powers_of_binary_token_labels_are_weights_of_other_names(z):
    """0 is none; 1 is paper up to a factor for each type, which moves nothing between its tags."""
    _, tags, _ = corpus()
    z = z * np.random.default_rng(0).normal(size=(len(tags), 5))

    def gradient(**settings):
        loss = BinaryTokenLabels(**settings)
        loss.initialize(corpus()[0])
        return loss.get_grad(z, tags)

    np.testing.assert_array_equal(gradient(weights="power", power=0.0), gradient(weights="none"))
    of_types = gradient(weights="power", power=1.0)[:, 1:] / gradient()[:, 1:]
    np.testing.assert_allclose(of_types, np.tile(1 / np.repeat([0.17, 0.03], 2), (1000, 1)))


def test_documents_of_the_example_hold_the_prior():
    """A control: identities and optima are of the corpus that they say."""
    statistics, tags, lengths = corpus()
    assert statistics.prior.tolist() == [0.8, 0.12, 0.05, 0.02, 0.01]
    assert len(tags) == lengths.sum() == DOCUMENTS.sum() == 1000
    assert abs(statistics.document_shares - statistics.prior).max() > 0.02
