from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.data.split.split_report import TOO_FEW_GROUPS, UNMET, Corpus
from clinical_ner.data.split.stratify import fold_documents, split_documents
from clinical_ner.data.split.units import Units, group_documents
from clinical_ner.errors import ClinicalNerError

from .test_stratify import random_presence


def folds_of(
    presence: np.ndarray, folds: int, seed: int = 0, groups: np.ndarray | None = None
) -> list[dict[str, list[int]]]:
    return fold_documents(
        presence, folds=folds, dev=0.1, seed=seed, source="all.spacy", groups=groups
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 100), documents=st.integers(30, 60), folds=st.integers(2, 10))
def test_tests_share_the_documents_out(seed: int, documents: int, folds: int) -> None:
    divided = folds_of(random_presence(seed, documents, 12), folds, seed)
    assert len(divided) == folds
    assert sorted(row for parts in divided for row in parts["test"]) == list(range(documents))
    sizes = [len(parts["test"]) for parts in divided]
    assert max(sizes) - min(sizes) <= 1
    for parts in divided:
        assert sorted(sum(parts.values(), [])) == list(range(documents))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 100))
def test_every_test_has_every_label_of_many_documents(seed: int) -> None:
    rng = np.random.default_rng(seed)
    presence = np.zeros((60, 20), dtype=bool)
    for label in range(20):
        presence[rng.choice(60, 8 + label % 3, replace=False), label] = True
    for parts in folds_of(presence, 5, seed):
        assert presence[parts["test"]].any(axis=0).all()


def test_dev_is_drawn_from_what_is_not_in_test() -> None:
    presence = random_presence(3, 40, 8)
    for parts in folds_of(presence, 4, seed=2):
        rest = sorted(parts["train"] + parts["dev"])
        inner = split_documents(presence[rest], dev=0.1, test=0, seed=2, source="all.spacy")
        assert parts["dev"] == [rest[row] for row in inner["dev"]]
        assert len(parts["dev"]) == 3


def test_the_seed_decides_the_folds() -> None:
    presence = random_presence(1, 60, 10)
    assert folds_of(presence, 5, seed=4) == folds_of(presence, 5, seed=4)
    assert folds_of(presence, 5, seed=4) != folds_of(presence, 5, seed=5)


def test_a_fold_too_small_to_have_a_dev_is_named() -> None:
    with pytest.raises(
        ClinicalNerError,
        match="all.spacy, fold 1: 1 documents.*Give more documents, or set --dev or --test",
    ):
        folds_of(np.ones((2, 2), dtype=bool), 2)


def test_groups_of_one_document_are_as_no_groups() -> None:
    presence = random_presence(0, 30, 8)
    alone = np.arange(30)
    shares = {"dev": 0.1, "test": 0.2, "seed": 1, "source": "all.spacy"}
    assert split_documents(presence, **shares, groups=alone) == split_documents(presence, **shares)
    assert folds_of(presence, 4, groups=alone) == folds_of(presence, 4)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 100))
def test_groups_are_not_divided_and_sizes_are_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    presence = random_presence(seed, len(groups), 10)
    parts = split_documents(
        presence, dev=0.1, test=0.2, seed=seed, source="all.spacy", groups=groups
    )
    of_parts = [set(groups[rows].tolist()) for rows in parts.values()]
    assert sum(map(len, of_parts)) == 30 == len(set.union(*of_parts))
    assert abs(len(parts["dev"]) - 0.1 * len(groups)) < 1
    assert abs(len(parts["test"]) - 0.2 * len(groups)) < 1
    tests = [parts["test"] for parts in folds_of(presence, 5, seed, groups)]
    of_tests = [set(groups[rows].tolist()) for rows in tests]
    assert sum(map(len, of_tests)) == 30 == len(set.union(*of_tests))
    assert max(map(len, tests)) - min(map(len, tests)) <= 1


def test_one_large_group_leaves_no_part_empty() -> None:
    groups = np.array([0] * 20 + [1, 2])
    presence = np.ones((22, 1), dtype=bool)
    parts = split_documents(presence, dev=0.4, test=0.4, seed=0, source="all.spacy", groups=groups)
    assert sorted(map(len, parts.values())) == [1, 1, 20]


def test_units_count_documents_by_group() -> None:
    presence = np.array([[1, 0], [1, 1], [0, 0], [1, 0]], dtype=bool)
    units = Units.of(presence, np.array([4, 7, 4, 4]))
    assert units.documents.tolist() == [3, 1]
    assert units.holding.tolist() == [[2, 0], [1, 1]]
    assert units.rows(np.array([True, False])) == [0, 2, 3]
    assert not units.are_documents


def test_gaps_tell_what_could_be_covered_from_what_could_not() -> None:
    entities = [Counter("AB"), Counter("ABC"), Counter("A"), Counter("AC")]
    corpus = Corpus([], list("abcd"), list("ABC"), entities)
    assert corpus.gaps({"train": [0, 1], "dev": [], "test": [2, 3]}) == [
        {"label": "B", "documents": 2, "missing": ["test"], "reason": UNMET}
    ]
    # Both documents of C are of one group.
    grouped = replace(corpus, groups=np.array([0, 1, 2, 1]))
    assert grouped.gaps({"train": [0], "test": [1, 2, 3]}) == [
        {"label": "C", "groups": 1, "missing": ["train"], "reason": TOO_FEW_GROUPS}
    ]


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"^(p\d)_", [0, 1, 0, 2]),
        (r"^p\d", [0, 1, 0, 2]),
        (r"_([ab])", [0, 0, 1, 0]),
        (r"_([ab])(\d)", [0, 0, 1, 0]),
    ],
)
def test_the_first_capture_group_or_the_match_names_the_group(
    regex: str, expected: list[int]
) -> None:
    ids = ["p1_a1", "p2_a2", "p1_b1", "p3_a1"]
    assert group_documents(ids, re.compile(regex), source="x").tolist() == expected


@pytest.mark.parametrize("regex", [r"^q", r"^p1(_b)?", r"x*"])
def test_an_id_that_names_no_group_is_an_error(regex: str) -> None:
    with pytest.raises(
        ClinicalNerError,
        match=r"all\.spacy.* 2 documents.*'p1_a'.*Give one that names the group of every",
    ):
        group_documents(["p1_b", "p1_a", "p2_a"][1:], re.compile(regex), source="all.spacy")
