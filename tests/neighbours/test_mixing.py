from __future__ import annotations

import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.neighbours.datastore import Datastore
from clinical_ner.neighbours.mixing import Neighbours

N_TAGS = 5


def random_neighbours(seed: int = 0, **settings: Any) -> Neighbours:
    """Votes of O other than 1, and a tag, 4, that no vector has."""
    rng = np.random.default_rng(seed)
    tags = np.concatenate([np.zeros(90, int), rng.integers(1, 4, 30)])
    vectors = rng.normal(size=(120, 6))
    datastore = Datastore.build(vectors, tags, n_tags=N_TAGS, seed=seed)
    assert datastore.outside_votes == 3
    return Neighbours(datastore, **{"k": 7, "mixing": 0.3, "temperature": 2.0, **settings})


def random_log_probs(rng: np.random.Generator, n: int) -> np.ndarray:
    probabilities = rng.dirichlet(np.full(N_TAGS, 0.3), size=n)
    return np.log(probabilities)


def reference(neighbours: Neighbours, query: np.ndarray) -> list[float]:
    """p_knn by the definition, one vector after the other."""
    datastore = neighbours.datastore
    measured = []
    for vector, tag in zip(datastore.vectors, datastore.tags, strict=True):
        distance = math.dist(query.tolist(), vector.tolist())
        measured.append((distance, int(tag)))
    scores = [0.0] * N_TAGS
    for distance, tag in sorted(measured)[: neighbours.k]:
        votes = datastore.outside_votes if tag == 0 else 1.0
        scores[tag] += votes * math.exp(-(distance**2) / neighbours.temperature)
    return [score / sum(scores) for score in scores]


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_the_probability_is_the_definition(k: int, temperature: float) -> None:
    neighbours = random_neighbours(k=k, temperature=temperature)
    queries = np.random.default_rng(3).normal(size=(9, 6)).astype("float32")
    found = np.exp(neighbours.log_probs(queries))
    expected = [reference(neighbours, query) for query in queries]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("mixing", [0.0, 0.3, 1.0])
def test_the_mixture_is_the_definition(mixing: float) -> None:
    rng = np.random.default_rng(4)
    neighbours = random_neighbours(mixing=mixing)
    queries, log_probs = rng.normal(size=(9, 6)), random_log_probs(rng, 9)
    mixed = neighbours.mix(log_probs, queries)
    for row, query, own in zip(np.exp(mixed), queries, np.exp(log_probs), strict=True):
        expected = [
            mixing * p_knn + (1 - mixing) * p
            for p_knn, p in zip(reference(neighbours, query), own, strict=True)
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(np.exp(mixed).sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e9])
def test_equal_vectors_give_the_prior_of_the_corpus(temperature: float) -> None:
    counts = [700, 20, 5, 35, 0]
    tags = np.repeat(np.arange(N_TAGS), counts)
    datastore = Datastore.build(np.full((len(tags), 3), 0.5), tags, n_tags=N_TAGS)
    assert (datastore.tags == 0).sum() == 60
    neighbours = Neighbours(datastore, k=len(datastore), mixing=0.5, temperature=temperature)
    found = np.exp(neighbours.log_probs(np.array([[0.5, 0.5, 0.5], [4.0, 0.0, -1.0]])))
    np.testing.assert_allclose(found, [np.array(counts) / sum(counts)] * 2, atol=1e-6)


def test_random_vectors_give_the_prior_on_average() -> None:
    # Without signal, a mean over queries is the prior but for the chance in which O are kept.
    rng = np.random.default_rng(0)
    tags = rng.choice(N_TAGS, p=[0.9, 0.05, 0.03, 0.02, 0.0], size=6000)
    datastore = Datastore.build(rng.normal(size=(6000, 2)), tags, n_tags=N_TAGS)
    neighbours = Neighbours(datastore, k=64, mixing=0.5, temperature=1e6)
    found = np.exp(neighbours.log_probs(rng.normal(size=(2000, 2)))).mean(axis=0)
    prior = np.bincount(tags, minlength=N_TAGS) / len(tags)
    # Votes of O that are 9 times those of others make a ratio of sums that is biased by 1/k.
    np.testing.assert_allclose(found, prior, atol=0.01)


def test_a_tag_that_neither_knows_stays_impossible() -> None:
    neighbours = random_neighbours()
    log_probs = np.log([[0.5, 0.5, 1.0, 1.0, 1.0]]) - np.log(4)
    log_probs[:, 4] = -np.inf
    assert np.isneginf(neighbours.mix(log_probs, np.zeros((1, 6)))[0, 4])


def test_a_tag_that_only_one_of_them_knows_is_possible() -> None:
    neighbours = random_neighbours(k=60)
    log_probs = np.log([[0.25, 0.25, 0.25, 0.25, 1.0]])
    log_probs[:, [0, 4]] = -np.inf, np.log(0.25)
    mixed = np.exp(neighbours.mix(log_probs, np.zeros((1, 6))))
    assert mixed[0, 0] > 0
    assert mixed[0, 4] == pytest.approx(0.7 * 0.25)


@pytest.mark.parametrize(("far", "temperature"), [(300.0, 1e-3), (300.0, 1e9), (6e4, 1e-6)])
def test_far_vectors_and_extreme_temperatures_stay_finite(far: float, temperature: float) -> None:
    neighbours = random_neighbours(temperature=temperature)
    log_probs = np.log(np.full((1, N_TAGS), 1 / N_TAGS))
    mixed = np.exp(neighbours.mix(log_probs, np.full((1, 6), far)))
    np.testing.assert_allclose(mixed.sum(), 1.0, rtol=1e-9)


def test_the_dtype_of_the_model_is_kept_and_no_token_is_no_matter() -> None:
    neighbours = random_neighbours()
    mixed = neighbours.mix(np.zeros((0, N_TAGS), dtype="float32"), np.zeros((0, 6)))
    assert mixed.shape == (0, N_TAGS)
    assert mixed.dtype == np.float32


@pytest.mark.parametrize(
    "settings",
    [
        {"k": 0},
        {"k": 2.5},
        {"mixing": -0.1},
        {"mixing": 1.1},
        {"mixing": float("nan")},
        {"temperature": 0.0},
        {"temperature": float("inf")},
    ],
)
def test_a_setting_outside_its_range_is_an_error(settings: dict[str, Any]) -> None:
    with pytest.raises(
        ClinicalNerError, match=f"{next(iter(settings))} must be an? (number|integer)"
    ):
        random_neighbours(**settings)


def test_k_larger_than_the_datastore_is_an_error() -> None:
    with pytest.raises(ClinicalNerError, match="61.*neighbours were asked for, but the.*60"):
        random_neighbours(k=61)


# Stored


def test_bytes_and_file_hold_everything(tmp_path: Path) -> None:
    neighbours = random_neighbours()
    neighbours.save(tmp_path / "neighbours")
    queries = np.random.default_rng(5).normal(size=(4, 6))
    for loaded in (
        Neighbours.from_bytes(neighbours.to_bytes()),
        Neighbours.load(tmp_path / "neighbours"),
    ):
        assert replace(loaded, datastore=neighbours.datastore) == neighbours
        np.testing.assert_array_equal(loaded.log_probs(queries), neighbours.log_probs(queries))
    assert (tmp_path / "neighbours").read_bytes() == neighbours.to_bytes()


def test_vectors_take_two_bytes_a_number() -> None:
    neighbours = random_neighbours()
    with np.load(BytesIO(neighbours.to_bytes())) as stored:
        assert stored["vectors"].nbytes == 2 * 60 * 6


def test_damaged_bytes_are_an_error() -> None:
    data = random_neighbours().to_bytes()
    other = BytesIO()
    np.savez(other, vectors=np.zeros((2, 2)))
    pickled = BytesIO()
    np.savez(pickled, vectors=np.array([{}, {}], dtype=object))
    broken = data[:100] + b"\xff" * 40 + data[140:]
    for bad in (b"", b"x", data[: len(data) // 2], broken, other.getvalue(), pickled.getvalue()):
        with pytest.raises(ClinicalNerError, match="build it again with clinical-ner neighbours"):
            Neighbours.from_bytes(bad)
