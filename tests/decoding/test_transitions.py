"""Decoding and probabilities with weights of neighbouring tags, against all legal sequences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from clinical_ner.decoding.decision import Decision
from clinical_ner.decoding.decode import decode
from clinical_ner.decoding.document_lattice import DocumentLattice
from clinical_ner.decoding.lattice import Lattice, best_sequences
from clinical_ner.tags.scheme import legal_transitions

from .brute_force import KINDS, LABELS, K, best_path, brute_force, sequence_scores, spans_of, text


def random_transitions(seed: int, scale: float = 2.0) -> NDArray[np.float64]:
    scores = np.random.default_rng(seed).normal(scale=scale, size=(K, K))
    return np.where(legal_transitions(K)[:-1], scores, -np.inf)


@pytest.mark.parametrize("kind", KINDS)
def test_best_sequence_total_and_spans_agree_with_brute_force(kind: str) -> None:
    transitions = random_transitions(7)
    texts = [text(kind, seed) for seed in range(12)]
    # Side by side with texts without tokens, and without a possible sequence.
    nothing = [np.zeros((0, K)), np.full((3, K), -np.inf)]
    lattices = Lattice.of_all([*texts, *nothing], transitions)
    assert [lattice.log_total for lattice in lattices[12:]] == [0.0, -np.inf]
    paths = best_sequences([*texts, *nothing], transitions)
    for log_probs, lattice, path in zip(texts, lattices, paths, strict=False):
        expected = brute_force(log_probs, transitions)
        assert lattice.log_total == pytest.approx(expected.log_total, rel=1e-12, abs=1e-9)
        assert np.exp(lattice.log_outside) == pytest.approx(expected.outside, abs=1e-9)
        for span, probability in expected.spans.items():
            assert lattice.probability(*span) == pytest.approx(probability, abs=1e-9)
        sums = [sum(p for (*_, t), p in expected.spans.items() if t == of) for of in range(2)]
        assert lattice.expected_entities() == pytest.approx(sums, abs=1e-9)
        best, _ = best_path(log_probs, transitions)
        found = sequence_scores(log_probs, transitions)[tuple(path.tolist())]
        assert found == pytest.approx(best, rel=1e-12, abs=1e-9)
        for limit in (1e-6, 0.01, 0.3):
            above = {of for of, p in expected.spans.items() if p >= limit}
            near = {of for of, p in expected.spans.items() if abs(p - limit) < 1e-9}
            assert {of[:3] for of in lattice.candidates(limit)} - near == above - near


def test_weights_of_zero_decode_as_none() -> None:
    zero = np.where(legal_transitions(K)[:-1], 0.0, -np.inf)
    for seed, kind in enumerate(KINDS):
        log_probs = text(kind, seed + 5)
        fast, dense = Lattice.of(log_probs), Lattice.of(log_probs, zero)
        assert np.exp(fast.log_outside) == pytest.approx(brute_force(log_probs).outside, abs=1e-9)
        for found, other in zip(fast.candidates(1e-6), dense.candidates(1e-6), strict=True):
            assert found == pytest.approx(other, abs=1e-9)


def test_masses_below_float64_are_kept() -> None:
    # To begin a costs 800 nats, to leave it 800 again; any other way costs 300 a token.
    n = 8
    logits = np.full((n, K), -1e4)
    logits[0, [1, 3]] = -800.0, 0.0
    logits[1:7, 2] = 0.0
    logits[1:7, 4] = -300.0
    logits[7, [3, 4]] = -800.0, 0.0
    transitions = random_transitions(3)
    transitions[2, 2] = 0.5
    lattice = Lattice.of(logits, transitions)
    along = transitions[1, 2] + 5 * 0.5 + transitions[2, 3]
    assert lattice.log_total == pytest.approx(-1600.0 + along, abs=1e-9)
    assert lattice.probability(0, 7, 0) == pytest.approx(1.0, abs=1e-9)
    assert [c[:3] for c in lattice.candidates(0.5)] == [(0, 7, 0), (7, 8, 1)]
    assert best_sequences([logits], transitions)[0].tolist() == [1, 2, 2, 2, 2, 2, 2, 3]


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_decision_has_them_in_its_entities_and_their_probabilities(strength: float) -> None:
    changed = 0
    for seed in range(30):
        log_probs, transitions = text("flat", seed), random_transitions(seed, scale=1.0)
        prior = np.random.default_rng(seed).dirichlet(np.ones(K))
        tokens = np.ones(len(log_probs), dtype=bool)
        decision = Decision(strength, {}, prior, transitions=transitions)
        assert decision.at(0.5).transitions is transitions
        _, path = best_path(log_probs - (1 - strength) * np.log(prior), transitions)
        exact = brute_force(log_probs, transitions).spans
        found = decode(log_probs, tokens, LABELS, decision)
        indices = [(start, end, LABELS.index(label)) for start, end, label in found.spans]
        assert set(indices) == spans_of(path)
        assert found.scores == pytest.approx([exact[of] for of in indices], abs=1e-9)
        lattice = DocumentLattice.of(tokens, log_probs, LABELS, transitions=transitions)
        assert found.scores == [lattice.probability(*span) for span in found.spans]
        changed += (
            found.spans
            != decode(log_probs, tokens, LABELS, replace(decision, transitions=None)).spans
        )
    assert changed > 5


def test_long_texts_side_by_side_agree_with_those_alone() -> None:
    rng = np.random.default_rng(0)
    texts = [np.log(rng.dirichlet(np.full(K, 0.3), size=n)) for n in (400, 1, 37, 400, 2)]
    transitions = random_transitions(1)
    together = Lattice.of_all(texts, transitions)
    for log_probs, lattice, path in zip(
        texts, together, best_sequences(texts, transitions), strict=True
    ):
        alone = Lattice.of(log_probs, transitions)
        assert lattice.log_total == pytest.approx(alone.log_total, rel=1e-12)
        found, other = (np.array(list(of.candidates(0.01))) for of in (lattice, alone))
        np.testing.assert_allclose(found, other, atol=1e-12)
        assert (path == best_sequences([log_probs], transitions)[0]).all()
