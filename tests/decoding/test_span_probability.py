"""The probability of every span against brute force over all legal sequences."""

from __future__ import annotations

import numpy as np
import pytest

from clinical_ner.decoding.lattice import Lattice, best_sequence, best_sequences, entities_of
from clinical_ner.tags.scheme import OUTSIDE

from .brute_force import KINDS, LABELS, LEGAL, K, brute_force, normalised, text


@pytest.mark.parametrize("kind", KINDS)
def test_every_span_and_the_total_agree_with_brute_force(kind: str) -> None:
    for seed in range(12):
        log_probs = text(kind, seed)
        expected = brute_force(log_probs)
        lattice = Lattice.of(log_probs)
        assert lattice.log_total == pytest.approx(expected.log_total, rel=1e-12, abs=1e-9)
        for span, probability in expected.spans.items():
            assert lattice.probability(*span) == pytest.approx(probability, abs=1e-9), (seed, span)


def test_texts_side_by_side_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(0)
    texts = [text(kind, seed) for seed in range(12) for kind in KINDS]
    texts += [np.zeros((0, K)), np.full((3, K), -np.inf), np.zeros((0, K))]
    texts = [texts[i] for i in rng.permutation(len(texts))]
    lattices = Lattice.of_all(texts)
    paths = best_sequences(texts)
    for log_probs, lattice, path in zip(texts, lattices, paths, strict=True):
        if len(log_probs) == 0 or not np.isfinite(log_probs).any():
            assert lattice.log_total == (0.0 if len(log_probs) == 0 else -np.inf)
            assert len(path) == len(log_probs)
            continue
        expected = brute_force(log_probs)
        assert lattice.log_total == pytest.approx(expected.log_total, rel=1e-12, abs=1e-9)
        for span, probability in expected.spans.items():
            assert lattice.probability(*span) == pytest.approx(probability, abs=1e-9)
        scores = {
            legal: log_probs.astype(np.float64)[np.arange(len(legal)), legal].sum()
            for legal, _ in LEGAL[len(log_probs)]
        }
        assert scores[tuple(path)] == pytest.approx(max(scores.values()), rel=1e-12, abs=1e-9)


def test_no_text_has_no_lattice() -> None:
    assert Lattice.of_all([]) == best_sequences([]) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("min_probability", [1e-6, 0.01, 0.3, 1.0])
def test_candidates_are_all_spans_above_the_limit_and_no_other(
    kind: str, min_probability: float
) -> None:
    for seed in range(12):
        log_probs = text(kind, seed)
        exact = brute_force(log_probs).spans
        found = list(Lattice.of(log_probs).candidates(min_probability))
        # Rounding may put a span that lies on the limit on either side of it.
        near = {span for span, p in exact.items() if abs(p - min_probability) < 1e-9}
        above = {span for span, p in exact.items() if p >= min_probability}
        assert {(s, e, t) for s, e, t, _ in found} - near == above - near
        assert len({(s, e, t) for s, e, t, _ in found}) == len(found)
        for start, end, type_, probability in found:
            assert probability >= min_probability
            assert probability == pytest.approx(exact[start, end, type_], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_expected_entities_are_the_sums_over_all_spans(kind: str) -> None:
    for seed in range(12):
        log_probs = text(kind, seed)
        exact = brute_force(log_probs).spans
        sums = [sum(p for (_, _, t), p in exact.items() if t == of) for of in range(len(LABELS))]
        assert Lattice.of(log_probs).expected_entities() == pytest.approx(sums, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_spans_that_share_a_token_exclude_each_other(kind: str) -> None:
    # Log-probabilities of -1e4 themselves have no more than 12 digits after the point.
    rounding = 1e-11 if kind in ("hard", "extreme") else 1e-12
    for seed in range(12):
        log_probs = text(kind, seed)
        lattice = Lattice.of(log_probs)
        exact = brute_force(log_probs)
        for token in range(len(log_probs)):
            covering = sum(lattice.probability(*s) for s in exact.spans if s[0] <= token < s[1])
            assert covering <= 1 + rounding
            assert covering + exact.outside[token] == pytest.approx(1.0, abs=1e-9)


def test_the_best_sequence_has_spans_that_are_as_likely_as_the_sequence() -> None:
    # A span holds whenever the sequence does, so its probability is at least the sequence's.
    for seed in range(12):
        log_probs = text("peaked", seed)
        lattice = Lattice.of(log_probs)
        path = best_sequence(log_probs)
        log_path = log_probs[np.arange(len(path)), path].sum() - lattice.log_total
        found = entities_of(path, LABELS, np.ones(len(path), dtype=bool))
        for start, end, label in found:
            of_span = lattice.probability(start, end, LABELS.index(label))
            assert of_span >= np.exp(log_path) * (1 - 1e-9)


def test_one_token_in_closed_form() -> None:
    # I cannot stand at the start, so O, B-a and B-b share what is left.
    probabilities = np.array([[0.3, 0.2, 0.4, 0.05, 0.05]])
    lattice = Lattice.of(np.log(probabilities))
    assert lattice.log_total == pytest.approx(np.log(0.55))
    assert lattice.probability(0, 1, 0) == pytest.approx(0.2 / 0.55)
    assert lattice.probability(0, 1, 1) == pytest.approx(0.05 / 0.55)


def test_a_sure_span_is_not_above_one() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, K)).astype(np.float32)
    logits[:, OUTSIDE] += 40.0
    logits[20, 1] += 120.0
    logits[21:30, 2] += 120.0
    probability = Lattice.of(normalised(logits)).probability(20, 30, 0)
    assert 1 - 1e-6 < probability <= 1.0


def test_a_text_without_tokens() -> None:
    lattice = Lattice.of(np.zeros((0, K)))
    assert lattice.log_total == 0.0
    assert list(lattice.candidates(1e-6)) == []


def test_an_entity_that_is_longer_than_float64_has_digits() -> None:
    # Inside, that the entity ends is e^-30 a token less likely: e^-9000 over its length.
    n = 300
    logits = np.zeros((n, K))
    logits[0, 1] = 30.0
    logits[1:, 2] = 30.0
    lattice = Lattice.of(normalised(logits))
    assert lattice.probability(0, n, 0) == pytest.approx(1.0, abs=1e-9)
    assert [c[:3] for c in lattice.candidates(0.5)] == [(0, n, 0)]
    # An O that nothing outweighs, in its middle, breaks the entity there.
    logits[150, 1:] = -np.inf
    broken = Lattice.of(normalised(logits))
    assert broken.probability(0, 150, 0) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("log_begin", [-np.inf, -1e5])
def test_an_inside_that_nothing_begins_leaves_the_rest_in_proportion(log_begin: float) -> None:
    # I-a is the best tag of every token, a thousand nats above all that is possible; over 50 tokens
    # that is half of what a single B-a costs.
    n = 50
    rest = np.log(np.random.default_rng(0).dirichlet(np.full(4, 1.0), size=n))
    logits = np.insert(rest, 2, 1000.0, axis=1)
    logits[:, 1] = log_begin
    found = Lattice.of(normalised(logits))
    expected = Lattice.of(normalised(np.delete(logits, [1, 2], axis=1)))
    for start in range(n - 2):
        for end in (start + 1, start + 3):
            other = expected.probability(start, end, 0)
            assert found.probability(start, end, 1) == pytest.approx(other, abs=1e-9)
            assert found.probability(start, end, 0) == pytest.approx(0.0, abs=1e-9)


def test_where_no_sequence_is_possible_no_span_is() -> None:
    # The first token can only be I, the second only O.
    logits = np.full((3, K), -np.inf)
    logits[0, 2] = logits[1, 0] = logits[2, 1] = 0.0
    lattice = Lattice.of(logits)
    assert lattice.log_total == -np.inf
    assert {lattice.probability(0, 2, 0), lattice.probability(2, 3, 0)} == {0.0}
    assert list(lattice.candidates(1e-9)) == []


def test_an_entity_that_only_pays_in_the_end() -> None:
    # To begin a costs 800 nats, to stay in it is free and to leave it costs 800 again; any other
    # way costs 300 a token for six tokens, so that what is lost on the way outweighs what is kept.
    n = 8
    logits = np.full((n, K), -1e4)
    logits[0, [1, 3]] = -800.0, 0.0
    logits[1:7, 2] = 0.0
    logits[1:7, 4] = -300.0
    logits[7, [3, 4]] = -800.0, 0.0
    lattice = Lattice.of(logits)
    assert lattice.log_total == pytest.approx(-1600.0, abs=1e-9)
    assert lattice.probability(0, 7, 0) == pytest.approx(1.0, abs=1e-9)
    assert [c[:3] for c in lattice.candidates(0.5)] == [(0, 7, 0), (7, 8, 1)]


def test_a_hundred_thousand_tokens() -> None:
    # The same text over and over, kept apart by tokens that are surely O: each copy is by itself.
    part = np.concatenate([text("flat", 5), normalised(np.array([[0.0, *[-np.inf] * (K - 1)]]))])
    copies = 100_002 // len(part)
    exact = brute_force(part[:-1])
    lattice = Lattice.of(np.tile(part, (copies, 1)))
    assert copies * len(part) >= 100_000
    assert lattice.log_total == pytest.approx(copies * exact.log_total, rel=1e-9)
    for copy in (0, 1, copies // 2, copies - 1):
        at = copy * len(part)
        for (start, end, type_), probability in exact.spans.items():
            found = lattice.probability(at + start, at + end, type_)
            assert found == pytest.approx(probability, abs=1e-9)
    each = sum(p >= 0.2 for p in exact.spans.values())
    assert each > 0
    assert len(list(lattice.candidates(0.2))) == copies * each
