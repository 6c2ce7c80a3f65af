from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.data.split.stratify import PARTS, part_sizes, split_documents, split_shares
from clinical_ner.errors import ClinicalNerError


def random_presence(seed: int, documents: int, labels: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((documents, labels)) < rng.beta(0.5, 1.0, labels)


def split(presence: np.ndarray, dev: float, test: float, seed: int = 0) -> dict[str, list[int]]:
    return split_documents(presence, dev=dev, test=test, seed=seed, source="all.spacy")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 100), documents=st.integers(3, 160), labels=st.sampled_from([0, 1, 2, 30])
)
def test_parts_have_exact_sizes_and_share_no_document(
    seed: int, documents: int, labels: int
) -> None:
    parts = split(random_presence(seed, documents, labels), 0.1, 0.2, seed)
    assert sorted(row for part in PARTS for row in parts[part]) == list(range(documents))
    assert all(rows == sorted(rows) for rows in parts.values())
    sizes = part_sizes(documents, dev=0.1, test=0.2, source="all.spacy")
    assert {part: len(rows) for part, rows in parts.items()} == sizes


@pytest.mark.parametrize(
    ("documents", "dev", "test", "expected"),
    [
        (160, 0.1, 0.2, (112, 16, 32)),
        (10, 0.25, 0.25, (4, 3, 3)),  # halves are rounded up
        (50, 0.29, 0.0, (35, 15, 0)),  # 0.29 * 50 is 14.499999999999998 in binary
        (5, 0.01, 0.01, (3, 1, 1)),  # a share above 0 gets a document
        (1, 0.0, 0.0, (1, 0, 0)),
    ],
)
def test_sizes_are_rounded_shares(
    documents: int, dev: float, test: float, expected: tuple[int, int, int]
) -> None:
    sizes = part_sizes(documents, dev=dev, test=test, source="all.spacy")
    assert (sizes["train"], sizes["dev"], sizes["test"]) == expected


def test_every_label_is_shared_out_better_than_by_chance() -> None:
    presence = random_presence(0, 160, 40)
    rng = np.random.default_rng(0)

    def deviation(test: list[int]) -> float:
        return float(np.abs(presence[test].sum(axis=0) - 0.2 * presence.sum(axis=0)).mean())

    by_chance = [deviation(rng.permutation(160)[:32].tolist()) for _ in range(200)]
    assert deviation(split(presence, 0.1, 0.2)["test"]) < min(by_chance)


def test_a_label_of_ten_documents_goes_eight_one_one() -> None:
    presence = np.zeros((100, 2), dtype=bool)
    presence[5:15, 0] = True
    presence[:, 1] = np.arange(100) % 2 == 0
    parts = split(presence, 0.1, 0.1)
    assert [int(presence[parts[part], 0].sum()) for part in PARTS] == [8, 1, 1]


def test_the_seed_decides_the_parts() -> None:
    presence = random_presence(1, 60, 10)
    assert split(presence, 0.1, 0.2, seed=4) == split(presence, 0.1, 0.2, seed=4)
    assert split(presence, 0.1, 0.2, seed=4) != split(presence, 0.1, 0.2, seed=5)


@pytest.mark.parametrize(
    ("dev", "test"),
    [(1.0, 0.0), (0.0, 1.0), (-0.1, 0.2), (0.2, -0.1), (0.5, 0.5), (0.7, 0.3), (float("nan"), 0.1)],
)
def test_shares_out_of_range_are_an_error(dev: float, test: float) -> None:
    with pytest.raises(ClinicalNerError, match="the rest is the share of train"):
        split_shares(dev=dev, test=test)


def test_train_gets_the_rest() -> None:
    assert split_shares(dev=0.1, test=0.2) == {"train": 0.7, "dev": 0.1, "test": 0.2}


@pytest.mark.parametrize(
    ("documents", "dev", "test"), [(2, 0.1, 0.1), (1, 0.0, 0.5), (0, 0.0, 0.0)]
)
def test_fewer_documents_than_parts_are_an_error(documents: int, dev: float, test: float) -> None:
    with pytest.raises(
        ClinicalNerError, match=r"all\.spacy.*Give more documents, or set --dev or --test"
    ):
        split(np.ones((documents, 2), dtype=bool), dev, test)


def test_an_empty_train_is_an_error() -> None:
    with pytest.raises(ClinicalNerError, match=r"all\.spacy.*for test leave none for train"):
        split(np.ones((4, 2), dtype=bool), 0.45, 0.45)


def test_a_missing_package_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "iterstrat", None)
    with pytest.raises(ClinicalNerError, match=r"pip install 'clinical-ner\[train\]'"):
        split(np.ones((10, 2), dtype=bool), 0.1, 0.2)
