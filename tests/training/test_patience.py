"""Patience in epochs, against what spaCy's own training loop makes of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from spacy import util
from spacy.tokens import Doc, DocBin, Span
from spacy.training.batchers import minibatch_by_words
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.vocab import Vocab

from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.schedules import evaluation_interval, patience

from ..conftest import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))
RECIPE = ROOT / "configs" / "tok2vec.cfg"
#: Batches of two documents of seven words, three in an epoch of the corpus.
WORDS_PER_BATCH, STEPS_PER_EPOCH = 14, 3


def count_updates(corpus: Path, *, scores: Sequence[float], **settings: Any) -> tuple[int, int]:
    """Updates that spaCy's loop makes, and steps between its evaluations.

    scores: of the evaluations, the last of them again and again.
    settings: variables of the recipe.
    """
    overrides: dict[str, Any] = {
        "paths.train": str(corpus),
        "paths.dev": str(corpus),
        "variables.words_per_batch": WORDS_PER_BATCH,
        **{f"variables.{name}": value for name, value in settings.items()},
    }
    nlp = init_nlp(util.load_config(RECIPE, overrides=overrides, interpolate=False))
    updates, evaluations = [], []
    update: Callable[..., Any] = nlp.update
    given = chain(scores, repeat(scores[-1]))

    def counted(*args: Any, **kwargs: Any) -> Any:
        updates.append(len(updates))
        return update(*args, **kwargs)

    def evaluated(*args: Any, **kwargs: Any) -> dict[str, float]:
        evaluations.append(updates[-1])
        return {"ents_f": next(given), "ents_macro_f": 0.0}

    nlp.update = counted  # type: ignore[method-assign]
    nlp.evaluate = evaluated  # type: ignore[method-assign,assignment]
    train(nlp, stdout=io.StringIO(), stderr=io.StringIO())
    return len(updates), evaluations[1] - evaluations[0]


def test_a_flat_score_ends_training(corpus_file: Path) -> None:
    updates, _ = count_updates(corpus_file, scores=[0.5], epochs=9, patience=4)
    # The first step is the best, however often its score comes again.
    assert updates == 1 + 4 * STEPS_PER_EPOCH


def test_patience_counts_from_the_best_evaluation_on(corpus_file: Path) -> None:
    scores = [0.1, 0.5, 0.2, 0.5, 0.4]
    updates, interval = count_updates(corpus_file, scores=scores, epochs=12, patience=4)
    assert updates == 1 + interval + 4 * STEPS_PER_EPOCH


def test_a_score_that_rises_in_time_keeps_training_going(corpus_file: Path) -> None:
    rising = [number / 100 for number in range(100)]
    updates, _ = count_updates(corpus_file, scores=rising, epochs=6, patience=1)
    assert updates == 6 * STEPS_PER_EPOCH


def test_zero_is_off(corpus_file: Path) -> None:
    updates, _ = count_updates(corpus_file, scores=[0.5], epochs=6, patience=0)
    assert updates == 6 * STEPS_PER_EPOCH


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_has_it_off_and_as_a_variable(path: Path) -> None:
    config = util.load_config(path, interpolate=False)
    assert config["variables"]["patience"] == 0
    own, intervals = config["training"]["patience"], config["training"]["eval_frequency"]
    assert own["@misc"] == "clinical_ner.patience.v1"
    assert own["patience_epochs"] == "${variables.patience}"
    # They count the same steps.
    same = {"path", "words_per_batch", "batcher"}
    assert {key: own[key] for key in same & own.keys()} == {
        key: intervals[key] for key in same & intervals.keys()
    }


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A corpus whose epochs are of 5 steps or fewer, of up to 500 words, by the order."""
    lengths = [150, 450, 300, 90, 510, 420, 60, 330]
    docs = [Doc(Vocab(), words=["word"] * length) for length in lengths]
    docs[0].set_ents([Span(docs[0], 0, 1, "Sign")])
    DocBin(docs=docs).to_disk(tmp_path / "uneven.spacy")
    return tmp_path / "uneven.spacy"


@pytest.mark.parametrize("epochs", [1, 2, 20])
def test_one_epoch_of_patience_holds_an_evaluation(uneven: Path, epochs: int) -> None:
    steps = patience(path=uneven, patience_epochs=1, words_per_batch=500)
    assert steps >= evaluation_interval(path=uneven, epochs=epochs, words_per_batch=500)


def test_steps_are_those_of_any_other_batcher(uneven: Path) -> None:
    def one_by_one(items: Any) -> Any:
        return minibatch_by_words(items, size=1, tolerance=0.0)

    assert patience(path=uneven, patience_epochs=3, words_per_batch=500, batcher=one_by_one) == 24


def test_off_needs_no_corpus(tmp_path: Path) -> None:
    assert patience(path=tmp_path / "none.spacy", patience_epochs=0, words_per_batch=500) == 0


@pytest.mark.parametrize(
    "settings, message, part",
    [
        ({"patience_epochs": -1}, "must be a number", "patience_epochs"),
        ({"patience_epochs": 1, "words_per_batch": 0}, "must be a number", "words_per_batch"),
        (
            {"patience_epochs": 1, "path": "none.spacy"},
            "Run clinical-ner convert and clinical-ner",
            "none.spacy",
        ),
    ],
)
def test_what_does_not_fit(uneven: Path, settings: dict[str, Any], message: str, part: str) -> None:
    given: dict[str, Any] = {"path": uneven, "words_per_batch": 500, **settings}
    with pytest.raises(ClinicalNerError, match=part) as caught:
        patience(**given)
    assert message in str(caught.value)
