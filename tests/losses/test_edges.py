"""What every loss does at the edges of its input: finite, and right."""

import numpy as np
import pytest
import torch

from clinical_ner.arrays import log_softmax
from clinical_ner.losses.base import TokenLoss
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels
from clinical_ner.losses.prior_matching import PriorMatching

from .examples import DOCUMENTS, ONE_OF_EACH, TOKEN_CASES, batch_of, statistics_of, torch_loss

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

ALL = {
    **ONE_OF_EACH,
    "prior-matching": lambda **kw: PriorMatching(base=ONE_OF_EACH["focal-2.0"](**kw)),
    "prior-matching-ldam": lambda **kw: PriorMatching(base=ONE_OF_EACH["ldam-0.8-3.0"](**kw)),
    "btl": BinaryTokenLabels,
    "btl-batch": lambda **kw: BinaryTokenLabels(problems="batch", **kw),
}
LENGTHS = np.array([4, 0, 2])
Y = np.array([0, 1, 2, 0, -1, 0])


def run(loss, z, y, lengths=None, documents=DOCUMENTS):
    """Call a loss; those that need a batch for one type get it."""
    if getattr(loss, "problems", "all") == "all":
        return loss(z, y, lengths)
    batch = batch_of(documents, "L0")
    loss.statistics.observe(batch)
    return loss(z, y, lengths, batch)


def bound(make, documents=DOCUMENTS, **settings):
    loss = make(**settings)
    loss.initialize(statistics_of(*documents))
    return loss


def random_logits(n, dtype="float64", n_tags=5):
    return np.random.default_rng(0).normal(size=(n, n_tags)).astype(dtype)


def posterior(loss, z):
    return np.exp(log_softmax(loss.posterior_logits(z)))


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("name", ALL)
def test_a_label_missing_from_the_batch_leaves_all_finite(name, reduction):
    loss = bound(ALL[name], reduction=reduction)
    gradient, value = run(loss, random_logits(6), Y, LENGTHS)
    assert np.isfinite(value)
    assert value > 0
    assert np.isfinite(gradient).all()
    assert (gradient[4] == 0).all()
    assert gradient[0, 0] < 0


@pytest.mark.parametrize("name", ALL)
def test_a_tag_never_seen_gets_no_gradient_and_no_probability(name):
    documents = [[800, 120, 50, 30, 0]]
    loss = bound(ALL[name], documents)
    z = random_logits(6)
    gradient, value = run(loss, z, Y, documents=documents)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert (gradient[:, 4] == 0).all()
    assert np.abs(gradient).sum() > 0
    if loss.has_posterior:
        assert (posterior(loss, z)[:, 4] == 0).all()
        np.testing.assert_allclose(posterior(loss, z).sum(1), 1.0)
    if loss.has_posterior and isinstance(loss, TokenLoss):
        back = loss.backprop_posterior(z, np.ones_like(z))
        assert np.isfinite(back).all()
        assert (back[:, 4] == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_a_gold_tag_never_seen_is_masked(name):
    documents = [[800, 120, 0, 30, 50]]
    loss = bound(ALL[name], documents)
    z = random_logits(3)
    gradient, value = run(loss, z, np.array([0, 2, 1]), documents=documents)
    masked_gradient, masked = run(
        bound(ALL[name], documents), z, np.array([0, -1, 1]), documents=documents
    )
    assert value == masked
    np.testing.assert_array_equal(gradient, masked_gradient)


@pytest.mark.parametrize("reduction", ["tokens", "documents"])
@pytest.mark.parametrize("name", ALL)
def test_everything_masked_gives_zero(name, reduction):
    loss = bound(ALL[name], reduction=reduction)
    gradient, value = run(loss, random_logits(3), np.full(3, -1), np.array([1, 2]))
    assert value == 0.0
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_an_empty_batch_gives_zero(name):
    loss = bound(ALL[name])
    gradient, value = run(loss, np.zeros((0, 5), dtype="f"), np.zeros(0, dtype=int), np.zeros(0))
    assert gradient.shape == (0, 5)
    assert gradient.dtype == np.float32
    assert value == 0.0


#: What a corpus of one class refuses: a table with another label, paper weights, batches for types.
OF_SEVERAL_CLASSES = ("ce-table", "focal-0.5", "btl-batch")


@pytest.mark.parametrize("name", [name for name in ALL if name not in OF_SEVERAL_CLASSES])
def test_one_class_only_is_certain(name):
    loss = bound(ALL[name], [[10, 0, 0]])
    z = random_logits(4, n_tags=3)
    gradient, value = loss(z, np.zeros(4, dtype=int))
    assert np.isfinite(value)
    assert (gradient[:, 1:] == 0).all()
    if not name.startswith("asymmetric"):
        # One sigmoid per tag still has to rise; a softmax over one tag is 1.
        assert (gradient == 0).all()
    if loss.has_posterior:
        np.testing.assert_allclose(posterior(loss, z), [[1.0, 0.0, 0.0]] * 4)


HUGE = np.array([[1e4, -1e4, 0, 0, 0], [-1e4, 1e4, 0, 0, 0], [0, 0, 0, 1e4, 1e4]], dtype="float32")
HUGE_Y = np.array([0, 0, 4])


@pytest.mark.parametrize("name", [name for name in ONE_OF_EACH if name in TOKEN_CASES])
def test_huge_logits_are_right_in_single_precision(name):
    loss = bound(ALL[name], tokens_per_batch=1.0)
    gradient, value = loss(HUGE, HUGE_Y)
    z = torch.tensor(HUGE.astype("float64"), requires_grad=True)
    expected = torch_loss(
        TOKEN_CASES[name], "tokens", z, torch.tensor(HUGE_Y), [3], loss.statistics, 1.0
    )
    expected.backward()
    assert gradient.dtype == np.float32
    assert np.isfinite(gradient).all()
    assert value == pytest.approx(expected.item(), rel=1e-3)
    # Plain arithmetic has no number for some of them: 0 * inf.
    known = np.isfinite(z.grad.numpy())
    assert known.sum() >= 5
    np.testing.assert_allclose(gradient[known], z.grad.numpy()[known], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_huge_logits_stay_finite(name):
    loss = bound(ALL[name], tokens_per_batch=1.0)
    gradient, value = run(loss, HUGE, HUGE_Y)
    assert gradient.dtype == np.float32
    assert np.isfinite(gradient).all()
    assert np.isfinite(value)
    # The first token is right already: gradients of the focal kind vanish, none runs away.
    assert np.abs(gradient[1]).max() < 1e3
    # A token may be of several types for BTL, and these are.
    if loss.has_posterior and not isinstance(loss, BinaryTokenLabels):
        # One sigmoid per tag gives probabilities that are not normalised over the tags.
        of_tags = loss.posterior_logits(HUGE)
        sure = np.exp(of_tags) if name.startswith("asymmetric") else posterior(loss, HUGE)
        assert sure.dtype == np.float32
        np.testing.assert_allclose(sure[:2].argmax(1), [0, 1])
        np.testing.assert_allclose(sure[:2].max(1), 1.0, atol=1e-3)
    if loss.has_posterior and isinstance(loss, TokenLoss):
        d_posterior = np.eye(3, 5, dtype="float32")
        assert np.isfinite(loss.backprop_posterior(HUGE, d_posterior)).all()
