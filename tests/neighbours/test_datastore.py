from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.neighbours.datastore import Datastore


def random_datastore(
    seed: int = 0, *, outside: int = 60, entities: int = 20, width: int = 8
) -> Datastore:
    rng = np.random.default_rng(seed)
    tags = np.concatenate([np.zeros(outside, int), rng.integers(1, 5, entities)])
    vectors = rng.normal(size=(len(tags), width)).astype("float32")
    return Datastore.build(vectors, tags, n_tags=5, seed=seed)


@pytest.mark.parametrize(("ratio", "kept"), [(0.5, 10), (1.0, 20), (2.0, 40), (9.0, 60)])
def test_entities_are_kept_and_of_o_at_most_the_ratio(ratio: float, kept: int) -> None:
    tags = np.array([0] * 60 + [1] * 15 + [2] * 5)
    # Each vector is the row that it came from.
    vectors = np.arange(80.0)[:, None]
    datastore = Datastore.build(vectors, tags, n_tags=3, outside_ratio=ratio)
    rows = datastore.vectors[:, 0].astype(int)
    assert len(set(rows)) == len(rows) == len(datastore) == 20 + kept
    assert (datastore.tags == tags[rows]).all()
    assert set(range(60, 80)) <= set(rows)
    assert datastore.outside_votes == 60 / kept


def test_one_vector_of_o_stays_at_least() -> None:
    datastore = Datastore.build(
        np.zeros((9, 1)), np.array([0] * 8 + [1]), n_tags=3, outside_ratio=0.1
    )
    assert datastore.tags.tolist().count(0) == 1
    assert datastore.outside_votes == 8


def test_a_corpus_without_o_needs_no_votes() -> None:
    datastore = Datastore.build(np.zeros((2, 1)), np.array([1, 2]), n_tags=3)
    assert datastore.tags.tolist() == [1, 2]
    assert datastore.votes.tolist() == [1.0, 1.0]


def test_the_seed_decides_which_of_o_are_kept() -> None:
    vectors, tags = np.arange(80.0)[:, None], np.array([0] * 60 + [1] * 20)
    first, same, other = (
        Datastore.build(vectors, tags, n_tags=3, seed=seed).vectors.tolist() for seed in (0, 0, 1)
    )
    assert first == same != other


@pytest.mark.parametrize("k", [1, 3, 40])
def test_the_search_is_exact(k: int) -> None:
    datastore = random_datastore()
    queries = np.random.default_rng(1).normal(size=(7, 8)).astype("float32")
    squared, rows = datastore.search(queries, k)
    for query, found, distances in zip(queries, rows, squared, strict=True):
        stored = datastore.vectors.astype(float)
        every = [math.dist(query, vector) ** 2 for vector in stored]
        assert found.tolist() == sorted(range(len(every)), key=every.__getitem__)[:k]
        np.testing.assert_allclose(distances, sorted(every)[:k], rtol=1e-5)


def test_no_query_finds_nothing() -> None:
    squared, rows = random_datastore().search(np.zeros((0, 8), dtype="float32"), 3)
    assert squared.shape == rows.shape == (0, 3)


def test_another_process_gets_no_index_and_finds_the_same() -> None:
    datastore = random_datastore()
    queries = np.ones((2, 8), dtype="float32")
    unused = len(pickle.dumps(datastore))
    _, rows = datastore.search(queries, 5)
    pickled = pickle.dumps(datastore)
    assert len(pickled) == unused
    np.testing.assert_array_equal(pickle.loads(pickled).search(queries, 5)[1], rows)


FORK = """
import multiprocessing
import numpy as np
from clinical_ner.neighbours.datastore import Datastore

vectors = np.random.default_rng(0).normal(size=(3000, 8))
datastore = Datastore(vectors, np.zeros(3000, int), n_tags=3)

def search(_):
    return datastore.search(vectors[:2000], 4)[1].tolist()

expected = search(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(search, [1, 2]).get(timeout=60) == [expected] * 2
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_fork_of_a_process_that_has_searched_can_search() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", FORK], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_k_larger_than_the_datastore_is_an_error() -> None:
    with pytest.raises(ClinicalNerError, match="41 neighbours were asked for.*40 vectors"):
        random_datastore().search(np.zeros((1, 8)), 41)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_outside_its_range_is_an_error(ratio: float) -> None:
    with pytest.raises(ClinicalNerError, match="outside_ratio must be a number"):
        Datastore.build(np.zeros((2, 1)), np.array([0, 1]), n_tags=3, outside_ratio=ratio)


@pytest.mark.parametrize("value", [7e4, -7e4, float("nan"), float("inf")])
def test_a_vector_that_half_precision_cannot_hold_is_an_error(value: float) -> None:
    with pytest.raises(
        ClinicalNerError, match="not finite.*build it again with clinical-ner neighbours"
    ):
        Datastore(np.array([[0.0], [value]]), np.array([0, 1]), n_tags=3)


@pytest.mark.parametrize(
    ("tags", "problem"), [([0], "differ"), ([0, 3], "not below 3"), ([-1, 0], "not below 3")]
)
def test_tags_that_do_not_fit_are_an_error(tags: list[int], problem: str) -> None:
    with pytest.raises(
        ClinicalNerError, match=f"{problem}.*build it again with clinical-ner neighbours"
    ):
        Datastore(np.zeros((2, 1)), np.array(tags), n_tags=3)


def test_an_empty_datastore_is_an_error() -> None:
    with pytest.raises(
        ClinicalNerError, match="no vector.*build it again with clinical-ner neighbours"
    ):
        Datastore(np.zeros((0, 1)), np.zeros(0, int), n_tags=3)


@pytest.mark.parametrize("votes", [0.5, float("nan"), float("inf")])
def test_votes_outside_their_range_are_an_error(votes: float) -> None:
    with pytest.raises(ClinicalNerError, match="outside_votes must be a number"):
        Datastore(np.zeros((1, 1)), np.array([0]), n_tags=3, outside_votes=votes)
