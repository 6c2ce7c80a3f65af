from __future__ import annotations

import math

import numpy as np
import pytest

from clinical_ner.scoring.queue import OVERHEAD, expected_gain, queue, span_entropy


def test_entropy_is_that_of_independent_coins() -> None:
    assert span_entropy(np.array([])) == 0.0
    assert span_entropy(np.array([0.0, 1.0])) == pytest.approx(0.0, abs=1e-9)
    assert span_entropy(np.array([0.5, 0.5])) == pytest.approx(2 * math.log(2))
    p = 0.9
    expected = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert span_entropy(np.array([p])) == pytest.approx(expected)


def test_gain_is_per_word_and_both_parts_count_alike() -> None:
    words = np.array([100.0 - OVERHEAD, 200.0 - OVERHEAD])
    zeros = np.zeros(2)
    assert expected_gain(np.array([3.0, 6.0]), zeros, words) == pytest.approx([1.0, 1.0])
    # Of units a thousand times as large.
    assert expected_gain(np.array([3.0, 0.0]), np.array([0.0, 6e3]), words) == pytest.approx([2, 2])
    assert expected_gain(zeros, zeros, words).tolist() == [0.0, 0.0]


def test_a_line_with_one_doubtful_word_is_not_before_a_doubtful_note() -> None:
    gain = expected_gain(np.array([0.69, 40.0]), np.zeros(2), np.array([3.0, 500.0]))
    assert gain[1] > gain[0]


def test_ten_alike_notes_do_not_come_first() -> None:
    rng = np.random.default_rng(0)
    alike = rng.normal(size=8) + 1e-3 * rng.normal(size=(10, 8))
    others = rng.normal(size=(5, 8))
    gain = np.array([2.0] * 10 + [1.0] * 5)
    places = queue(gain, np.vstack([alike, others]))
    assert places[0].note < 10 and places[0].similarity == 0.0
    assert {place.note for place in places[1:6]} == set(range(10, 15))
    assert all(place.similarity > 0.99 for place in places[6:])
    assert sorted(place.note for place in places) == list(range(15))


def test_every_place_is_the_best_by_definition() -> None:
    rng = np.random.default_rng(1)
    gain, vectors = rng.random(12), rng.normal(size=(12, 4))
    vectors[3] = 0.0
    chosen: list[int] = []

    def cosine(a: int, b: int) -> float:
        norms = np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b])
        return max(0.0, float(vectors[a] @ vectors[b] / norms)) if norms else 0.0

    for place in queue(gain, vectors):
        rest = [note for note in range(12) if note not in chosen]
        near = {note: max((cosine(note, of) for of in chosen), default=0.0) for note in rest}
        best = max(rest, key=lambda note: gain[note] * (1 - near[note]))
        assert place.note == best
        assert place.similarity == pytest.approx(near[best])
        assert place.score == pytest.approx(gain[best] * (1 - near[best]))
        chosen.append(best)


def test_equals_stay_in_their_order_and_a_limit_is_a_beginning() -> None:
    gain, vectors = np.ones(4), np.eye(4)
    places = queue(gain, vectors)
    assert [place.note for place in places] == [0, 1, 2, 3]
    assert queue(gain, vectors, limit=2) == places[:2]
    assert queue(gain, vectors, limit=9) == places
    assert [of.note for of in queue(np.zeros(3), np.ones((3, 2)))] == [0, 1, 2]
    assert queue(np.zeros(0), np.zeros((0, 2))) == []
