"""Entities that may overlap, against all legal tag sequences of each type one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinical_ner.decoding import decode as module
from clinical_ner.decoding.decision import Decision, flat_choice
from clinical_ner.decoding.decode import decode, decode_all
from clinical_ner.decoding.document_lattice import DocumentLattice
from clinical_ner.types import EntityOffsets

from .brute_force import best_path, brute_force, spans_of

#: Not in the order of the alphabet: spans are sorted by label, candidates by its place here.
LABELS = ["c", "a", "b"]
M = len(LABELS)
SEEDS = range(60)


@dataclass(frozen=True)
class Note:
    """Probabilities of everything else, B and I in the problem of each type. *Shape:* (n, M, 3)."""

    problems: NDArray[np.float64]
    tokens: NDArray[np.bool_]

    @property
    def log_probs(self) -> NDArray[np.float64]:
        """As the component reports them. What they say of O must not matter. *Shape:* (n, K)."""
        n = len(self.tokens)
        with np.errstate(divide="ignore"):
            tags = np.log(self.problems[:, :, 1:]).reshape(n, 2 * M)
        return np.concatenate((np.random.default_rng(n).normal(size=(n, 1)), tags), axis=1)

    def reference(self, label: int) -> NDArray[np.float64]:
        """Log-probabilities of a problem, beside a type that is impossible. *Shape:* (n, 5)."""
        rows = self.problems[self.tokens, label]
        with np.errstate(divide="ignore"):
            return np.log(np.concatenate((rows, np.zeros((len(rows), 2))), axis=1))


def random_note(seed: int) -> Note:
    """A note of one to six tokens that carry a tag, with whitespace among them."""
    rng = np.random.default_rng(seed)
    tokens = rng.permutation([True] * (1 + seed % 6) + [False] * int(rng.integers(4)))
    problems = rng.dirichlet(np.full(3, 0.5), size=(len(tokens), M))
    # What is left of 1 for everything else is at least LEAST_OUTSIDE.
    problems = (problems + 1e-3) / (1 + 3e-3)
    if seed % 5 == 0:
        # A type without a training token.
        problems[:, 1] = [1.0, 0.0, 0.0]
    return Note(problems, tokens)


def random_decision(seed: int) -> Decision:
    rng = np.random.default_rng(seed)
    strength = [1.0, 0.5, 0.0, float(rng.random())][seed % 4]
    thresholds = {"a": 0.3, "c": 0.2} if seed % 3 else {}
    # The shares of tags that may overlap sum to more than 1.
    of_types = rng.dirichlet(np.ones(3), size=M)[:, 1:].ravel()
    return Decision(strength, thresholds, np.append(0.3, of_types), overlaps=True)


def expected(note: Note, decision: Decision) -> dict[EntityOffsets, float]:
    """Entities of the best sequence of each type, with their share of all sequences of the type."""
    places = np.flatnonzero(note.tokens)
    found = {}
    for index, label in enumerate(LABELS):
        log_probs = note.reference(index)
        begin, inside = decision.prior[2 * index + 1 : 2 * index + 3]
        prior = np.array([1 - begin - inside, begin, inside, 1.0, 1.0])
        _, path = best_path(log_probs - (1 - decision.prior_strength) * np.log(prior))
        shares = brute_force(log_probs).spans
        for start, end, _ in spans_of(path) or ():
            share = shares[start, end, 0]
            if share >= decision.thresholds.get(label, 0.0):
                found[int(places[start]), int(places[end - 1]) + 1, label] = share
    return found


@given(seed=st.sampled_from(SEEDS))
def test_entities_and_probabilities_are_those_of_each_type_by_itself(seed: int) -> None:
    note, decision = random_note(seed), random_decision(seed)
    wanted = expected(note, decision)
    found = decode(note.log_probs, note.tokens, LABELS, decision)
    assert found.spans == sorted(wanted)
    assert found.scores == pytest.approx([wanted[span] for span in found.spans], abs=1e-9)


def test_the_examples_have_entities_that_nest_that_cross_and_that_thresholds_drop() -> None:
    notes = [(random_note(seed), random_decision(seed)) for seed in SEEDS]
    of_all = [expected(note, decision.at(decision.prior_strength)) for note, decision in notes]
    pairs = [(x, y) for found in of_all for x in found for y in found if x[2] != y[2]]
    assert any(x[0] < y[0] and y[1] < x[1] for x, y in pairs)
    assert any(x[0] < y[0] < x[1] < y[1] for x, y in pairs)
    assert of_all != [expected(note, decision) for note, decision in notes]
    assert of_all != [expected(note, decision.at(1.0)) for note, decision in notes]


def test_nested_crossing_and_equal_spans_are_found_at_once() -> None:
    tags = np.array([[1, 0, 1], [2, 1, 2], [2, 2, 0], [0, 2, 1], [1, 1, 1]])
    problems = np.where(np.eye(3)[tags] > 0, 0.98, 0.01)
    note = Note(problems, np.ones(5, dtype=bool))
    found = decode(note.log_probs, note.tokens, LABELS, random_decision(0))
    assert found.spans == [
        *((0, 2, "b"), (0, 3, "c"), (1, 4, "a"), (3, 4, "b")),
        *((4, 5, "a"), (4, 5, "b"), (4, 5, "c")),
    ]


@given(seed=st.sampled_from(SEEDS))
def test_probabilities_and_candidates_are_those_of_each_type_by_itself(seed: int) -> None:
    note = random_note(seed)
    places = np.flatnonzero(note.tokens).tolist()
    exact = {
        (places[start], index, places[end - 1] + 1): share
        for index in range(M)
        for (start, end, type_), share in brute_force(note.reference(index)).spans.items()
        if type_ == 0
    }
    lattice = DocumentLattice.of(note.tokens, note.log_probs, LABELS, overlaps=True)
    for start in range(len(note.tokens)):
        for end in range(start + 1, len(note.tokens) + 1):
            for index, label in enumerate(LABELS):
                share = exact.get((start, index, end), 0.0)
                assert lattice.probability(start, end, label) == pytest.approx(share, abs=1e-9)
    assert lattice.probability(places[0], places[0] + 1, "another") == 0.0
    sums = [sum(p for (_, of, _), p in exact.items() if of == index) for index in range(M)]
    assert lattice.expected_entities() == pytest.approx(sums, abs=1e-9)
    found = lattice.candidates(0.05)
    assert [(c.start, LABELS.index(c.label), c.end) for c in found] == sorted(
        span for span, share in exact.items() if share >= 0.05
    )
    for c in found:
        share = exact[c.start, LABELS.index(c.label), c.end]
        assert c.probability == pytest.approx(share, abs=1e-9)


@given(seed=st.sampled_from(SEEDS))
def test_a_type_is_decoded_as_if_its_tags_were_all(seed: int) -> None:
    note, decision = random_note(seed), random_decision(seed)
    together = decode(note.log_probs, note.tokens, LABELS, decision)
    assert together.scores is not None
    for index, label in enumerate(LABELS):
        of_type = decision.prior[2 * index + 1 : 2 * index + 3]
        alone = Decision(
            decision.prior_strength, decision.thresholds, np.append(1 - of_type.sum(), of_type)
        )
        with np.errstate(divide="ignore"):
            log_probs = np.log(note.problems[:, index])
        wanted = decode(log_probs, note.tokens, [label], alone)
        found = [
            (span, score)
            for span, score in zip(together.spans, together.scores, strict=True)
            if span[2] == label
        ]
        assert [span for span, _ in found] == wanted.spans
        assert [score for _, score in found] == pytest.approx(wanted.scores, abs=1e-9)


def test_notes_decoded_together_are_decoded_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = random_decision(1)
    notes = [random_note(seed) for seed in range(40)]
    notes.insert(7, Note(np.zeros((0, M, 3)), np.zeros(0, dtype=bool)))
    notes.insert(9, Note(np.ones((2, M, 3)) / 3, np.zeros(2, dtype=bool)))
    alone = [decode(note.log_probs, note.tokens, LABELS, decision) for note in notes]
    # Parts of several notes, and longer notes that are a part of their own.
    monkeypatch.setattr(module, "MAX_TOKENS", 8)
    together = decode_all(
        *([note.log_probs for note in notes], [note.tokens for note in notes], LABELS, decision)
    )
    assert list(together) == alone


def test_calibrated_probabilities_meet_the_thresholds() -> None:
    note, decision = random_note(4), random_decision(4)
    exact = decode(note.log_probs, note.tokens, LABELS, decision.at(1.0))
    halved = decode(
        *(note.log_probs, note.tokens, LABELS, Decision(1.0, {"c": 0.3}, decision.prior, True)),
        entity_step=lambda probabilities: probabilities / 2,
    )
    wanted = [
        (span, score / 2)
        for span, score in zip(exact.spans, exact.scores or (), strict=True)
        if span[2] != "c" or score / 2 >= 0.3
    ]
    assert 0 < len(wanted) < len(exact.spans)
    assert list(zip(halved.spans, halved.scores or (), strict=True)) == wanted


def test_another_prior_strength_keeps_that_entities_may_overlap() -> None:
    assert random_decision(0).at(0.5).overlaps


def quadratic_choice(spans: list[EntityOffsets], scores: list[float]) -> list[bool]:
    order = sorted(
        range(len(spans)),
        key=lambda i: (-len(range(*spans[i][:2])), -scores[i], spans[i][0], spans[i][2]),
    )
    chosen: list[int] = []
    for i in order:
        tokens = set(range(spans[i][0], spans[i][1]))
        if all(tokens.isdisjoint(range(spans[j][0], spans[j][1])) for j in chosen):
            chosen.append(i)
    return [i in chosen for i in range(len(spans))]


SPANS = st.tuples(st.integers(0, 15), st.integers(1, 6), st.sampled_from("abc"))
#: Few values, so that there are ties.
SCORES = st.sampled_from([0.1, 0.5, 0.9])


@given(st.lists(st.tuples(SPANS, SCORES), max_size=20))
def test_the_flat_choice_is_the_longest_first(scored: list) -> None:
    spans = [(start, start + length, label) for (start, length, label), _ in scored]
    scores = [score for _, score in scored]
    assert flat_choice(spans, scores) == quadratic_choice(spans, scores)


def test_the_flat_choice_between_equals() -> None:
    spans = [(1, 3, "a"), (0, 2, "a"), (4, 5, "a"), (4, 6, "b"), (4, 6, "a"), (6, 7, "b")]
    assert flat_choice(spans, [0.5] * 6) == [False, True, False, False, True, True]
    assert flat_choice([(0, 2, "a"), (1, 2, "b")], [0.4, 0.5]) == [True, False]
    assert flat_choice([(0, 2, "a"), (1, 3, "b")], [0.4, 0.5]) == [False, True]
    assert flat_choice([], []) == []
