"""Going on with a trained model: its weights start a training, and its labels can be kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.vocab import Vocab
from thinc.api import Model

from ..data.formats.docbin import read_docbin, write_docbin
from ..errors import ClinicalNerError, ClinicalNerWarning, ConfigError, InputError
from ..evaluation.runner import before_recognizer
from ..files import scratch_folder
from ..locks import leaving_no_empty_folder
from ..model.encoder import encoder_names, published_name, uses_onnx
from ..model.gpu import use_gpu
from ..pipeline.ensemble import ENSEMBLE
from ..pipeline.loading import load_pipeline
from ..pipeline.recognizer import ClinicalNer
from ..tags.scheme import OUTSIDE, tag_names
from ..tags.soft_targets import soft_targets, write_soft_targets
from ..training.train import check_apart, train
from ..types import Track, untracked

#: ``token.ent_iob`` of a token that gold says is outside entities.
OUTSIDE_IOB = 2
#: Settings of spaCy's reader that make other documents of those that it reads.
REWRITING = ("max_length", "gold_preproc", "augmenter")


def train_from(
    init_model: str | Path,
    recipe: str | Path,
    output: str | Path,
    *,
    train_path: str | Path,
    dev_path: str | Path | None,
    keep_labels: bool = False,
    gpu_id: int = -1,
    track: Track = untracked,
    **settings: Any,
) -> dict[str, Any]:
    """Train a recipe, starting with the weights of a trained pipeline.

    Encoder and head are taken over. At the start the probabilities are those of the old model,
    uncalibrated, whatever the two losses and corpora are (exactly where both losses' inverses add a
    constant to each logit); a tag that it never learned has a share of its p(O), which is its share
    in the new corpus. Calibration, neighbours, prior_strength and thresholds are not taken over.

    Args:
        init_model: The trained pipeline's folder, or the name of an installed package.
        recipe: See `training.train.train`; so all arguments that are not here.
        output: See there.
        train_path: See there.
        dev_path: See there.
        keep_labels: Whether labels of the old model that the new training documents do not have
            anywhere are learned from its probabilities, those that it predicts with (calibrated, if
            it is). They are the soft targets of the tokens that gold has outside entities: p of the
            kept labels, the rest for O. Their expected numbers of tokens are their counts. On dev,
            entities of those of them that dev does not have either are ignored.
        gpu_id: See there.
        track: Shows progress.
        **settings: See there.

    Returns:
        The record of the run; "init_model" in it is the name and version of the pipeline, and its
        labels that were kept, or that the new model lacks.

    Raises:
        ClinicalNerError: See there. Or the pipeline has not one recognizer, of the recipe's name,
            encoder and scheme of tags, or it has labels to be kept and no probabilities.
    """
    output, train_path = Path(os.path.abspath(output)), Path(train_path)
    use_gpu(gpu_id)
    old = load_pipeline(init_model)
    check_apart(output, {"init_model": old.path})
    name, component = _recognizer(old, f"{init_model}:")
    gold = _labels(train_path)
    kept = [label for label in component.labels if keep_labels and label not in gold]
    ignored = set(kept) - _labels(Path(dev_path)) if dev_path else set()
    record = {"name": Path(init_model).name, "version": old.meta["version"], "kept": kept}

    def start(nlp: Language) -> dict[str, Any]:
        new_name, new = _recognizer(nlp, f"{recipe}: the recipe")
        if problem := _start(nlp, new_name, old, name):
            raise InputError(
                f"{init_model}: {problem}. Train the recipe that the model was made with, or start "
                "without --init-model."
            )
        if lost := [label for label in component.labels if label not in new.labels]:
            warnings.warn(
                f"{init_model}: the training documents lack its labels {', '.join(lost)}, which "
                "the new model will not have; --keep-labels keeps them.",
                ClinicalNerWarning,
                stacklevel=2,
            )
        if kept:
            _check_reader(nlp)
            if ignored:
                warnings.warn(
                    f"{dev_path}: lacks the labels {', '.join(sorted(ignored))}, which are kept; "
                    "their entities are not scored. Documents to calibrate, tune and evaluate on "
                    "should have all labels: what they lack counts as an error there.",
                    ClinicalNerWarning,
                    stacklevel=2,
                )
            new.scorer = _ignoring(new.scorer, ignored)
        return {"init_model": {**record, "lost": lost}}

    arguments = {"train_path": train_path, "dev_path": dev_path, "gpu_id": gpu_id, **settings}
    if not kept:
        return train(recipe, output, at_start=start, track=track, **arguments)
    if component.overlaps or not component.loss.has_posterior:
        raise ConfigError(
            f"{init_model}: its labels cannot be kept: it has overlaps = true or a loss, "
            f"'{type(component.loss).__name__}', that does not give one probability to each tag."
        )
    with leaving_no_empty_folder(output), scratch_folder(output) as folder:
        copy = folder / f"train{FILE_TYPE}"
        try:
            write_docbin(_with_targets(old, name, _documents(train_path), kept, track), copy)
            return train(recipe, output, at_start=start, copy=copy, track=track, **arguments)
        except ClinicalNerError as error:
            raise type(error)(str(error).replace(str(copy), str(train_path))) from error


def _recognizer(nlp: Language, where: str) -> tuple[str, ClinicalNer]:
    found = [(name, pipe) for name, pipe in nlp.pipeline if isinstance(pipe, ClinicalNer)]
    if len(found) != 1 or not found[0][1].is_initialized:
        raise InputError(
            f"{where} has not one trained component of the factory clinical_ner (components: "
            f"{', '.join(nlp.pipe_names) or 'none'}), which --init-model needs."
        )
    return found[0]


def _documents(path: Path) -> list[Doc]:
    vocab = Vocab()
    return [doc for file in walk_corpus(path, FILE_TYPE) for doc in read_docbin(Path(file), vocab)]


def _labels(path: Path) -> set[str]:
    return {entity.label_ for doc in _documents(path) for entity in doc.ents}


def _with_targets(
    nlp: Language, name: str, references: Sequence[Doc], kept: Sequence[str], track: Track
) -> Iterator[Doc]:
    """The documents with the kept labels' probabilities as soft targets where gold has O."""
    component = nlp.get_pipe(name)
    assert isinstance(component, ClinicalNer)
    columns = [component.statistics.tags.index(tag) for tag in tag_names(kept)[1:]]
    docs = before_recognizer(nlp, name, references)
    for reference in track(references, "Predicting", len(references)):
        doc = next(docs)
        (rows,) = component.predict([doc])
        p = np.exp(component.model.ops.to_numpy(rows)[:, columns].astype("float64"))
        outside = np.clip(1.0 - p.sum(axis=1, keepdims=True), 0.0, 1.0)
        write_soft_targets(doc, kept, np.hstack([outside, p]), np.ones(len(doc)))
        # From the old model's tokens to those of gold.
        found = soft_targets(Example(reference, doc), kept)
        assert found is not None
        silent = np.array([token.ent_iob == OUTSIDE_IOB for token in reference], dtype=bool)
        write_soft_targets(reference, kept, found[0], found[1] * silent)
        yield reference


def _check_reader(nlp: Language) -> None:
    """Raise ConfigError for a reader whose documents would not have the soft targets."""
    config = nlp.config.interpolate()
    section, _, name = config["training"]["train_corpus"].partition(".")
    for setting in REWRITING:
        if config[section][name].get(setting):
            raise ConfigError(
                f"{section}.{name}.{setting} of the recipe makes other documents of those that are "
                "read, without the old model's probabilities: leave it unset with --keep-labels."
            )


def _ignoring(scorer: Callable[..., Any] | None, labels: set[str]) -> Callable[..., Any] | None:
    """A scorer for which there are no entities of these labels."""
    if scorer is None or not labels:
        return scorer

    def score(examples: Any, **kwargs: Any) -> Any:
        examples = list(examples)
        for example in examples:
            predicted = example.predicted
            predicted.set_ents([ent for ent in predicted.ents if ent.label_ not in labels])
        return scorer(examples, **kwargs)

    return score


def _start(nlp: Language, name: str, old: Language, old_name: str) -> str | None:
    """Give an initialized pipeline the weights of a trained one.

    Returns:
        Why the one does not fit the other, and nothing was changed; None if it does.
    """
    component, trained = nlp.get_pipe(name), old.get_pipe(old_name)
    assert isinstance(component, ClinicalNer) and isinstance(trained, ClinicalNer)
    if name != old_name:
        return f"its recognizer is '{old_name}', that of the recipe is '{name}'"
    if component.overlaps != trained.overlaps:
        return f"it was trained with overlaps = {str(trained.overlaps).lower()}"
    if trained.model.name == ENSEMBLE:
        return "it is an ensemble, which is not trained itself"
    if uses_onnx(old):
        return "its encoder runs on ONNX Runtime and cannot be trained"
    ours, theirs = ([published_name(of) for of in encoder_names(each)] for each in (nlp, old))
    if ours != theirs:
        theirs, ours = theirs or ["none of transformers"], ours or ["none of transformers"]
        return f"its encoder is {', '.join(theirs)}, that of the recipe is {', '.join(ours)}"
    heard = [of for of, pipe in nlp.pipeline if name in getattr(pipe, "listening_components", ())]
    pairs = [(component.model.get_ref("tok2vec"), trained.model.get_ref("tok2vec"))]
    if set(heard) <= set(old.pipe_names):
        pairs += [(_model(nlp, of), _model(old, of)) for of in heard]
    alike = len(pairs) == 1 + len(heard) and all(_layers(a) == _layers(b) for a, b in pairs)
    widths = {of.model.get_ref("head").get_dim("nI") for of in (component, trained)}
    if not alike or len(widths) > 1:
        return "its encoder has other layers, or another width, than that of the recipe"
    for model, source in pairs:
        _copy_weights(model, source)
    _start_head(component, trained)
    return None


def _model(nlp: Language, name: str) -> Model:
    component: Any = nlp.get_pipe(name)
    model: Model = component.model
    return model


def _layers(model: Model) -> list[tuple[Any, ...]]:
    """What two models must have in common for the weights of the one to fit the other."""
    return [
        (
            node.name,
            {name: node.get_param(name).shape for name in node.param_names},
            [{k: v.shape for k, v in shim._model.state_dict().items()} for shim in node.shims],
            # Which feature of a token is embedded, and how it is hashed.
            [node.attrs.get(key) for key in ("columns", "column", "seed")],
        )
        for node in model.walk()
    ]


def _copy_weights(model: Model, trained: Model) -> None:
    for ours, theirs in zip(model.walk(), trained.walk(), strict=True):
        for name in theirs.param_names:
            ours.set_param(name, theirs.get_param(name).copy())
        for shim, other in zip(ours.shims, theirs.shims, strict=True):
            shim._model.load_state_dict(other._model.state_dict())


def _start_head(component: ClinicalNer, trained: ClinicalNer) -> None:
    """Rows of tags that the old model learned are kept; new tags get a share of its p(O).

    With a token vector v, the old log p of tag c is W_c v + t_c up to a constant, t its bias and
    the shift of its loss; what is wanted of the new one. So the bias is t minus the new loss's
    shift. A new tag has the row of O and t_O + log(pi_c / pi_O), both lowered so that they sum to
    what O had.
    """
    tags, seen, prior = (getattr(component.statistics, key) for key in ("tags", "seen", "prior"))
    learned = dict(zip(trained.statistics.tags, trained.statistics.seen, strict=True))
    new = np.array([not learned.get(tag, False) for tag in tags])
    if new[OUTSIDE] or not seen[OUTSIDE]:
        raise InputError("--init-model needs tokens outside entities in both training corpora.")
    rows = [
        OUTSIDE if is_new else list(learned).index(t) for t, is_new in zip(tags, new, strict=True)
    ]
    # Alone, without what was fitted to its old task.
    trained.calibration = trained.neighbours = None
    wanted = _log_probs_at_zero(trained)[rows]
    share = np.where(new & seen, prior, 0.0)[new] / prior[OUTSIDE]
    with np.errstate(divide="ignore"):
        wanted[new] += np.log(share)
    wanted[new | (np.arange(len(tags)) == OUTSIDE)] -= np.log1p(share.sum())
    bias = np.zeros(len(tags))
    bias[seen] = wanted[seen] - _log_probs_at_zero(component)[seen]
    head: Any = component.model.get_ref("head")
    ops: Any = component.model.ops
    head.set_param(
        "W", ops.asarray2f(ops.to_numpy(trained.model.get_ref("head").get_param("W"))[rows])
    )
    head.set_param("b", ops.asarray1f(bias))


def _log_probs_at_zero(component: ClinicalNer) -> NDArray[np.float64]:
    """Log p(tag) at a token vector of zeros: bias and shift. *Shape:* ``(K,)``."""
    ops: Any = component.model.ops
    width = component.model.get_ref("head").get_dim("nI")
    (rows,) = component.log_probs([ops.alloc2f(1, width)])
    return np.asarray(ops.to_numpy(rows)[0], dtype=np.float64)
