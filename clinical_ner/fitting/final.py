"""The model to use after folds: made of all documents, of which none is left to test it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.training import Example
from spacy.training.loop import DIR_MODEL_LAST

from ..data.formats.docbin import write_docbin
from ..errors import ConfigError, InputError, check_choice, check_number
from ..evaluation.runner import unannotated
from ..files import scratch_folder
from ..model.gpu import use_gpu
from ..packaging.figures import SCORES, SPAN_SCORES, out_of_fold_scores, scored_on
from ..pipeline.ensemble import make_ensemble
from ..pipeline.loading import check_output, load_pipeline, write_pipeline
from ..tags.soft_targets import write_soft_targets
from ..training.train import train
from ..types import Track, untracked
from .calibrate import calibrate
from .out_of_fold import METRICS, OutOfFold, read_out_of_fold
from .weight_average import average_weights, count_tags

#: Key of meta.json for what is said here of the model.
META = "final"
#: What each method makes.
METHODS = {
    "all": "trained on all documents for the epochs that the folds chose",
    "average": "the mean of the weights of the models of the folds",
    "distilled": "trained on all documents, gold mixed with their out-of-fold probabilities",
    "ensemble": "the mean of the probabilities of the models of the folds",
}
#: Methods that train a model, with a seed.
TRAINED = ("all", "distilled")
#: The method where none is named, for every corpus: no document is left to choose on.
RULE = "all"
REASON = "it learns from more notes than any model of the folds, and costs no more to use than one"
#: Methods whose models are less sure than those of the folds, whose calibration makes their
#: probabilities too small: an ECE of entities of 8.4 and 9.0 %, against 2.8 % of `all`
#: (benchmarks/README.md, "Folds and final models").
LESS_SURE = ("distilled", "ensemble")
#: Share of the soft targets in the loss of a token, where nothing else is said.
SOFT_WEIGHT = 0.5


def final(
    folds: str | Path,
    output: str | Path,
    *,
    method: str | None = None,
    seed: int | None = None,
    soft_weight: float | None = None,
    gpu_id: int = -1,
    track: Track = untracked,
) -> dict[str, Any]:
    """Make one model of all documents, calibrated on the out-of-fold predictions.

    Args:
        folds: folder of ``clinical-ner folds``.
        output: folder of the new pipeline; an existing pipeline is replaced.
        method: one of `METHODS`; by default `RULE`.
        seed: of weights, order and dropout, for a method that trains; by default the first one of
            the folds.
        soft_weight: share in (0, 1] of the soft targets in the loss of a token, for distilled; by
            default `SOFT_WEIGHT`.
        gpu_id: the GPU to use, -1 for the CPU.
        track: shows progress.

    Returns:
        What meta.json holds under "final", and ``performance``, ``calibration`` (the report of
        `calibrate`) and ``output``.

    Raises:
        ClinicalNerError: the folds are not finished, their corpus has changed, or the method does
            not work with their loss or components. Nothing is written then.
    """
    chosen = RULE if method is None else method
    check_choice("method", chosen, METHODS)
    if seed is not None and chosen not in TRAINED:
        raise ConfigError(f"seed: method {chosen} trains nothing, so that it has no use.")
    if soft_weight is not None and chosen != "distilled":
        raise ConfigError(f"soft_weight: only method distilled has it, not {chosen}.")
    share = SOFT_WEIGHT if soft_weight is None else soft_weight
    check_number("soft_weight", share, above=0, most=1)
    found, output = read_out_of_fold(folds), Path(output)
    # The last to write it is the calibration.
    check_output(output, "calibrate", inputs=[found.folder, found.corpus])
    # Before hours of training: whether there are any.
    found.log_probs()
    scores = out_of_fold_scores(_read_metrics(found))
    settings: dict[str, Any] = {
        "seed": found.seeds[0] if seed is None else seed,
        **({"soft_weight": share} if chosen == "distilled" else {}),
    }
    meta = {
        "method": chosen,
        "what": METHODS[chosen],
        "chosen": "by the user" if method else f"by the rule '{RULE}': {REASON}",
        "documents": len(found.documents),
        "folds": found.folds,
        "seeds": list(found.seeds),
        "epochs": found.epochs,
        "planned_epochs": found.planned_epochs,
        **(settings if chosen in TRAINED else {}),
    }
    use_gpu(gpu_id)
    with scratch_folder(output) as folder:
        if chosen == "average":
            same_seed = len(found.seeds) == 1
            nlp, _ = average_weights(found.models(), found.documents, same_seed=same_seed)
        elif chosen == "ensemble":
            nlp, _, component = make_ensemble(found.models())
            count_tags(nlp, component, found.documents)
        else:
            copy = None
            if chosen == "distilled":
                copy = folder / "soft.spacy"
                add_soft_targets(found, share)
                write_docbin(found.documents, copy)
            nlp = _trained(
                found, copy, folder / "training", seed=settings["seed"], gpu_id=gpu_id, track=track
            )
        performance = {key: scores[key] for key in (*SCORES, *SPAN_SCORES) if key in scores}
        nlp.meta["performance"] = performance
        notes = f"performance: strict entity scores of {scored_on(scores, made_of_all=True)}."
        write_pipeline(nlp, folder / "made", "final", scores={}, **{META: meta, "notes": notes})
        report = calibrate(folder / "made", found.folder, output, gpu_id=gpu_id, track=track)
    if chosen in LESS_SURE:
        report["warnings"].append(
            f"A model of method {chosen} is less sure than those of the folds, whose calibration "
            "makes its probabilities too small: run clinical-ner calibrate on documents that were "
            "kept out of the folds, or take method all."
        )
    return {
        **meta,
        "performance": performance,
        "notes": notes,
        "calibration": report,
        "folder": str(found.folder),
        "output": str(output),
    }


def _trained(
    found: OutOfFold, copy: Path | None, folder: Path, *, seed: int, gpu_id: int, track: Track
) -> Language:
    """The pipeline of the folds' recipe after their epochs; nothing is chosen on what it learns."""
    train(
        *(found.recipe, folder),
        train_path=found.corpus,
        copy=copy,
        dev_path=None,
        stop_after=found.epochs,
        seed=seed,
        gpu_id=gpu_id,
        track=track,
    )
    return load_pipeline(folder / DIR_MODEL_LAST)


def add_soft_targets(found: OutOfFold, share: float) -> None:
    """Give the gold documents their out-of-fold probabilities, not calibrated.

    They are of the pipeline's tokens. A token of gold that is not one of them learns gold alone.
    """
    nlp = load_pipeline(found.models()[0])
    for reference, log_probs in zip(found.documents, found.log_probs(), strict=True):
        alignment = Example(unannotated(nlp, reference), reference).alignment
        probabilities = np.zeros((len(reference), log_probs.shape[1]))
        weights = np.zeros(len(reference))
        for token in range(len(reference)):
            of_pipeline = alignment.y2x[token]
            if len(of_pipeline) == 1 and len(alignment.x2y[int(of_pipeline[0])]) == 1:
                probabilities[token] = np.exp(log_probs[of_pipeline[0]])
                weights[token] = share
        write_soft_targets(reference, found.labels, probabilities, weights)


def _read_metrics(found: OutOfFold) -> dict[str, Any]:
    path = found.folder / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as scores. Call clinical-ner folds again as before, which "
            "writes it."
        ) from error
    return dict(metrics)
