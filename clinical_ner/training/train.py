"""spaCy's training loop, with one-line errors and a record of the run."""

from __future__ import annotations

import io
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from configparser import Error as ConfigParserError
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from catalogue import RegistryError
from confection import Config, ConfigValidationError
from spacy import util
from spacy.language import DEFAULT_CONFIG, Language
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.training.initialize import init_nlp
from spacy.training.loop import DIR_MODEL_BEST, DIR_MODEL_LAST
from spacy.training.loop import train as train_loop
from spacy.vocab import Vocab

from ..data.formats.docbin import DOCUMENT_ID, LANGUAGE, read_docbin
from ..data.gold import GOLD_ALL, check_entities, check_lengths
from ..errors import ClinicalNerError, ClinicalNerWarning, ConfigError, InputError, not_a_folder
from ..files import write_text
from ..locks import held
from ..model.gpu import use_gpu
from ..pipeline.saving import check_own
from ..types import Track, untracked
from .recipes import BASE, Recipe, has_overlaps, problems, read_recipe
from .schedules import STEPS_SCHEDULE, document_lengths
from .training_run import RECORD, AtEpoch, TrainingRun

#: Sections of which a config uses what it refers to, and nothing else.
VARIABLES = ("paths", "variables", "system")
#: Setting of a learning rate that is planned in steps.
STEPS = "training.optimizer.learn_rate.total_steps"
#: spaCy's reader of .spacy files.
READER = "spacy.Corpus.v1"
#: Settings of a training without evaluations, none of which is better than the first.
NOT_EVALUATED = {"training.patience": 0}
#: Errors of a config, whatever they say.
OF_CONFIG = (ConfigValidationError, ConfigParserError, RegistryError, UnicodeDecodeError)


def train(
    recipe: str | Path,
    output: str | Path,
    *,
    train_path: str | Path,
    dev_path: str | Path | None,
    base: str | Path = BASE,
    encoder: str = "",
    epochs: int = 0,
    stop_after: float = math.inf,
    seed: int = 0,
    gpu_id: int = -1,
    overrides: dict[str, Any] | None = None,
    track: Track = untracked,
    at_start: Callable[[Language], dict[str, Any]] | None = None,
    at_epoch: AtEpoch | None = None,
    copy: Path | None = None,
) -> dict[str, Any]:
    """Train a pipeline with spaCy's loop.

    Args:
        recipe: Name or path of a complete config or an overlay, see `read_recipe`; with sections
            paths, variables and system.
        output: Folder for model-best, model-last and training.json.
        train_path: Documents to learn from, a .spacy file or a folder of them.
        dev_path: Documents that choose the model, likewise. None: nothing is evaluated, and
            model-last is the only model.
        base: The complete config that an overlay is merged over.
        encoder: Transformer in place of the recipe's, if not empty.
        epochs: Passes over the training data in place of the recipe's, if not 0.
        stop_after: Passes after which training ends although its learning rate is planned for
            more, at the end of a batch.
        seed: Seed of weights, order and dropout.
        gpu_id: GPU, or -1 for the CPU.
        overrides: Other settings, {"section.setting": value}; the arguments above go first.
        track: Shows progress where there is no ``dev_path``, and so no table of evaluations.
        at_start: Called with the initialized pipeline; what it returns is added to the record.
        at_epoch: Called at the end of every epoch with the pipeline and the number of epochs made.
        copy: What is read in place of ``train_path``, which the model and the record name.

    Returns:
        The record of the run, as in training.json: the name of the recipe, the settings that
        replaced its own, the passes over the corpus that were made, and seconds that include the
        evaluations.

    Raises:
        ClinicalNerError: Recipe, corpus, labels, loss, encoder or GPU do not fit; nothing is
            written then. Or the training itself fails: model-best stays, if there was an
            evaluation, and is named.
    """
    output, train_path, evaluates = Path(output), Path(train_path), dev_path is not None
    # A reader of no documents there is not, and what is not evaluated on is not read.
    dev_path = train_path if dev_path is None else Path(dev_path)
    read = read_recipe(recipe, Path(base))
    if output.exists() and not output.is_dir():
        raise not_a_folder(output)
    corpus_words, documents = _check_gold(train_path)
    if evaluates:
        _check_gold(dev_path)
    settings = {
        **(overrides or {}),
        **({} if evaluates else NOT_EVALUATED),
        **training_settings(
            copy or train_path, dev_path, encoder=encoder, epochs=epochs, seed=seed
        ),
    }
    check_apart(output, {**read.config, "settings": settings})
    check_own(output, "train", DIR_MODEL_BEST, DIR_MODEL_LAST)
    use_gpu(gpu_id)
    named = {str(copy): train_path} if copy else {}
    # Before hours of work: whether the folder can be written, and nobody else does.
    with held(output):
        nlp = initialize(read, settings, gpu_id=gpu_id, named=named)
        started = at_start(nlp) if at_start else {}
        progress: Iterable[int] = ()
        if not evaluates:
            passes = min(stop_after, nlp.config.interpolate()["training"]["max_epochs"])
            visits = round(passes * documents)
            progress = track(range(visits), "Training", visits)
        run = TrainingRun(
            *(nlp, corpus_words, train_path),
            stop_after=stop_after,
            evaluates=evaluates,
            progress=progress,
            at_epoch=at_epoch,
        )
        start = time.perf_counter()
        table = sys.stdout if evaluates else io.StringIO()
        with run.within(output):
            train_loop(nlp, output, use_gpu=gpu_id, stdout=table, stderr=sys.stderr)
        seconds = time.perf_counter() - start
        record = {
            "config": read.path.name,
            "overrides": dict(sorted({**settings, "paths.train": str(train_path)}.items())),
            "seed": seed,
            "epochs": round(run.words / corpus_words, 2),
            "corpus_words": corpus_words,
            "seconds": round(seconds, 1),
            "words_per_second": round(run.words / seconds, 1),
            **started,
        }
        write_text(output / RECORD, json.dumps(record, indent=2) + "\n")
        return record


def training_settings(
    train_path: Path, dev_path: Path, *, encoder: str = "", epochs: int = 0, seed: int = 0
) -> dict[str, Any]:
    """The settings of a recipe that the arguments of `train` replace."""
    return {
        "paths.train": str(train_path),
        "paths.dev": str(dev_path),
        "system.seed": seed,
        **({"variables.encoder": encoder} if encoder else {}),
        **({"variables.epochs": epochs} if epochs else {}),
    }


def initialize(
    recipe: Recipe,
    settings: dict[str, Any],
    *,
    gpu_id: int = -1,
    named: Mapping[str, Path] = MappingProxyType({}),
) -> Language:
    """Make and initialize the pipeline of a recipe: all of it that can go wrong before training.

    Args:
        recipe: What is trained.
        settings: What replaces its own, {"section.setting": value}; paths.train and paths.dev are
            among it.
        gpu_id: GPU, or -1 for the CPU.
        named: By path of a copy, the file of which messages about its language tell.

    Raises:
        ClinicalNerError: Config, corpus, its language, labels, loss or encoder do not fit.
    """
    with _config_errors(recipe.path):
        _check_settings(recipe, settings)
        config = util.load_config_from_str(recipe.text, overrides=settings, interpolate=False)
        for path in (settings["paths.train"], settings["paths.dev"]):
            _check_language(
                Path(path), config.get("nlp", {}).get("lang"), named=named.get(path, Path(path))
            )
        _check_frozen_are_sourced(config.interpolate())
        _check_epochs_reach_the_rate(config, settings)
        _check_readers(config.interpolate())
        nlp = init_nlp(config, use_gpu=gpu_id)
        _check_frozen_annotate(nlp)
        _check_scores(nlp)
        for file in map(Path, walk_corpus(settings["paths.dev"], FILE_TYPE)):
            check_lengths(file, read_docbin(file, Vocab()), nlp)
        return nlp


def _check_gold(path: Path) -> tuple[int, int]:
    """Tokens and documents; raises ClinicalNerError without documents, or entities in them."""
    lengths = document_lengths(path)
    files = [Path(file) for file in walk_corpus(path, FILE_TYPE)]
    check_entities(path, (doc for file in files for doc in read_docbin(file, Vocab())))
    return sum(lengths), len(lengths)


def _check_readers(config: Config) -> None:
    """Say which documents a reader cuts or leaves out, which spaCy's does without a word.

    Raises:
        ConfigError: the sentences would lack the mentions that a component with overlaps learns.
    """
    for corpus in ("train_corpus", "dev_corpus"):
        place = config.get("training", {}).get(corpus, "")
        section, _, name = place.partition(".")
        reader = config.get(section, {}).get(name, {})
        if reader.get("@readers") != READER:
            continue
        limit = reader.get("max_length", 0)
        lengths = document_lengths(Path(reader["path"]))
        long = sum(length >= limit for length in lengths) if limit else 0
        if has_overlaps(config) and (long or reader.get("gold_preproc")):
            setting = "max_length" if long else "gold_preproc"
            raise ConfigError(
                f"{place}.{setting} makes documents of sentences, which lack the mentions in "
                f"doc.spans['{GOLD_ALL}'] that overlaps = true needs: leave it unset."
            )
        if long:
            warnings.warn(
                f"{reader['path']}: {long} of {len(lengths)} documents have {limit} tokens or "
                f"more, which {place}.max_length cuts into sentences; where they have none, and "
                "of sentences as long, they are left out.",
                ClinicalNerWarning,
                stacklevel=2,
            )


def _check_frozen_are_sourced(config: Config) -> None:
    """Raise ConfigError for a frozen component without weights: freezing skips initialization."""
    for name in config.get("training", {}).get("frozen_components") or ():
        block = config.get("components", {}).get(name, {})
        if "model" in block:
            raise ConfigError(
                f"training.frozen_components names '{name}', which the recipe makes new, and which "
                f"would have no weights. Take it from a trained pipeline ([components.{name}] with "
                "source in place of factory and model), or do not freeze it."
            )


def _check_frozen_annotate(nlp: Language) -> None:
    """Raise ConfigError for a frozen component that others learn from, and that would not run."""
    training = nlp.config.interpolate()["training"]
    frozen, annotating = training["frozen_components"], training["annotating_components"]
    for name in frozen:
        listening = getattr(nlp.get_pipe(name), "listening_components", [])
        learning = [listener for listener in listening if listener not in frozen]
        if learning and name not in annotating:
            both = json.dumps([*annotating, name])
            raise ConfigError(
                f"training.frozen_components names '{name}', whose vectors {', '.join(learning)} "
                f"learns from: set training.annotating_components = {both}, so that it runs in "
                "training."
            )


def _check_scores(nlp: Language) -> None:
    """Raise ConfigError for a weight of all mentions' scores where only entities are scored.

    spaCy leaves out the weight of a score that there is not; without another one every model would
    be as good as the first.
    """
    weights = nlp.config.interpolate()["training"]["score_weights"]
    overlaps = [pipe.overlaps for _, pipe in nlp.pipeline if hasattr(pipe, "overlaps")]
    if not overlaps or any(overlaps):
        return
    for score in ("spans_f", "spans_macro_f", "spans_p", "spans_r"):
        if weights.get(score):
            raise ConfigError(
                f"training.score_weights weighs {score}, which only a component with overlaps = "
                f"true gives: set overlaps = true, or weigh ents{score.removeprefix('spans')}."
            )


def _check_language(path: Path, lang: str | None, *, named: Path) -> None:
    """Raise ClinicalNerError for documents whose tokens are those of another language.

    Where conversion did not say which, as that of version 0.1, a warning does.
    """
    data = [
        doc.user_data
        for file in walk_corpus(path, FILE_TYPE)
        for doc in read_docbin(Path(file), Vocab())
    ]
    languages = {of_doc[LANGUAGE] for of_doc in data if LANGUAGE in of_doc}
    if others := sorted(languages - {lang}):
        raise InputError(
            f"{named}: was converted for language {', '.join(others)}, and the recipe makes a "
            f"pipeline of '{lang}'. Give --nlp.lang {others[0]} to clinical-ner train (nlp.lang in "
            f"the recipe), or --lang {lang} to clinical-ner convert."
        )
    if any(DOCUMENT_ID in of_doc and LANGUAGE not in of_doc for of_doc in data):
        warnings.warn(
            f"{named}: does not say for which language it was converted; it is taken for '{lang}', "
            "that of the recipe. Convert the notes again to have it checked.",
            ClinicalNerWarning,
            stacklevel=2,
        )


def check_apart(output: Path, config: Mapping[str, Any]) -> None:
    """Check that a training reads nothing from the models that it replaces.

    Raises:
        InputError: a setting, such as the source of a component, is in one of them.
    """
    replaced = [(output / name).resolve() for name in (DIR_MODEL_BEST, DIR_MODEL_LAST)]
    for value in config.values():
        if isinstance(value, Mapping):
            check_apart(output, value)
        elif isinstance(value, str | Path) and str(value):
            path = Path(value).resolve()
            if any(path.is_relative_to(model) for model in replaced) and path.exists():
                raise InputError(
                    f"{output}: holds {value}, which is read, and which the training would "
                    "replace. Choose another output folder."
                )


def _check_settings(recipe: Recipe, settings: dict[str, Any]) -> None:
    """Raise ClinicalNerError for a setting that spaCy would take and never read."""
    filled = Config(DEFAULT_CONFIG).merge(recipe.config)
    text = filled.to_str(interpolate=False)
    for key in settings:
        section, _, rest = key.partition(".")
        known = list(filled.get(section, {}))
        if section in VARIABLES:
            known = [name for name in known if f"${{{section}.{name}}}" in text]
        if rest.split(".")[0] not in known:
            raise ConfigError(
                f"{recipe.path}: the recipe has no setting '{key}', so giving it would do nothing; "
                f"settings of [{section}]: {', '.join(known) or 'none'}."
            )


def _check_epochs_reach_the_rate(config: Config, settings: dict[str, Any]) -> None:
    """Raise ConfigError for other epochs than those that a learning rate in steps was made for."""
    optimizer = config.get("training", {}).get("optimizer")
    rate = optimizer.get("learn_rate") if isinstance(optimizer, dict) else None
    in_steps = isinstance(rate, dict) and rate.get("@schedules") == STEPS_SCHEDULE
    if in_steps and "variables.epochs" in settings and STEPS not in settings:
        raise ConfigError(
            "The learning rate is planned in steps, as in the config of a trained model, and does "
            "not follow variables.epochs. Train the recipe that the model was made with, or give "
            f"--{STEPS} as well."
        )


@contextmanager
def _config_errors(config: Path) -> Iterator[None]:
    """Turn what spaCy says of a config into one line."""
    try:
        yield
    except ClinicalNerError as error:
        # What a loss or an encoder refuses, it refuses without knowing which file asked for it.
        if str(config) in str(error):
            raise
        raise ClinicalNerError(f"{error} (In {config}.)") from error
    except (ConfigParserError, ImportError, OSError, ValueError) as error:
        # spaCy's own begin with their code; any other is no fault of the config.
        if not (isinstance(error, OF_CONFIG) or str(error).startswith("[E")):
            raise
        raise ConfigError(
            f"{config}: the config does not hold together: {problems(error)}."
        ) from error
