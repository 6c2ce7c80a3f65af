"""Binary token labels: the sum of the types' problems, its inverse, and its errors."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from clinical_ner.arrays import log_softmax
from clinical_ner.errors import ClinicalNerError
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels
from clinical_ner.tags.problems import LEAST_OUTSIDE, exceeds_one
from clinical_ner.tags.statistics import TagStatistics

from .examples import (
    DOCUMENTS,
    WEIGHTINGS,
    batch_of,
    corpus,
    mean_shares,
    overlapping_corpus,
    per_type,
    reduce_in_torch,
    statistics_of,
)

LENGTHS = np.array([9, 0, 16, 5])
POOL = DOCUMENTS[[1, 3]]
REDUCTIONS = ("tokens", "documents")
BOTH_REDUCTIONS = pytest.mark.parametrize("reduction", REDUCTIONS)
ALL_WEIGHTINGS = pytest.mark.parametrize("weighting", WEIGHTINGS)


def bound(statistics=None, batch=None, **settings):
    loss = BinaryTokenLabels(**settings)
    loss.initialize(corpus()[0] if statistics is None else statistics)
    loss.statistics.observe(batch)
    return loss


def random_batch(seed, columns=None):
    """Logits and gold, with masked tokens; gold by token and type, or, without columns, by token.

    A document has no labelled token.
    """
    generator = np.random.default_rng(seed)
    y = generator.integers(-1, 5, size=LENGTHS.sum())
    if columns is not None:
        of_types = [generator.choice([0, 2 * i + 1, 2 * i + 2], len(y)) for i in range(columns)]
        y = np.where(y[:, None] < 0, -1, np.stack(of_types, axis=1))
    y[-5:] = -1
    return generator.normal(scale=3.0, size=(len(y), 5)), y


def torch_problems(z, y, shares, *, weights="paper", power=None, problems=(0, 1)):
    """The definition: loss of each token, y by token and type, at shares of the tags in training.

    -1 in y is as good as 0.
    """
    total = torch.zeros(len(z), dtype=torch.float64)
    for m in problems:
        own = [2 * m + 1, 2 * m + 2]
        share = shares[own].sum()
        of_own, of_rest = {
            "paper": (1 - share, share),
            "none": (1.0, 1.0),
            "power": (((1 - share) / share) ** (power or 0.0), 1.0),
        }[weights]
        with np.errstate(divide="ignore"):
            offsets = np.log(shares[own] / (1 - share) * of_own / of_rest)
        logits = torch.cat((z[:, :1], z[:, own] + torch.tensor(offsets)), dim=1)
        small = torch.tensor((y[:, m] == own[0]) * 1 + (y[:, m] == own[1]) * 2)
        pair = torch.tensor([of_rest, of_own, of_own], dtype=torch.float64)
        total = total + cross_entropy(logits, small, weight=pair, reduction="none")
    return total


def assert_agrees(loss, z, y, batch, shares, **settings):
    """Loss and gradient against autograd, y by token, or by token and type."""
    of_types = per_type(y, z.shape[1]) if y.ndim == 1 else y
    known = torch.tensor((of_types >= 0).all(axis=1))
    z_torch = torch.tensor(z.astype("float64"), requires_grad=True)
    expected = reduce_in_torch(
        loss.reduction,
        torch_problems(z_torch, of_types, shares, **settings)[known],
        torch.ones(int(known.sum()), dtype=torch.float64),
        torch.where(known, 0, -1),
        LENGTHS.tolist(),
        loss.statistics,
        loss.tokens_per_batch,
    )
    expected.backward()
    gradient, value = loss(z, y, LENGTHS, batch)
    single = z.dtype == np.float32
    assert gradient.dtype == z.dtype
    assert value == pytest.approx(expected.item(), rel=1e-5 if single else 1e-9)
    tolerances = {"rtol": 1e-4, "atol": 1e-6} if single else {"rtol": 1e-6, "atol": 1e-12}
    np.testing.assert_allclose(gradient, z_torch.grad.numpy(), **tolerances)
    assert (gradient[~known.numpy()] == 0).all()


# The loss and its gradient.


@pytest.mark.parametrize("columns", [None, 2])
@pytest.mark.parametrize("sampled", [False, True])
@BOTH_REDUCTIONS
@ALL_WEIGHTINGS
def test_all_problems_agree_with_autograd(weighting, reduction, sampled, columns):
    settings = WEIGHTINGS[weighting]
    statistics, documents, counts = overlapping_corpus()
    tokens = np.array([len(ids) for ids in documents])
    if columns is None:
        statistics, counts, tokens = corpus()[0], DOCUMENTS, DOCUMENTS.sum(axis=1)
    batch = None
    if sampled:
        counts, tokens = counts[[1, 3, 3]], tokens[[1, 3, 3]]
        batch = batch_of(counts, None, tokens)
    loss = bound(statistics, batch, reduction=reduction, tokens_per_batch=20.0, **settings)
    shares = mean_shares(counts, tokens)[reduction]
    assert_agrees(loss, *random_batch(0, columns), batch, shares, **settings)


@pytest.mark.parametrize("problems", ["all", "batch"])
@ALL_WEIGHTINGS
def test_what_is_trained_is_what_the_loss_is_the_likelihood_of(weighting, problems):
    settings = WEIGHTINGS[weighting]
    batch = batch_of(POOL, "L1") if problems == "batch" else None
    loss = bound(None, batch, problems=problems, tokens_per_batch=1.0, **settings)
    z, y = random_batch(0)
    p = np.exp(loss.trained(z))
    counts = DOCUMENTS if batch is None else POOL
    share = counts[:, 3:].sum() / counts.sum()
    a = settings.get("power", 0.0)
    of_own, of_rest = {"paper": (1 - share, share), "none": (1.0, 1.0)}.get(
        settings.get("weights", "paper"), (((1 - share) / share) ** a, 1.0)
    )
    # The tokens of L1 and of everything else, in its problem alone.
    own, rest = np.isin(y, [3, 4]), np.isin(y, [0, 1, 2])
    expected = -of_own * np.log(p[own, y[own]]).sum()
    expected -= of_rest * np.log(1 - p[rest, 3:].sum(axis=1)).sum()
    if batch is None:
        # The loss of the other type's problem is what is left without that type.
        other, columns = z.copy(), slice(3, 5)
        other[:, columns] = -np.inf
        without = loss.get_loss(other, np.where(own, 0, y), LENGTHS)
        assert loss.get_loss(z, y, LENGTHS) - without == pytest.approx(expected, rel=1e-6)
    else:
        assert loss.get_loss(z, y, LENGTHS, batch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("columns", [None, 2])
@BOTH_REDUCTIONS
@ALL_WEIGHTINGS
def test_the_problem_of_a_batch_agrees_with_autograd(weighting, reduction, columns):
    settings = WEIGHTINGS[weighting]
    batch = batch_of(POOL, "L1")
    loss = bound(
        *(None, batch), problems="batch", reduction=reduction, tokens_per_batch=20.0, **settings
    )
    z, y = random_batch(0, columns)
    shares = mean_shares(POOL)[reduction]
    assert_agrees(loss, z, y, batch, shares, problems=(1,), **settings)
    assert (loss(z, y, LENGTHS, batch)[0][:, [1, 2]] == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [60.0, 100.0, 1e4])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_extreme_logits_agree_with_autograd(scale, dtype):
    """The first scale needs no shift of the exponentials."""
    loss = bound(tokens_per_batch=20.0)
    generator = np.random.default_rng(0)
    z = (generator.choice([-1.0, 0.0, 1.0], size=(LENGTHS.sum(), 5)) * scale).astype(dtype)
    _, y = random_batch(1)
    assert_agrees(loss, z, y, None, mean_shares(DOCUMENTS)["tokens"])
    posterior = loss.posterior_logits(z)
    assert posterior.dtype == dtype
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(np.exp(log_softmax(posterior)).sum(axis=1), 1.0, rtol=1e-6)


def test_a_tag_never_seen_takes_no_part():
    documents = np.array([[800, 120, 50, 30, 0], [40, 20, 4, 9, 0]])
    loss = bound(statistics_of(*documents), tokens_per_batch=20.0)
    z, y = random_batch(0)
    assert (y == 4).any()
    shares = mean_shares(documents)["tokens"]
    assert_agrees(loss, z, np.where(y == 4, -1, y), None, shares)
    for one, other in zip(loss(z, y), loss(z, np.where(y == 4, -1, y)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unseen_tag_in_one_column_masks_the_token():
    loss = bound(statistics_of([800, 120, 50, 30, 0]))
    z = random_batch(0)[0][:2]
    gradient, value = loss(z, np.array([[1, 4], [1, 0]]))
    assert (gradient[0] == 0).all()
    expected_gradient, expected = loss(z, np.array([[-1, -1], [1, 0]]))
    np.testing.assert_array_equal(gradient, expected_gradient)
    assert value == expected


def test_everything_else_is_learned_where_every_token_is_of_a_type():
    statistics = TagStatistics()
    statistics.count(["L0", "L1"], [np.array([[1, 0], [2, 3], [0, 3], [0, 4]])])
    assert not statistics.seen[0]
    gradient, _ = bound(statistics)(np.zeros((1, 5)), np.array([[1, 0]]))
    # Its type rises, the other one falls.
    assert gradient[0, 1] < 0 < gradient[0, 3]


def test_tokens_of_other_types_pull_towards_o():
    loss = bound(None, batch_of(POOL, "L1"), problems="batch")
    gradient, _ = loss(np.zeros((1, 5)), np.array([1]), None, batch_of(POOL, "L1"))
    assert gradient[0, 0] < 0 < gradient[0, 3]


def test_paper_weights_pull_alike():
    """Where a type is ruled out, or certain, a loss is weight times distance."""
    loss, tags = bound(), corpus()[1]
    of_type, of_rest = (
        loss.get_loss(np.tile([0.0, 0.0, 0.0, far, far], (len(tags), 1)), tags)
        for far in (-1e9, 1e9)
    )
    assert of_type == pytest.approx(of_rest, rel=1e-6)


# The inverse.


@ALL_WEIGHTINGS
@BOTH_REDUCTIONS
def test_zero_logits_are_the_prior(weighting, reduction):
    statistics, documents, counts = overlapping_corpus()
    prior = mean_shares(counts, [len(ids) for ids in documents])["tokens"]
    loss = bound(statistics, None, reduction=reduction, **WEIGHTINGS[weighting])
    for row in (np.zeros((1, 5)), np.full((1, 5), -7.0)):
        np.testing.assert_allclose(np.exp(loss.posterior_logits(row))[0, 1:], prior[1:], rtol=1e-12)
    loss = bound(reduction=reduction, **WEIGHTINGS[weighting])
    prior = mean_shares(DOCUMENTS)["tokens"]
    np.testing.assert_allclose(np.exp(loss.posterior_logits(np.zeros((1, 5))))[0], prior)


@pytest.mark.parametrize("batch", [None, batch_of(POOL, None), batch_of(POOL, "L1")])
def test_posterior_is_that_of_each_problem_under_the_prior(batch):
    """Whatever was drawn: log odds are z_c - z_O, moved by the prior's odds."""
    loss = bound(None, batch)
    z, _ = random_batch(2)
    prior = torch.tensor(mean_shares(DOCUMENTS)["tokens"])
    found = loss.posterior_logits(z)
    for own in ([1, 2], [3, 4]):
        rest = torch.log(1 - prior[own].sum())
        logits = torch.tensor(z[:, [0, *own]]) + torch.stack((rest, *torch.log(prior[own])))
        expected = torch.log_softmax(logits, -1).numpy()[:, 1:]
        np.testing.assert_allclose(found[:, own], expected, rtol=1e-9)
    of_types = np.exp(found[:, 1:]).sum(axis=1)
    np.testing.assert_allclose(np.exp(found[:, 0]), np.maximum(1 - of_types, LEAST_OUTSIDE))
    assert ((1 - of_types) < 0).any() and ((1 - of_types) > 0.01).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_that_contradict_each_other_leave_the_least_to_o(dtype):
    loss = bound()
    z = np.array([[0, 20, 0, 20, 0], [0, 20, 0, 0, 0], [0, 40, 0, -9, 0]], dtype=dtype)
    posterior = loss.posterior_logits(z)
    assert exceeds_one(posterior).tolist() == [True, True, True]
    np.testing.assert_allclose(np.exp(posterior[:, 0]), LEAST_OUTSIDE, rtol=1e-5)
    p = np.exp(log_softmax(posterior))
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(p[0, [1, 3]], 0.5, rtol=1e-4)


@pytest.mark.parametrize("labels", [["L0"], ["L1"]])
def test_a_type_that_never_had_a_batch_has_probability_0(labels):
    loss = bound(problems="batch")
    for label in labels:
        loss.statistics.observe(batch_of(POOL, label))
    p = np.exp(loss.posterior_logits(np.zeros((2, 5))))
    trained = [1, 2] if labels == ["L0"] else [3, 4]
    prior = mean_shares(DOCUMENTS)["tokens"]
    expected = np.where(np.isin(np.arange(5), trained), prior, 0.0)
    expected[0] = 1 - expected.sum()
    np.testing.assert_allclose(p, np.tile(expected, (2, 1)), rtol=1e-12)


@BOTH_REDUCTIONS
def test_before_any_batch_all_is_outside(reduction):
    loss = bound(problems="batch", reduction=reduction)
    assert np.exp(loss.posterior_logits(np.ones((1, 5)))).tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]


def test_the_posterior_undoes_the_sampling_itself():
    assert bound(None, batch_of(POOL, None)).training_odds() is None
    assert bound(reduction="documents").training_odds() is None


# Errors.


@pytest.mark.parametrize("batch", [None, batch_of(DOCUMENTS, None)])
def test_a_batch_without_a_type_names_the_batcher(batch):
    loss = bound(problems="batch")
    with pytest.raises(
        ClinicalNerError,
        match=r'problems = "batch" needs batches.*clinical_ner\.batch_by_entity\.v1.*or problems =',
    ):
        loss(*random_batch(0), LENGTHS, batch)


def test_an_unknown_type_is_refused():
    loss = bound(None, batch_of(POOL, "L1"), problems="batch")
    with pytest.raises(
        ClinicalNerError, match="BTL was given a batch for the entity type 'Mass'.*L0, L1"
    ):
        loss(*random_batch(0), LENGTHS, {**batch_of(POOL, "L1"), "type": "Mass"})


@pytest.mark.parametrize("problems", ["all", "batch"])
def test_a_corpus_of_one_type_is_refused(problems):
    loss = BinaryTokenLabels(problems=problems)
    with pytest.raises(
        ClinicalNerError, match="BTL cannot learn 'L1': all labelled tokens.*Leave the type"
    ):
        loss.initialize(statistics_of([0, 0, 0, 3, 3]))
    overlapping = TagStatistics()
    overlapping.count(["L0", "L1"], [np.array([[1, 3], [0, 4]])])
    with pytest.raises(
        ClinicalNerError, match="BTL cannot learn 'L1': all labelled tokens.*Leave the type"
    ):
        loss.initialize(overlapping)
