"""Binary token labels: what a batch for one type trains, and what it leaves alone."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from clinical_ner.errors import ClinicalNerError
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels

from .examples import DOCUMENTS, REDUCTIONS, batch_of, corpus, reduce_in_torch, statistics_of

POOL = DOCUMENTS[[1, 3]]
LENGTHS = np.array([9, 0, 16, 5])


def bound(documents=DOCUMENTS, pool=POOL, label="L1", **settings):
    statistics = statistics_of(*documents)
    batch = batch_of(pool, label)
    statistics.observe(batch)
    loss = BinaryTokenLabels(**settings)
    loss.initialize(statistics)
    return loss, batch


def random_batch(seed):
    generator = np.random.default_rng(seed)
    y = generator.integers(-1, 5, size=LENGTHS.sum())
    return generator.normal(scale=3.0, size=(len(y), 5)), y


def pool_weights(weights, scale_types, others, reduction):
    """Weights of O and of L1, from the counts of the pool."""
    counts = POOL.astype(float)
    counts = counts if others == "outside" else counts[:, [0, 3, 4]]
    own = counts[:, -2:].sum(1)
    by_document = reduction == "documents"
    share = (own / counts.sum(1)).mean() if by_document else own.sum() / counts.sum()
    pair = np.array([share, 1 - share]) if weights == "paper" else np.ones(2)
    return pair / (pair @ [1 - share, share]) if scale_types else pair


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("others", ["masked", "outside"])
@pytest.mark.parametrize("weights", ["paper", "none"])
@pytest.mark.parametrize("scale_types", [True, False])
def test_gradient_and_loss_agree_with_autograd(weights, scale_types, others, reduction):
    settings = {"weights": weights, "others": others, "reduction": reduction}
    loss, batch = bound(scale_types=scale_types, tokens_per_batch=20.0, **settings)
    z, y = random_batch(0)
    z_torch = torch.tensor(z, requires_grad=True)
    # O, B-L1 and I-L1 are the tags 0, 1 and 2 of a problem of their own.
    rest = 0 if others == "outside" else -1
    small = torch.tensor([{-1: -1, 0: 0, 3: 1, 4: 2}.get(tag, rest) for tag in y])
    keep = small >= 0
    losses = cross_entropy(z_torch[:, [0, 3, 4]][keep], small[keep], reduction="none")
    pair = torch.tensor(pool_weights(weights, scale_types, others, reduction))
    expected = reduce_in_torch(
        *(reduction, losses, pair[[0, 1, 1]][small[keep]], small, LENGTHS.tolist()),
        *(loss.statistics, 20.0),
    )
    expected.backward()
    gradient, value = loss(z, y, LENGTHS, batch)
    assert value == pytest.approx(expected.item(), rel=1e-9)
    np.testing.assert_allclose(gradient, z_torch.grad.numpy(), rtol=1e-6, atol=1e-12)
    assert (gradient[:, [1, 2]] == 0).all()


def test_tokens_of_other_types_are_masked():
    loss, batch = bound()
    z = np.random.default_rng(0).normal(size=(3, 5))
    assert (loss.get_grad(z, np.array([0, 1, 2]), None, batch)[1:] == 0).all()


def test_others_outside_pull_towards_o():
    loss, batch = bound(others="outside")
    gradient = loss.get_grad(np.zeros((1, 5)), np.array([1]), None, batch)
    assert gradient[0, 0] < 0 < gradient[0, 3]


def test_scaled_types_pull_alike():
    """Over a pool the scaled weights of the kept tokens have the mean 1, for any type."""
    for label, pool in (("L0", DOCUMENTS), ("L1", POOL)):
        loss, batch = bound(pool=pool, label=label, scale_types=True, tokens_per_batch=1.0)
        own = [1, 2] if label == "L0" else [3, 4]
        kept = np.concatenate([np.repeat([0, *own], counts[[0, *own]]) for counts in pool])
        # At equal logits a token's loss is log 3 times its weight.
        value = loss.get_loss(np.zeros((len(kept), 5)), kept, None, batch)
        assert value / len(kept) / np.log(3) == pytest.approx(1.0)


def test_unscaled_paper_weights_shrink_with_the_rarer_type():
    loss, batch = bound(tokens_per_batch=1.0)
    kept = np.concatenate([np.repeat([0, 3, 4], counts[[0, 3, 4]]) for counts in POOL])
    value = loss.get_loss(np.zeros((len(kept), 5)), kept, None, batch)
    share = 30 / 330
    assert value / len(kept) / np.log(3) == pytest.approx(2 * share * (1 - share))


def test_a_type_without_a_batch_has_no_probability():
    loss, _ = bound()
    posterior = loss.posterior_logits(np.zeros((2, 5)))
    assert (posterior[:, [1, 2]] == -np.inf).all()
    assert np.isfinite(posterior[:, [0, 3, 4]]).all()
    assert loss.training_odds()[[1, 2]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
def test_before_any_batch_all_is_outside(reduction):
    loss = BinaryTokenLabels(reduction=reduction)
    loss.initialize(corpus()[0])
    assert loss.training_odds().tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    posterior = loss.posterior_logits(np.ones((1, 5)))
    assert posterior.tolist() == [[1.0, -np.inf, -np.inf, -np.inf, -np.inf]]


@pytest.mark.parametrize("reduction", ["classes", "weights"])
def test_reductions_without_a_posterior(reduction):
    assert not BinaryTokenLabels(reduction=reduction).has_posterior


def test_other_types_outside_have_no_posterior():
    assert not BinaryTokenLabels(others="outside").has_posterior


@pytest.mark.parametrize("batch", [None, batch_of(DOCUMENTS, None)])
def test_a_batch_without_a_type_names_the_batcher(batch):
    loss = BinaryTokenLabels()
    loss.initialize(corpus()[0])
    with pytest.raises(
        ClinicalNerError,
        match=r"BTL needs batches for one entity type.*clinical_ner\.batch_by_entity\.v1",
    ):
        loss(*random_batch(0), LENGTHS, batch)


def test_an_unknown_type_is_refused():
    loss, batch = bound()
    with pytest.raises(
        ClinicalNerError, match="BTL was given a batch for the entity type 'Mass'.*L0, L1"
    ):
        loss(*random_batch(0), LENGTHS, {**batch, "type": "Mass"})


@pytest.mark.parametrize("others", ["masked", "outside"])
def test_a_pool_without_o_is_refused(others):
    documents = np.array([[0, 0, 0, 3, 3]])
    loss, batch = bound([[9, 5, 2, 3, 3]], documents + [1, 0, 0, 0, 0], others=others)
    odds = {"B-L1": np.inf, "I-L1": np.inf}
    shares = {"O": 0.0, "B-L1": 0.5, "I-L1": 0.5}
    batch = {**batch, "type_odds": odds, "batch_shares": shares}
    loss.statistics.observe(batch)
    with pytest.raises(
        ClinicalNerError,
        match="'L1'.*outside entities.*Leave the type out of the corpus, or choose",
    ):
        loss(*random_batch(0), LENGTHS, batch)


def test_a_pool_without_the_type_is_refused():
    loss, batch = bound()
    batch = {**batch, "type_odds": {"B-L1": 0.0, "I-L1": 0.0}}
    loss.statistics.observe(batch)
    with pytest.raises(
        ClinicalNerError, match="'L1'.*of that type.*Leave the type out of the corpus, or choose"
    ):
        loss(*random_batch(0), LENGTHS, batch)
