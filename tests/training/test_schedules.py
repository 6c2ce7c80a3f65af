"""Rates and intervals against closed forms, and against the batches that are really made."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus, Example
from spacy.training.batchers import configure_minibatch_by_words
from spacy.training.loop import create_train_batches
from spacy.vocab import Vocab

from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.schedules import (
    evaluation_interval,
    planned_steps,
    warmup_linear_epochs,
)

WORDS_PER_BATCH = 500
SMALL, LARGE = 3_000, 70_000

# Lengths of documents, in words, by the name of the corpus.
CORPORA = {
    "small": [150, 450, 300, 90, 510, 420, 60, 330, 480, 210],
    "large": [100 + 800 * i // 139 for i in range(140)],
    "longer than a batch": [1500, 40, 700, 2000, 30, 20, 601, 900, 10, 650],
    "one batch": [40, 50, 60],
}


def write_corpus(path: Path, lengths: list[int]) -> Path:
    vocab = Vocab()
    docs = [Doc(vocab, words=["word"] * length) for length in lengths]
    DocBin(docs=docs).to_disk(path)
    return path


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return cache(
        lambda name: write_corpus(folder / f"{name.replace(' ', '_')}.spacy", CORPORA[name])
    )


@cache
def read_examples(path: Path) -> list[Example]:
    return list(Corpus(path)(spacy.blank("en")))


def real_epochs(path: Path, epochs: int, seed: int) -> list[int]:
    """Steps of each epoch of spaCy's own loop."""
    random.seed(seed)
    batcher = configure_minibatch_by_words(
        size=WORDS_PER_BATCH, tolerance=0.2, discard_oversize=False
    )
    steps = [0] * epochs
    for epoch, _ in create_train_batches(None, lambda _: read_examples(path), batcher, epochs):
        steps[epoch] += 1
    return steps


def rates(path: Path, *, epochs: int, warmup: float, initial_rate: float, n: int) -> list[float]:
    schedule = warmup_linear_epochs(
        path=path,
        epochs=epochs,
        warmup=warmup,
        words_per_batch=WORDS_PER_BATCH,
        initial_rate=initial_rate,
    )
    return list(islice(schedule, n))


def plan(path: Path, epochs: int) -> int:
    return planned_steps(path, epochs=epochs, words_per_batch=WORDS_PER_BATCH, tolerance=0.2)


def test_the_corpora_have_the_sizes_that_they_stand_for() -> None:
    assert sum(CORPORA["small"]) == SMALL
    assert sum(CORPORA["large"]) == pytest.approx(LARGE, rel=0.01)


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize("epochs", [1, 6, 20])
def test_the_plan_is_close_to_the_batches_that_spacy_makes(
    corpora: Callable[[str], Path], name: str, epochs: int
) -> None:
    path = corpora(name)
    runs = [sum(real_epochs(path, epochs, seed)) for seed in range(20 // epochs)]
    assert plan(path, epochs) == pytest.approx(sum(runs) / len(runs), rel=0.05)


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("epochs", [2, 6, 20])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_rates_follow_the_closed_form(
    corpora: Callable[[str], Path], name: str, epochs: int, warmup: float
) -> None:
    path = corpora(name)
    total = plan(path, epochs)
    peak = round(warmup * total)
    found = rates(path, epochs=epochs, warmup=warmup, initial_rate=0.01, n=total + 50)
    # Two straight lines: up to the highest rate at step `peak`, down to 0 at step `total`, both
    # counted from 1; the highest rate stands on both.
    for step in range(1, total + 1):
        rising = 0.01 * step / peak if peak else 0.01
        falling = 0.01 * (total - step) / (total - peak - 1)
        assert found[step - 1] == pytest.approx(rising if step <= peak else falling)
    assert max(found) == 0.01
    assert found[total - 2] > 0
    assert found[total - 1 :] == [0.0] * 51


def test_a_rise_over_almost_all_steps_still_ends_with_zero(
    corpora: Callable[[str], Path],
) -> None:
    path = corpora("small")
    total = plan(path, 1)
    found = rates(path, epochs=1, warmup=0.999, initial_rate=1.0, n=total + 1)
    assert found[total - 2 :] == [1.0, 0.0, 0.0]


def test_a_training_of_one_step_learns(corpora: Callable[[str], Path]) -> None:
    path = corpora("one batch")
    assert plan(path, 1) == 1
    assert rates(path, epochs=1, warmup=0.1, initial_rate=0.5, n=3) == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize("epochs", [1, 6, 20])
def test_every_epoch_and_the_last_tenth_are_evaluated(
    corpora: Callable[[str], Path], name: str, epochs: int
) -> None:
    path = corpora(name)
    interval = evaluation_interval(path=path, epochs=epochs, words_per_batch=WORDS_PER_BATCH)
    for seed in range(3 if name == "large" else 20):
        per_epoch = real_epochs(path, epochs, seed)
        total = sum(per_epoch)
        evaluated = [step for step in range(total) if step % interval == 0]
        start = 0
        for steps in per_epoch:
            assert any(start <= step < start + steps for step in evaluated)
            start += steps
        assert evaluated[-1] + 1 > 0.9 * total


@pytest.mark.parametrize("epochs", [1, 6, 20])
def test_evaluation_does_not_take_over_the_training(
    corpora: Callable[[str], Path], epochs: int
) -> None:
    path = corpora("large")
    interval = evaluation_interval(path=path, epochs=epochs, words_per_batch=WORDS_PER_BATCH)
    assert plan(path, epochs) / interval < max(12, epochs) * 1.25


def test_a_document_longer_than_a_batch_is_a_step_of_its_own(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "long.spacy", [5000, 5000, 5000])
    assert plan(path, 2) == 6


def test_empty_documents_count_for_nothing(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "empty.spacy", [0, 400, 0, 400])
    assert plan(path, 1) == 2


def test_a_folder_is_read_like_its_files(tmp_path: Path) -> None:
    write_corpus(tmp_path / "a.spacy", [400])
    write_corpus(tmp_path / "b.spacy", [400, 400])
    assert plan(tmp_path, 1) == 3


def test_the_plan_is_the_same_on_every_call(corpora: Callable[[str], Path]) -> None:
    path = corpora("small")
    first = plan(path, 20)
    random.seed(7)
    assert plan(path, 20) == first


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"warmup": 1.0}, "warmup must be a number"),
        ({"warmup": -0.1}, "warmup must be a number"),
        ({"warmup": float("nan")}, "warmup must be a number"),
        ({"initial_rate": 0.0}, "initial_rate must be a number"),
        ({"initial_rate": float("inf")}, "initial_rate must be a number"),
        ({"initial_rate": float("nan")}, "initial_rate must be a number"),
        ({"epochs": 0}, "epochs must be a number"),
        ({"words_per_batch": 0}, "words_per_batch must be a number"),
        ({"tolerance": -0.1}, "tolerance must be a number"),
        ({"tolerance": float("nan")}, "tolerance must be a number"),
    ],
)
def test_numbers_out_of_range_are_errors_that_name_them(
    corpora: Callable[[str], Path], settings: dict[str, float], code: str
) -> None:
    valid = {"epochs": 1, "warmup": 0.1, "words_per_batch": 500, "initial_rate": 0.001}
    with pytest.raises(ClinicalNerError, match=code):
        warmup_linear_epochs(path=corpora("small"), **{**valid, **settings})
    if settings.keys() <= {"epochs", "words_per_batch", "tolerance"}:
        with pytest.raises(ClinicalNerError, match=code):
            evaluation_interval(
                path=corpora("small"), **{"epochs": 1, "words_per_batch": 500, **settings}
            )


def test_a_missing_corpus_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(
        ClinicalNerError, match=r"absent\.spacy.*Run clinical-ner convert and clinical-ner"
    ):
        plan(tmp_path / "absent.spacy", 1)


def test_what_is_no_docbin_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "notes.spacy"
    path.write_bytes(b"fever and cough")
    with pytest.raises(
        ClinicalNerError, match=r"notes\.spacy.*Write it again with clinical-ner convert"
    ) as caught:
        plan(path, 1)
    assert "fever" not in str(caught.value)


def test_a_corpus_without_tokens_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "hollow.spacy", [0, 0])
    with pytest.raises(
        ClinicalNerError, match=r"hollow\.spacy.*holds no document with tokens, so there is"
    ):
        plan(path, 1)
