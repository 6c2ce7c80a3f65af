"""What the batchers draw, against counts of what they drew and closed forms."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from spacy.training import Example

from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.batchers import configure_batch_balanced, configure_batch_by_entity

from .examples import (
    LABELS,
    endless,
    entities,
    make_example,
    name_of,
    said,
    small_corpus,
    tags_of,
    types_of,
    words_of,
)

SIZE = 100
CORPUS_WORDS = 544
Configure = Callable[..., Any]
BOTH = pytest.mark.parametrize("configure", [configure_batch_by_entity, configure_batch_balanced])


def epochs(batcher: Any, examples: list[Example]) -> Iterator[list[list[Example]]]:
    while True:
        yield list(batcher(examples))


def names(batches: Iterable[list[Example]]) -> list[list[str]]:
    return [[name_of(example) for example in batch] for batch in batches]


def expected_rates(rates: str) -> dict[str, float]:
    tokens: Counter[str] = Counter()
    for example in small_corpus():
        for tag, number in tags_of(example).items():
            tokens[tag[2:]] += number
    weight = {"uniform": lambda n: 1.0, "sqrt": np.sqrt, "proportional": float}[rates]
    weights = {label: float(weight(tokens[label])) for label in LABELS}
    return {label: weights[label] / sum(weights.values()) for label in LABELS}


# Batches by entity type.


@pytest.mark.parametrize("rates", ["uniform", "sqrt", "proportional"])
def test_types_get_their_share_of_the_words_at_every_time(rates: str) -> None:
    batcher = configure_batch_by_entity(size=SIZE, rates=rates)
    expected = expected_rates(rates)
    words: Counter[str] = Counter()
    for sampling, batch in islice(endless(batcher, small_corpus()), 4000):
        words[str(sampling["type"])] += words_of(batch)
        behind = {label: expected[label] * words.total() - words[label] for label in LABELS}
        # Nobody is more than two batches behind or one ahead.
        assert max(behind.values()) < 2 * 130
        assert min(behind.values()) >= -130
    assert {label: words[label] / words.total() for label in LABELS} == pytest.approx(
        expected, abs=0.002
    )


def test_all_types_have_a_batch_before_any_has_its_second() -> None:
    batcher = configure_batch_by_entity(size=SIZE, rates="uniform")
    batches = islice(endless(batcher, small_corpus()), len(LABELS))
    assert {sampling["type"] for sampling, _ in batches} == set(LABELS)


def test_the_first_type_is_left_to_chance() -> None:
    first = set()
    for seed in range(40):
        batcher = configure_batch_by_entity(size=SIZE, seed=seed)
        sampling, _ = next(endless(batcher, small_corpus()))
        first.add(sampling["type"])
    assert first == set(LABELS)


def test_a_batch_holds_documents_of_its_type_only() -> None:
    batcher = configure_batch_by_entity(size=SIZE)
    for sampling, batch in islice(endless(batcher, small_corpus()), 400):
        assert all(sampling["type"] in types_of(example) for example in batch)


@pytest.mark.parametrize("size", [1, 40, SIZE, 10_000])
def test_documents_of_a_type_are_drawn_equally_often_at_every_time(size: int) -> None:
    examples = small_corpus()
    batcher = configure_batch_by_entity(size=size)
    drawn = {
        label: Counter({name_of(eg): 0 for eg in examples if label in types_of(eg)})
        for label in LABELS
    }
    for sampling, batch in islice(endless(batcher, examples), 600):
        counts = drawn[str(sampling["type"])]
        counts.update(map(name_of, batch))
        assert max(counts.values()) - min(counts.values()) <= 1
    assert all(min(counts.values()) > 5 for counts in drawn.values())


@pytest.mark.parametrize("size", [1, SIZE, 400, 10_000])
def test_epochs_draw_as_many_words_as_the_corpus_has(size: int) -> None:
    examples = small_corpus()
    batcher = configure_batch_by_entity(size=size)
    drawn = 0
    for number, batches in enumerate(islice(epochs(batcher, examples), 50), start=1):
        assert batches
        drawn += sum(map(words_of, batches))
        assert 0 <= drawn - number * CORPUS_WORDS < max(130, min(1.2 * size, CORPUS_WORDS))


def test_rounds_go_on_over_epochs() -> None:
    # 60 documents, of which an epoch with two types draws only half for each.
    examples = [
        make_example(10, entities(("Sign", 1, 1), ("Drug", 1, 1)), name=str(i)) for i in range(60)
    ]
    batcher = configure_batch_by_entity(size=50)
    drawn: dict[str, list[str]] = defaultdict(list)
    for _ in range(2):
        for batch in batcher(examples):
            drawn[str(said(batch)["type"])] += map(name_of, batch)
    assert {label: len(set(found)) for label, found in drawn.items()} == {"Sign": 60, "Drug": 60}


def test_an_epoch_given_up_does_not_shorten_the_next() -> None:
    examples = small_corpus()
    batcher = configure_batch_by_entity(size=SIZE)
    next(batcher(examples))
    assert sum(map(words_of, batcher(examples))) >= CORPUS_WORDS


# Balanced batches.


def test_a_document_is_drawn_at_the_rate_of_its_rarest_type() -> None:
    examples = small_corpus()
    batcher = configure_batch_balanced(size=SIZE, power=0.5)
    drawn: Counter[str] = Counter()
    n_epochs = 4000
    for batches in islice(epochs(batcher, examples), n_epochs):
        drawn.update(name for batch in names(batches) for name in batch)
    # Of 11 documents 6 hold Sign, 4 Drug, 3 Dose and 1 Mass; Sign alone is the least.
    share = {"Sign": 6 / 11, "Drug": 4 / 11, "Dose": 3 / 11, "Mass": 1 / 11}
    rates = {
        name_of(eg): max((share[t] ** -0.5 for t in types_of(eg)), default=share["Sign"] ** -0.5)
        for eg in examples
    }
    words = {name_of(eg): len(eg.predicted) for eg in examples}
    factor = CORPUS_WORDS / sum(rates[name] * words[name] for name in words)
    expected = {name: factor * rates[name] for name in words}
    assert {name: drawn[name] / n_epochs for name in words} == pytest.approx(expected, abs=0.03)
    assert sum(drawn[n] * words[n] for n in words) / n_epochs == pytest.approx(
        CORPUS_WORDS, rel=0.01
    )


@pytest.mark.parametrize("power", [0.3, 1.0])
def test_an_epoch_holds_each_document_as_expected_rounded(power: float) -> None:
    examples = small_corpus()
    batcher = configure_batch_balanced(size=SIZE, power=power)
    seen = defaultdict(set)
    for batches in islice(epochs(batcher, examples), 300):
        drawn = Counter(name for batch in names(batches) for name in batch)
        for example in examples:
            seen[name_of(example)].add(drawn[name_of(example)])
    assert all(max(numbers) - min(numbers) <= 1 for numbers in seen.values())
    # The document with the only Mass comes more than once.
    assert min(seen["5"]) >= 1 and max(seen["5"]) >= 2


def test_power_0_is_the_corpus_as_it_is() -> None:
    examples = small_corpus()
    batcher = configure_batch_balanced(size=SIZE, power=0.0)
    for batches in islice(epochs(batcher, examples), 20):
        assert sorted(name for batch in names(batches) for name in batch) == sorted(
            map(name_of, examples)
        )


# Both.


@BOTH
@pytest.mark.parametrize("size", [1, 30, SIZE, 400])
@pytest.mark.parametrize("tolerance", [0.0, 0.2])
def test_batches_keep_to_their_size(configure: Configure, size: int, tolerance: float) -> None:
    examples = small_corpus()
    batcher = configure(size=size, tolerance=tolerance)
    for _, batch in islice(endless(batcher, examples), 300):
        assert batch
        assert len(set(map(name_of, batch))) == len(batch)
        assert len(batch) == 1 or words_of(batch) <= size * (1 + tolerance)
        # Full without the last document already: it would not have been taken.
        assert words_of(batch[:-1]) < size


@BOTH
def test_batches_are_filled(configure: Configure) -> None:
    examples = [make_example(10, [(0, 1, "Sign")], name=str(i)) for i in range(40)]
    batches = list(configure(size=50)(examples))
    assert [len(batch) for batch in batches] == [5] * 8


@BOTH
def test_a_document_too_long_for_a_batch_opens_the_next(configure: Configure) -> None:
    examples = [make_example(n, [(0, 1, "Sign")]) for n in (60, 70)]
    # 60 + 70 exceeds 120, so every batch is of one document, and both come in each round.
    for batches in islice(epochs(configure(size=SIZE), examples), 10):
        assert sorted(words_of(batch) for batch in batches) == [60, 70]


@BOTH
def test_the_seed_decides_the_batches(configure: Configure) -> None:
    examples = small_corpus()

    def draw(seed: int) -> list[list[str]]:
        batcher = configure(size=SIZE, seed=seed)
        return names(batch for _, batch in islice(endless(batcher, examples), 40))

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


@BOTH
def test_the_global_generators_are_neither_used_nor_moved(configure: Configure) -> None:
    examples = small_corpus()
    drawn = []
    for seed in (0, 1):
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
        batcher = configure(size=SIZE)
        drawn.append(names(batch for _, batch in islice(endless(batcher, examples), 40)))
        after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
        assert after == before
    assert drawn[0] == drawn[1]


@BOTH
def test_an_epoch_goes_on_where_the_last_one_ended(configure: Configure) -> None:
    examples = small_corpus()
    batcher = configure(size=SIZE)
    first, second = (names(batches) for batches in islice(epochs(batcher, examples), 2))
    assert first != second
    assert names(configure(size=SIZE)(examples)) == first


@BOTH
def test_shuffling_the_list_between_epochs_changes_nothing(configure: Configure) -> None:
    examples = small_corpus()
    still, shuffled = configure(size=SIZE), configure(size=SIZE)
    order = list(examples)
    for _ in range(5):
        assert names(shuffled(order)) == names(still(examples))
        random.Random(0).shuffle(order)


@BOTH
def test_other_documents_start_again(configure: Configure) -> None:
    batcher = configure(size=SIZE)
    list(batcher(small_corpus()))
    others = [make_example(50, [(0, 1, "Age")], name="other") for _ in range(4)]
    batches = list(batcher(others))
    assert {name for batch in names(batches) for name in batch} == {"other"}
    assert set(said(batches[0])["shares"]) == {"O", "B-Age", "I-Age"}
    assert sum(map(words_of, batches)) == 200


@BOTH
def test_an_iterator_is_as_good_as_a_list(configure: Configure) -> None:
    examples = small_corpus()
    assert names(configure(size=SIZE)(iter(examples))) == names(configure(size=SIZE)(examples))


@BOTH
def test_documents_without_tokens_are_left_out(configure: Configure) -> None:
    examples = [make_example(0, []), make_example(10, [(0, 1, "Sign")], name="1")]
    assert names(configure(size=SIZE)(examples)) == [["1"]]


@BOTH
@pytest.mark.parametrize("examples", [[], [make_example(10, [])]])
def test_a_corpus_without_entities_is_an_error(
    configure: Configure, examples: list[Example]
) -> None:
    batcher = configure(size=SIZE)
    # Each time: the refused corpus must not pass for a known one.
    for _ in range(2):
        with pytest.raises(
            ClinicalNerError, match=r"clinical_ner\.batch_.*hold no entity with a usable token, so"
        ):
            next(batcher(examples))


def test_a_type_whose_documents_have_nothing_else_is_an_error_that_names_it() -> None:
    examples = [make_example(10, [(0, 1, "Sign")]), make_example(2, [(0, 2, "Mass")])]
    with pytest.raises(ClinicalNerError, match=r"'Mass' are of that type, so its batches would"):
        next(configure_batch_by_entity(size=SIZE)(examples))
    assert list(configure_batch_balanced(size=SIZE)(examples))


def test_another_type_is_enough_to_hold_a_type_against() -> None:
    examples = [make_example(3, [(0, 2, "Mass"), (2, 3, "Sign")]) for _ in range(2)]
    expected = {"Mass": {"B-Mass": 1.0, "I-Mass": 1.0}, "Sign": {"B-Sign": 0.5, "I-Sign": 0.0}}
    for sampling, _ in islice(endless(configure_batch_by_entity(size=3), examples), 4):
        assert sampling["type_odds"] == pytest.approx(expected[str(sampling["type"])])


def test_a_refused_corpus_leaves_a_usable_batcher() -> None:
    good = [make_example(10, [(0, 1, "Sign")], name="good")]
    bad = [make_example(10, [(0, 1, "Sign")]), make_example(2, [(0, 2, "Mass")])]
    batcher = configure_batch_by_entity(size=SIZE)
    for _ in range(2):
        assert names(batcher(good)) == [["good"]]
        with pytest.raises(ClinicalNerError, match="' are of that type, so its batches would"):
            next(batcher(bad))


@pytest.mark.parametrize(
    ("configure", "settings", "message"),
    [
        (configure_batch_by_entity, {"size": 0}, "size must be a number"),
        (configure_batch_by_entity, {"tolerance": -0.1}, "tolerance must be a number"),
        (configure_batch_by_entity, {"tolerance": float("inf")}, "tolerance must be a number"),
        (
            configure_batch_by_entity,
            {"rates": "squared"},
            "rates must be one of uniform, sqrt, proportional, got 'squared'",
        ),
        (configure_batch_balanced, {"size": -5}, "size must be a number"),
        (configure_batch_balanced, {"tolerance": float("nan")}, "tolerance must be a number"),
        (configure_batch_balanced, {"power": 1.5}, "power must be a number"),
        (configure_batch_balanced, {"power": -0.5}, "power must be a number"),
        (configure_batch_balanced, {"power": float("nan")}, "power must be a number"),
    ],
)
def test_settings_out_of_range_are_errors_that_name_them(
    configure: Configure, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClinicalNerError, match=message):
        configure(**{"size": SIZE, **settings})
