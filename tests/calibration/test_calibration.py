from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.entity_step import EntityCalibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.fit_calibration import fit_calibration
from clinical_ner.fitting.fit_entities import fit_entities
from clinical_ner.fitting.fit_tokens import fit_tokens
from clinical_ner.fitting.fit_transitions import best_weight, gain_at, segment_likelihoods

COUNTS = np.array([9000.0, 500, 300])
BOTH = Calibration(TokenCalibration(1.5, (0.0, 0.2, -0.1)), EntityCalibration(0.8, -0.4, 0.1))


@dataclass
class Tokens:
    """A document whose spans are single tokens: the top tag of each, unless it is O."""

    log_probs: NDArray[np.float64]
    gold: NDArray[np.int64]
    asked: list[NDArray[np.float64]] = field(default_factory=list)
    transitions: list[float] = field(default_factory=list)
    information: NDArray[np.float64] | None = None

    @property
    def tokens(self) -> NDArray[np.bool_]:
        return np.ones(len(self.gold), dtype=bool)

    def spans(
        self, log_probs: NDArray[np.float64], *, transitions: float = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        self.asked.append(log_probs)
        self.transitions.append(transitions)
        top = log_probs.argmax(axis=1)
        return np.exp(log_probs.max(axis=1))[top > 0], (top == self.gold)[top > 0]


def documents(n: int, *, tokens: int = 60, seed: int = 0) -> list[Tokens]:
    """Documents whose probabilities are too sure."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        log_probs = log_softmax(rng.normal(scale=3.0, size=(tokens, 3)), axis=1)
        cumulative = np.exp(log_softmax(log_probs / 2, axis=1)).cumsum(axis=1)
        gold = (rng.random((tokens, 1)) > cumulative[:, :-1]).sum(axis=1)
        found.append(Tokens(log_probs, gold))
    return found


def token_step(docs: list[Tokens], *, biases: bool = True) -> TokenCalibration:
    log_probs, gold = [doc.log_probs for doc in docs], [doc.gold for doc in docs]
    return fit_tokens(log_probs, gold, COUNTS, biases=biases).calibration


# The data


@pytest.mark.parametrize(
    "calibration",
    [
        replace(BOTH, transitions=0.15),
        Calibration(BOTH.tokens),
        Calibration(replace(BOTH.tokens, overlaps=True)),
    ],
)
def test_json_and_back(calibration: Calibration) -> None:
    data = json.loads(json.dumps(calibration.to_dict()))
    assert Calibration.from_dict(data) == calibration
    assert ("overlaps" in data["tokens"]) == calibration.tokens.overlaps


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tokens": {"temperature": 1.0, "bias": [0.0]}},
        {"tokens": None, "entities": None},
        {"tokens": {"temperature": 1.0, "bias": ["x"]}, "entities": None},
        {"tokens": {"temperature": 1.0, "bias": [0.0]}, "entities": {"slope": 1.0}},
    ],
)
def test_other_data_is_refused(data: dict) -> None:
    with pytest.raises(ClinicalNerError, match="The stored calibration is not what"):
        Calibration.from_dict(data)


def test_data_out_of_range_says_what() -> None:
    with pytest.raises(ClinicalNerError, match="temperature"):
        Calibration.from_dict({**BOTH.to_dict(), "tokens": {"temperature": 0, "bias": [0]}})


# The fit


def test_the_token_step_that_is_kept_is_fitted_on_all_documents() -> None:
    docs = documents(7)
    fit = fit_calibration(docs, COUNTS)
    assert fit.calibration.tokens == token_step(docs) == fit.tokens.calibration


@pytest.mark.parametrize("fold_of", [None, [0, 0, 2, 1, 1, 2, 2]], ids=["every fifth", "given"])
def test_the_entity_step_is_fitted_on_spans_of_tokens_that_other_documents_calibrated(
    fold_of: list[int] | None,
) -> None:
    docs = documents(7)
    fit = fit_calibration(docs, COUNTS, fold_of=fold_of)
    folds = fold_of or [i % 5 for i in range(7)]
    spans = []
    for i, doc in enumerate(docs):
        others = [other for other, fold in zip(docs, folds, strict=True) if fold != folds[i]]
        step = token_step(others)
        assert fit.held_out[i].tokens == step
        (asked,) = doc.asked
        np.testing.assert_allclose(asked, step.apply(doc.log_probs), atol=1e-12)
        spans.append(doc.spans(step.apply(doc.log_probs)))
    probabilities, right = (np.concatenate(of) for of in zip(*spans, strict=True))
    assert fit.calibration.entities == fit_entities(probabilities, right)
    assert (fit.spans, fit.right_spans) == (len(right), right.sum())


def test_a_held_out_entity_step_has_not_seen_the_spans_of_the_fold() -> None:
    docs = documents(10)
    held_out = fit_calibration(docs, COUNTS).held_out
    spans = [d.spans(c.tokens.apply(d.log_probs)) for d, c in zip(docs, held_out, strict=True)]
    others = [of for i, of in enumerate(spans) if i % 5 != 3]
    probabilities, right = (np.concatenate(of) for of in zip(*others, strict=True))
    assert held_out[3].entities == held_out[8].entities == fit_entities(probabilities, right)


@pytest.mark.parametrize("n", [2, 4])
def test_fewer_than_five_documents_give_a_temperature_only(n: int) -> None:
    docs = documents(n, tokens=200)
    fit = fit_calibration(docs, COUNTS)
    assert fit.calibration == Calibration(token_step(docs, biases=False))
    assert fit.calibration.tokens.bias == (0.0, 0.0, 0.0)
    for i, held_out in enumerate(fit.held_out):
        others = docs[:i] + docs[i + 1 :]
        assert held_out == Calibration(token_step(others, biases=False))


def test_one_document_leaves_none_to_hold_out() -> None:
    (doc,) = documents(1)
    fit = fit_calibration([doc], COUNTS)
    assert fit.calibration == Calibration(token_step([doc], biases=False))
    assert fit.held_out == []


def test_documents_without_a_usable_token_do_not_count() -> None:
    docs = documents(6)
    masked = Tokens(docs[0].log_probs, np.full(60, -1))
    impossible = Tokens(np.log([[0.5, 0.5, 1e-300]]) - [0, 0, np.inf], np.array([2]))
    empty = Tokens(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    fit = fit_calibration([masked, *docs, impossible, empty], COUNTS)
    assert [id(doc) for doc in fit.documents] == [id(doc) for doc in docs]
    assert fit.calibration == fit_calibration(docs, COUNTS).calibration
    with pytest.raises(ClinicalNerError, match="No held-out token has a gold tag that the"):
        fit_calibration([masked, impossible, empty], COUNTS)


def test_spans_of_one_kind_give_no_entity_step() -> None:
    docs = [Tokens(doc.log_probs, doc.log_probs.argmax(axis=1)) for doc in documents(6)]
    fit = fit_calibration(docs, COUNTS)
    assert fit.calibration.entities is None
    assert fit.spans == fit.right_spans > 0
    assert all(held_out.entities is None for held_out in fit.held_out)


def test_transitions_are_fitted_behind_tokens_and_before_entities() -> None:
    docs, folds = documents(9), [i % 5 for i in range(9)]
    information = np.array([[0.3, -0.4, -np.inf], [-0.9, 0.2, 0.8], [-0.3, -0.8, 1.2]])
    for doc, fold in zip(docs, folds, strict=True):
        doc.gold[doc.gold == 2] = np.where(np.arange((doc.gold == 2).sum()) % 2, 0, 1)
        doc.information = information * (1.0 + fold / 10)
    fit = fit_calibration(docs, COUNTS)
    likelihoods = segment_likelihoods(
        [of.tokens.apply(doc.log_probs) for of, doc in zip(fit.held_out, docs, strict=True)],
        [doc.gold for doc in docs],
        [information * (1.0 + fold / 10) for fold in folds],
    )
    assert fit.calibration.transitions == best_weight(likelihoods)
    gain = 0.0
    for i, doc in enumerate(docs):
        weight = best_weight([of for j, of in enumerate(likelihoods) if folds[j] != folds[i]])
        assert fit.held_out[i].transitions == weight
        assert doc.transitions == [weight]
        gain += gain_at(weight, likelihoods[i])
    assert fit.transitions_gain == pytest.approx(gain)
    assert fit_calibration(docs, COUNTS, transitions=False).calibration.transitions == 0.0
    assert fit_calibration(docs[:4], COUNTS).calibration.transitions == 0.0
