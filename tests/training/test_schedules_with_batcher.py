"""Schedules that count the batches of any batcher, by hand and from a config."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.schemas import ConfigSchemaTraining
from spacy.tokens import DocBin
from spacy.training import Corpus, Example
from spacy.training.batchers import configure_minibatch, configure_minibatch_by_words
from spacy.training.initialize import init_nlp
from spacy.training.loop import create_train_batches
from spacy.training.loop import train as train_loop
from spacy.util import load_model_from_config, registry
from thinc.api import Config

from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.batchers import configure_batch_balanced, configure_batch_by_entity
from clinical_ner.training.schedules import evaluation_interval, planned_steps, warmup_linear_epochs

from .examples import make_example, small_corpus

ROOT = Path(__file__).parents[2]


def write_lengths(path: Path, lengths: list[int]) -> Path:
    """A corpus of documents of some lengths, without entities."""
    DocBin(docs=[make_example(length, []).reference for length in lengths]).to_disk(path)
    return path


@cache
def read_examples(path: Path) -> list[Example]:
    return list(Corpus(path)(spacy.blank("en")))


BATCHERS: dict[str, Callable[[], Any]] = {
    "by entity": lambda: configure_batch_by_entity(size=100, seed=5),
    "by entity, proportional": lambda: configure_batch_by_entity(size=60, rates="proportional"),
    "balanced": lambda: configure_batch_balanced(size=100, power=1.0),
    "spaCy's by words": lambda: configure_minibatch_by_words(
        size=100, tolerance=0.2, discard_oversize=False
    ),
    "spaCy's by number": lambda: configure_minibatch(size=3),
}


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small corpus of the batchers' tests eight times, as a file."""
    path = tmp_path_factory.mktemp("sampled") / "train.spacy"
    DocBin(docs=[eg.reference for _ in range(8) for eg in small_corpus()]).to_disk(path)
    return path


def steps_of_training(path: Path, batcher: Any, epochs: int) -> int:
    random.seed(0)
    batches = create_train_batches(None, lambda _: read_examples(path), batcher, epochs)
    return sum(1 for _ in batches)


@pytest.mark.parametrize("name", BATCHERS)
@pytest.mark.parametrize("epochs", [1, 6, 20])
def test_the_plan_is_close_to_the_steps_with_any_batcher(
    sampled: Path, name: str, epochs: int
) -> None:
    planned = planned_steps(
        sampled, epochs=epochs, words_per_batch=1, tolerance=0.2, batcher=BATCHERS[name]()
    )
    steps = steps_of_training(sampled, BATCHERS[name](), epochs)
    assert planned == pytest.approx(steps, rel=0.05)


@pytest.mark.parametrize("name", BATCHERS)
@pytest.mark.parametrize("epochs", [4, 20])
def test_every_epoch_and_the_last_tenth_are_evaluated_with_any_batcher(
    sampled: Path, name: str, epochs: int
) -> None:
    interval = evaluation_interval(
        path=sampled, epochs=epochs, words_per_batch=1, batcher=BATCHERS[name]()
    )
    batches = create_train_batches(None, lambda _: read_examples(sampled), BATCHERS[name](), epochs)
    of_step = [epoch for epoch, _ in batches]
    evaluated = range(0, len(of_step), interval)
    assert {of_step[step] for step in evaluated} == set(range(epochs))
    assert evaluated[-1] + 1 > 0.9 * len(of_step)


def test_the_plan_by_words_is_the_same_through_the_batcher(tmp_path: Path) -> None:
    path = write_lengths(tmp_path / "words.spacy", [100 + 800 * i // 139 for i in range(140)])
    by_words = configure_minibatch_by_words(size=500, tolerance=0.2, discard_oversize=False)
    found = planned_steps(path, epochs=6, words_per_batch=1, tolerance=0.2, batcher=by_words)
    assert found == planned_steps(path, epochs=6, words_per_batch=500, tolerance=0.2)


def test_rates_end_with_the_plan_of_the_batcher(sampled: Path) -> None:
    total = planned_steps(
        sampled, epochs=3, words_per_batch=1, tolerance=0.2, batcher=BATCHERS["by entity"]()
    )
    schedule = warmup_linear_epochs(
        path=sampled,
        epochs=3,
        warmup=0.1,
        words_per_batch=1,
        initial_rate=1.0,
        batcher=BATCHERS["by entity"](),
    )
    found = list(islice(schedule, total + 3))
    assert found[total - 2] > 0
    assert found[total - 1 :] == [0.0] * 4


@pytest.mark.parametrize("name", BATCHERS)
def test_counting_moves_no_global_generator(sampled: Path, name: str) -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    evaluation_interval(path=sampled, epochs=2, words_per_batch=1, batcher=BATCHERS[name]())
    assert (random.random(), np.random.random()) == expected


def test_a_corpus_that_the_batcher_refuses_is_an_error(tmp_path: Path) -> None:
    path = write_lengths(tmp_path / "plain.spacy", [40, 50])
    with pytest.raises(ClinicalNerError, match="hold no entity with a usable token, so"):
        evaluation_interval(path=path, epochs=1, words_per_batch=1, batcher=BATCHERS["by entity"]())


@pytest.mark.parametrize("name", ["absent.spacy", "notes.spacy", "hollow.spacy"])
def test_a_corpus_that_cannot_be_read_is_an_error_with_a_batcher_too(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "notes.spacy":
        path.write_bytes(b"fever and cough")
    elif name == "hollow.spacy":
        write_lengths(path, [0, 0])
    with pytest.raises(ClinicalNerError, match=rf"{name}"):
        planned_steps(
            path, epochs=1, words_per_batch=1, tolerance=0.2, batcher=BATCHERS["balanced"]()
        )


def config_with_batcher(path: Path) -> Config:
    """A recipe whose schedules count the batcher of the training by reference."""
    config = Config().from_disk(ROOT / "configs" / "tok2vec.cfg", interpolate=False)
    config["paths"] = {"train": str(path), "dev": str(path)}
    config["variables"]["epochs"] = 2
    config["training"]["batcher"] = {
        "@batchers": "clinical_ner.batch_by_entity.v1",
        "size": 100,
        "rates": "sqrt",
        "seed": "${system.seed}",
    }
    for section in (
        config["training"]["eval_frequency"],
        config["training"]["optimizer"]["learn_rate"],
    ):
        section["batcher"] = "${training.batcher}"
    return Config().from_str(config.to_str(interpolate=False), interpolate=False)


def test_a_config_refers_to_the_batcher_and_keeps_the_reference(
    sampled: Path, tmp_path: Path
) -> None:
    nlp = load_model_from_config(config_with_batcher(sampled), auto_fill=True)
    nlp.to_disk(tmp_path / "model")
    saved = Config().from_disk(tmp_path / "model" / "config.cfg", interpolate=False)
    for config in (nlp.config, saved):
        training = config["training"]
        assert training["eval_frequency"]["batcher"] == "${training.batcher}"
        assert training["optimizer"]["learn_rate"]["batcher"] == "${training.batcher}"
        # What the config left out is filled in where the batcher stands.
        assert training["batcher"]["tolerance"] == 0.2


def test_the_batcher_of_a_config_is_the_one_that_is_counted(sampled: Path) -> None:
    # As an override on the command line, which changes the batcher and whatever refers to it.
    size = 40
    config = Config().from_str(
        config_with_batcher(sampled).to_str(interpolate=False),
        overrides={"training.batcher.size": size, "variables.words_per_batch": 7},
        interpolate=False,
    )
    nlp = load_model_from_config(config, auto_fill=True)
    training = nlp.config.interpolate()["training"]
    resolved = registry.resolve(training, schema=ConfigSchemaTraining)
    by_hand: dict[str, Any] = {
        "path": sampled,
        "epochs": 2,
        "words_per_batch": 7,
        "batcher": configure_batch_by_entity(size=size, rates="sqrt"),
    }
    assert resolved["eval_frequency"] == evaluation_interval(**by_hand)
    by_hand["batcher"] = configure_batch_by_entity(size=size, rates="sqrt")
    total = planned_steps(
        sampled, epochs=2, words_per_batch=7, tolerance=0.2, batcher=by_hand["batcher"]
    )
    by_hand["batcher"] = configure_batch_by_entity(size=size, rates="sqrt")
    # The optimizer has taken the first rate already.
    rates = resolved["optimizer"].schedules["learn_rate"]
    schedule = warmup_linear_epochs(**by_hand, warmup=0.1, initial_rate=0.002)
    assert list(islice(rates, total + 3)) == list(islice(schedule, 1, total + 4))


@pytest.mark.filterwarnings("ignore:.*unknown, or not aligned with the tokenizer")
def test_the_training_loop_makes_the_planned_steps(sampled: Path, corpus_file: Path) -> None:
    config = config_with_batcher(sampled)
    config["paths"]["dev"] = str(corpus_file)
    config["components"]["tok2vec"]["model"]["encode"].update({"width": 32, "depth": 1})
    nlp = init_nlp(config)
    updates = []
    update = nlp.update
    nlp.update = lambda *args, **kwargs: updates.append(1) or update(*args, **kwargs)  # type: ignore[method-assign]
    train_loop(nlp, None, stdout=io.StringIO(), stderr=io.StringIO())
    planned = planned_steps(
        sampled,
        epochs=2,
        words_per_batch=1,
        tolerance=0.2,
        batcher=configure_batch_by_entity(size=100, rates="sqrt"),
    )
    assert len(updates) == pytest.approx(planned, rel=0.05)
    assert nlp.get_pipe("ner").statistics.sampled_shares is not None
