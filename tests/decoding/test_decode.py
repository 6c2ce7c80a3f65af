"""Entities of a document under a decision, against all legal tag sequences one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinical_ner.decoding import decode as module
from clinical_ner.decoding.decision import Decision
from clinical_ner.decoding.decode import decode, decode_all, decode_choices

from .brute_force import LABELS, K, best_path, brute_force, spans_of, text

Scored = list[tuple[tuple[int, int, str], float]]


@dataclass(frozen=True)
class Note:
    """Log-probabilities of the tokens of a note, and which of them carry a tag."""

    log_probs: NDArray[np.floating]
    tokens: NDArray[np.bool_]


def random_note(seed: int) -> Note:
    """A note of one to six tokens that carry a tag, with whitespace among them."""
    rng = np.random.default_rng(seed)
    of_tagged = text("peaked", seed)
    tokens = rng.permutation([True] * len(of_tagged) + [False] * int(rng.integers(4)))
    # What the rows of whitespace hold must not matter.
    log_probs = np.log(rng.dirichlet(np.ones(K), size=len(tokens)))
    log_probs[tokens] = of_tagged
    return Note(log_probs, tokens)


def random_decision(seed: int) -> Decision:
    rng = np.random.default_rng(seed)
    strength = [1.0, 0.5, 0.0, float(rng.random())][seed % 4]
    thresholds = {"a": 0.4} if seed % 3 else {}
    return Decision(strength, thresholds, rng.dirichlet(np.ones(K)))


def expected(note: Note, decision: Decision) -> Scored:
    """The entities of the best sequence under the decision, with their share of all sequences."""
    places = np.flatnonzero(note.tokens)
    log_probs = note.log_probs[note.tokens]
    _, path = best_path(log_probs - (1 - decision.prior_strength) * np.log(decision.prior))
    shares = brute_force(log_probs).spans
    found = []
    for start, end, label in sorted(spans_of(path) or ()):
        share = shares[start, end, label]
        if share >= decision.thresholds.get(LABELS[label], 0.0):
            # An entity goes on over whitespace, and does not end with it.
            found.append(((int(places[start]), int(places[end - 1]) + 1, LABELS[label]), share))
    return found


@given(seed=st.sampled_from(range(120)))
def test_entities_and_probabilities_are_those_of_all_legal_sequences(seed: int) -> None:
    note, decision = random_note(seed), random_decision(seed)
    wanted = expected(note, decision)
    found = decode(note.log_probs, note.tokens, LABELS, decision)
    assert found.spans == [span for span, _ in wanted]
    assert found.scores == pytest.approx([share for _, share in wanted], abs=1e-9)


def test_the_examples_have_entities_that_a_decision_adds_and_a_threshold_drops() -> None:
    notes = [(random_note(seed), random_decision(seed)) for seed in range(120)]
    with_prior = [expected(note, decision.at(1.0)) for note, decision in notes]
    without = [expected(note, decision.at(decision.prior_strength)) for note, decision in notes]
    assert with_prior != without
    assert without != [expected(note, decision) for note, decision in notes]


def test_a_threshold_applies_to_calibrated_probabilities_and_keeps_what_reaches_it() -> None:
    log_probs = np.log([[0.3, 0.6, 0.1]])
    (exact,) = decode(log_probs, np.array([True]), ["a"], decision_at(0.0)).scores or []
    for threshold, spans in ((exact / 2, [(0, 1, "a")]), (np.nextafter(exact / 2, 1), [])):
        found = decode(
            *(log_probs, np.array([True]), ["a"], decision_at(threshold)),
            entity_step=lambda probabilities: probabilities / 2,
        )
        assert found.spans == spans
        assert found.scores == [exact / 2] * len(spans)


def decision_at(threshold: float) -> Decision:
    return Decision(1.0, {"a": threshold}, np.ones(3) / 3)


def test_what_has_no_probabilities_has_neither_scores_nor_thresholds() -> None:
    (found,) = decode_all(
        *([np.log([[0.3, 0.6, 0.1]])], [np.array([True])], ["a"], decision_at(0.99)),
        scored=False,
    )
    assert (found.spans, found.scores) == ([(0, 1, "a")], None)


def test_notes_decoded_together_are_decoded_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = random_decision(1)
    notes = [random_note(seed) for seed in range(40)]
    notes.insert(7, Note(np.zeros((0, K)), np.zeros(0, dtype=bool)))
    alone = [decode(note.log_probs, note.tokens, LABELS, decision) for note in notes]
    # Parts of several notes, and longer notes that are a part of their own.
    monkeypatch.setattr(module, "MAX_TOKENS", 8)
    together = decode_all(
        *([note.log_probs for note in notes], [note.tokens for note in notes], LABELS, decision)
    )
    assert [found.spans for found in together] == [found.spans for found in alone]


def test_another_prior_strength_keeps_the_prior_and_drops_the_thresholds() -> None:
    prior = np.array([0.7, 0.2, 0.1])
    decision = Decision(1.0, {"a": 0.9}, prior)
    other = decision.at(0.25)
    assert (other.prior_strength, dict(other.thresholds)) == (0.25, {})
    assert other.prior is prior
    assert (decision.prior_strength, dict(decision.thresholds)) == (1.0, {"a": 0.9})


def test_the_most_probable_comes_first() -> None:
    log_probs = np.log([[0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]])
    decoded = decode(log_probs, np.ones(3, dtype=bool), ["a"], decision_at(0.0))
    spans, scores = decoded.most_probable_first()
    assert spans == [(1, 2, "a"), (2, 3, "a"), (0, 1, "a")]
    assert scores == sorted(decoded.scores or [], reverse=True)


@given(seed=st.integers(0, 10_000))
def test_choices_are_what_each_strength_makes(seed: int) -> None:
    note, decision = random_note(seed), random_decision(seed)
    strengths = [0.0, 0.3, 1.0]
    made = decode_choices(note.log_probs, note.tokens, LABELS, decision, strengths)
    assert list(made) == sorted(made)
    for number, strength in enumerate(strengths):
        spans = decode(note.log_probs, note.tokens, LABELS, decision.at(strength)).spans
        assert spans == [span for span, bits in made.items() if bits >> number & 1]
