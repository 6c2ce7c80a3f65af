"""The component under the sampling batchers: what reaches it, and the prior that it hands back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax
from spacy.language import Language
from spacy.training import Example
from thinc.api import Optimizer, fix_random_seed

from clinical_ner.errors import ClinicalNerError
from clinical_ner.losses.base import EntityLoss
from clinical_ner.losses.binary_token_labels import BinaryTokenLabels
from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.losses.logit_adjusted import LogitAdjusted
from clinical_ner.tags.batch_sampling import BatchSampling
from clinical_ner.tags.encode import encode_example
from clinical_ner.tags.statistics import SAMPLING, TagStatistics
from clinical_ner.training.batchers import configure_batch_balanced, configure_batch_by_entity

from ..training.examples import endless, small_corpus
from .examples import GOLD, TRAIN, make_examples, make_nlp, predicted

Configure = Callable[..., Any]
Settings = dict[str, Any]
BOTH = pytest.mark.parametrize("configure", [configure_batch_by_entity, configure_batch_balanced])


def initialized(**settings: Any) -> tuple[Language, Optimizer]:
    fix_random_seed(0)
    # Only transformers need a folder.
    nlp = make_nlp("tok2vec", Path(), **settings)
    return nlp, nlp.initialize(lambda: make_examples(nlp))


def probabilities(nlp: Language) -> NDArray[np.float64]:
    docs = [nlp.make_doc(text) for text, _ in TRAIN]
    return np.exp(np.concatenate(nlp.get_pipe("ner").predict(docs)).astype("float64"))


def train(
    nlp: Language, optimizer: Optimizer, batcher: Any, *, batches: int
) -> list[BatchSampling]:
    """Update the pipeline, and return what was said of each batch."""
    said = []
    for sampling, batch in islice(endless(batcher, make_examples(nlp)), batches):
        said.append(sampling)
        nlp.update(batch, sgd=optimizer)
    return said


@BOTH
def test_the_shares_of_the_batcher_arrive(configure: Configure) -> None:
    nlp, optimizer = initialized()
    statistics = nlp.get_pipe("ner").statistics
    said = train(nlp, optimizer, configure(size=8), batches=3)[-1]
    np.testing.assert_allclose(statistics.sampled_shares, statistics.by_tag(said["shares"]))
    np.testing.assert_allclose(
        statistics.sampled_document_shares, statistics.by_tag(said["document_shares"])
    )
    assert statistics.sampled_shares.sum() == pytest.approx(1.0)


def test_odds_of_the_types_are_gathered_over_batches() -> None:
    nlp, optimizer = initialized()
    statistics = nlp.get_pipe("ner").statistics
    expected = {"O": 1.0}
    for said in train(nlp, optimizer, configure_batch_by_entity(size=8), batches=6):
        expected.update(said["type_odds"])
    assert len(expected) == len(statistics.tags)
    np.testing.assert_allclose(statistics.type_odds, statistics.by_tag(expected))


def test_balanced_batches_have_no_odds_of_types() -> None:
    nlp, optimizer = initialized()
    train(nlp, optimizer, configure_batch_balanced(size=8), batches=3)
    assert nlp.get_pipe("ner").statistics.type_odds is None


@BOTH
def test_the_shares_survive_saving_and_so_do_the_probabilities(
    configure: Configure, tmp_path: Path
) -> None:
    nlp, optimizer = initialized()
    train(nlp, optimizer, configure(size=8), batches=4)
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    for name in SAMPLING:
        stored = getattr(loaded.get_pipe("ner").statistics, name)
        live = getattr(nlp.get_pipe("ner").statistics, name)
        assert (stored is None) == (live is None)
        if live is not None:
            np.testing.assert_allclose(stored, live)
    np.testing.assert_allclose(probabilities(loaded), probabilities(nlp), rtol=1e-5, atol=1e-7)


@BOTH
def test_a_later_batch_drawn_as_the_corpus_is_clears_them(configure: Configure) -> None:
    nlp, optimizer = initialized()
    train(nlp, optimizer, configure(size=8), batches=2)
    nlp.update(make_examples(nlp), sgd=optimizer)
    statistics = nlp.get_pipe("ner").statistics
    assert [getattr(statistics, name) for name in SAMPLING] == [None] * len(SAMPLING)


@BOTH
def test_a_batch_that_is_half_sampled_is_an_error(configure: Configure) -> None:
    nlp, _ = initialized()
    batch = next(configure(size=8)(make_examples(nlp)))
    with pytest.raises(ClinicalNerError, match=r"'ner'.*was given a batch whose documents were"):
        nlp.update(batch + make_examples(nlp))


def test_a_batch_of_two_types_is_an_error() -> None:
    nlp, _ = initialized()
    examples = make_examples(nlp)
    by_type: dict[str | None, list[Example]] = {}
    for sampling, batch in endless(configure_batch_by_entity(size=1), examples):
        # Not the document in which both may stand: the later batch would have overwritten it.
        if all(batch[0] is not other[0] for other in by_type.values()):
            by_type[sampling["type"]] = batch
        if len(by_type) == 2:
            break
    with pytest.raises(ClinicalNerError, match="' was given a batch whose documents were"):
        nlp.update([example for batch in by_type.values() for example in batch])


@pytest.mark.parametrize(
    ("configure", "loss"),
    [
        (configure_batch_by_entity, {"@losses": "clinical_ner.WeightedCrossEntropy.v1"}),
        (configure_batch_balanced, {"@losses": "clinical_ner.LogitAdjusted.v1"}),
        (configure_batch_balanced, {"@losses": "clinical_ner.BinaryTokenLabels.v2"}),
        (
            configure_batch_by_entity,
            {"@losses": "clinical_ner.BinaryTokenLabels.v2", "problems": "batch"},
        ),
    ],
)
@pytest.mark.parametrize("reduction", ["tokens", "documents"])
def test_probabilities_sum_to_1(configure: Configure, loss: Settings, reduction: str) -> None:
    nlp, optimizer = initialized(loss={**loss, "reduction": reduction})
    before = probabilities(nlp)
    train(nlp, optimizer, configure(size=8), batches=5)
    for found in (before, probabilities(nlp)):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


@BOTH
def test_the_documents_drawn_are_learned_to_perfection(configure: Configure) -> None:
    nlp, optimizer = initialized()
    train(nlp, optimizer, configure(size=20), batches=45)
    # The last has no entity, so no batch by entity ever holds it.
    n_drawn = len(TRAIN) - (configure is configure_batch_by_entity)
    assert predicted(nlp)[:n_drawn] == GOLD[:n_drawn]


# The prior, where the text says nothing: the logits are the same for all tokens.

#: Batcher, its settings, batches drawn, tolerances: absolute, and relative to each tag's prior.
BATCHERS: dict[str, tuple[Configure, Settings, int, float, float]] = {
    "uniform": (configure_batch_by_entity, {"rates": "uniform"}, 10_000, 1e-4, 2e-3),
    "proportional": (configure_batch_by_entity, {"rates": "proportional"}, 10_000, 1e-4, 2e-3),
    # Random rounding: the error falls with the root of the number of batches only.
    "balanced": (configure_batch_balanced, {"power": 0.5}, 20_000, 1e-3, 1e-2),
}
LOSSES: dict[str, tuple[type[EntityLoss], Settings]] = {
    "plain": (WeightedCrossEntropy, {}),
    "paper weights": (WeightedCrossEntropy, {"weights": "paper"}),
    "logit adjusted": (LogitAdjusted, {}),
    "binary": (BinaryTokenLabels, {}),
    "binary, powers": (BinaryTokenLabels, {"weights": "power", "power": 0.5}),
    "binary, batch": (BinaryTokenLabels, {"problems": "batch"}),
    "binary, batch, no weights": (BinaryTokenLabels, {"problems": "batch", "weights": "none"}),
}


class Drawn:
    """What a batcher drew from the small corpus, thousands of batches long.

    documents: how often each document was drawn, for each object that batches carried.
    """

    def __init__(self, name: str) -> None:
        configure, settings, batches, *_ = BATCHERS[name]
        examples = small_corpus()
        labels = sorted({ent.label_ for eg in examples for ent in eg.reference.ents})
        index = {label: i for i, label in enumerate(labels)}
        self.ids = [encode_example(example, index, name="ner") for example in examples]
        self.statistics = TagStatistics()
        self.statistics.count(labels, self.ids)
        row = {id(example): i for i, example in enumerate(examples)}
        self.sampling: dict[str | None, BatchSampling] = {}
        self.documents: Counter[tuple[str | None, int]] = Counter()
        for said, batch in islice(endless(configure(size=100, **settings), examples), batches):
            if said["type"] not in self.sampling:
                self.sampling[said["type"]] = said
                self.statistics.observe(said)
            self.documents.update((said["type"], row[id(example)]) for example in batch)

    def optimum(self, loss: EntityLoss) -> NDArray[np.float64]:
        """The bias that has the least loss, summed over all documents drawn. *Shape:* ``(K,)``."""
        total = self.documents.total()

        def objective(bias: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, gradient = 0.0, np.zeros_like(bias)
            for (label, document), times in self.documents.items():
                ids = self.ids[document]
                logits = np.tile(bias, (len(ids), 1))
                d_logits, one = loss(logits, ids, np.asarray([len(ids)]), self.sampling[label])
                value += one * times / total
                gradient += d_logits.sum(axis=0) * times / total
            return value, gradient

        # Not 0, where binary token labels are at their optimum.
        start = np.linspace(0.5, -0.5, len(self.statistics.counts))
        found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9})
        assert np.abs(found.jac).max() < 1e-6
        return np.asarray(found.x)


drawn = cache(Drawn)


def cases() -> list[tuple[str, str, str]]:
    return [
        (batcher, loss, reduction)
        for batcher in BATCHERS
        for loss in LOSSES
        for reduction in ("tokens", "documents")
        # It needs batches for a type.
        if not (batcher == "balanced" and loss.startswith("binary, batch"))
    ]


@pytest.mark.parametrize(("batcher", "loss_name", "reduction"), cases())
def test_the_optimum_without_signal_is_mapped_back_to_the_prior_of_the_corpus(
    batcher: str, loss_name: str, reduction: str
) -> None:
    found = drawn(batcher)
    make, settings = LOSSES[loss_name]
    loss = make(reduction=reduction, tokens_per_batch=1.0, **settings)
    loss.initialize(found.statistics)
    learned = loss.posterior_logits(found.optimum(loss)[None])[0]
    shares = loss.training_odds()
    prior = found.statistics.prior
    shift = 0.0 if shares is None else found.statistics.sampling_shift(shares)
    restored = softmax(learned + shift)
    *_, absolute, relative = BATCHERS[batcher]
    np.testing.assert_allclose(restored, prior, atol=absolute, rtol=0)
    np.testing.assert_allclose(restored, prior, rtol=relative)
    if shares is not None:
        # And the shift is what does it.
        assert np.abs(softmax(learned) - prior).max() > 0.01
