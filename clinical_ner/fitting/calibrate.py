"""Making a pipeline's probabilities agree with frequencies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.gold import read_gold_for
from ..errors import ClinicalNerError, check_number
from ..evaluation.one_pass_counts import evaluate_pipeline
from ..pipeline.loading import load_to_fit, write_pipeline
from ..scoring.evaluation import evaluation_scores
from ..types import Track, untracked
from .fit_calibration import FOLDS, CalibrationFit, fit_calibration
from .fit_tokens import MIN_SUPPORT
from .held_out import (
    AnnotatedDocument,
    annotated_documents,
    out_of_fold_documents,
    reliability,
)
from .out_of_fold import is_out_of_fold, read_out_of_fold

#: Key of meta.json for the calibration.
META = "calibration"
NOTE = (
    "DEV also chose the checkpoint if training was evaluated on it, so how good the probabilities "
    "are has to be shown on other documents: clinical-ner evaluate OUTPUT TEST.spacy."
)
OUT_OF_FOLD_NOTE = (
    "The probabilities are those of the models of the folds, each for documents that it did not "
    "see. Those of the pipeline are calibrated as far as they are like them."
)


def calibrate(
    model: str | Path,
    dev: str | Path,
    output: str | Path,
    *,
    min_support: int = MIN_SUPPORT,
    gpu_id: int = -1,
    track: Track = untracked,
) -> dict[str, Any]:
    """Fit a calibration, and write the pipeline with it to another folder.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        dev: gold documents to fit on, as a .spacy file, or the folder of ``folds``, whose models
            then give the probabilities, each for the documents that it did not see.
        output: folder of the new pipeline; an existing pipeline is replaced.
        min_support: tokens of ``dev`` that a tag needs for a bias of its own.
        gpu_id: the GPU to use, -1 for the CPU.
        track: shows progress.

    Returns:
        What meta.json holds under "calibration", with the fitted weight of the ``transitions``, 0
        where none were fitted, and what they add to the cross-fitted log-likelihood of gold's
        segments, in nats per document and per token; the component's name and whether it has
        ``overlaps``, the settings, and ``warnings``. ``before`` and ``after`` hold ``token_ece``,
        ``token_nll``, ``ents_ece`` and ``ents_brier`` on ``dev``, None where undefined; ``after``
        is from calibrations that were fitted without the documents they are measured on, or without
        their fold, and None with one document only. With ``overlaps`` entities are all spans, and
        tokens are scored over all tags; see `held_out.reliability`.

    Raises:
        ClinicalNerError: an input is missing or not what it should be, the loss has no posterior,
            or the output would destroy an input. Nothing is written then.
    """
    check_number("min_support", min_support, least=1)
    dev, output = Path(dev), Path(output)
    nlp, name, component = load_to_fit(model, output, "calibrate", inputs=[dev], gpu_id=gpu_id)
    component.calibration = None
    store = read_out_of_fold(dev, nlp.vocab) if is_out_of_fold(dev) else None
    references = [] if store else read_gold_for(dev, nlp)
    documents = out_of_fold_documents(nlp, name, store) if store else []
    try:
        documents += track(annotated_documents(nlp, name, references), dev.name, len(references))
        fit = fit_calibration(
            documents,
            component.statistics.counts,
            min_support=min_support,
            fold_of=store.fold_of.tolist() if store else None,
            transitions=component.transitions is None,
        )
    except ClinicalNerError as error:
        # The functions that refuse documents do not know the file.
        raise type(error)(f"{error} (In {dev}.)") from error
    meta = _meta(fit, documents)
    meta["note"] = (
        f"{OUT_OF_FOLD_NOTE if store else NOTE} 'after' is cross-fitted: of each of "
        f"{store.folds if store else FOLDS} folds of the documents, under a calibration that was "
        "fitted on the others."
    )
    component.calibration = fit.calibration
    # The pipeline itself may have been trained on the documents of folds.
    scores = {} if store else evaluation_scores(evaluate_pipeline(nlp, references).counts)
    write_pipeline(nlp, output, "calibrate", scores=scores, **{META: {name: meta}})
    return {
        **meta,
        "warnings": _warnings(fit, meta, has_thresholds=bool(component.decision.thresholds)),
        "component": name,
        "overlaps": component.overlaps,
        "min_support": min_support,
        "model": str(model),
        "dev": str(dev),
        "output": str(output),
    }


def _meta(
    fit: CalibrationFit[AnnotatedDocument], documents: Sequence[AnnotatedDocument]
) -> dict[str, Any]:
    """What meta.json holds of the calibration."""
    tokens, entities = fit.tokens, fit.calibration.entities
    return {
        "method": "bias-corrected temperature scaling of tokens"
        + (", transitions" if fit.calibration.transitions else "")
        + ("" if entities is None else ", beta calibration of entities"),
        "documents": len(fit.documents),
        "tokens": tokens.tokens,
        "tokens_left_out": tokens.left_out,
        "entities": sum(document.gold_spans.support.total() for document in documents),
        "spans": fit.spans,
        "right_spans": fit.right_spans,
        "temperature": tokens.calibration.temperature,
        "own_biases": tokens.own_biases,
        "shared_biases": tokens.shared_biases,
        "transitions": fit.calibration.transitions,
        "transitions_gain": {
            "document": round(fit.transitions_gain / len(fit.documents), 5),
            "token": round(fit.transitions_gain / tokens.tokens, 5),
        },
        "entity_step": None if entities is None else asdict(entities),
        "before": _numbers(reliability(fit.documents, None)),
        "after": _numbers(reliability(fit.documents, fit.held_out)) if fit.held_out else None,
    }


def _warnings(
    fit: CalibrationFit[AnnotatedDocument], meta: Mapping[str, Any], *, has_thresholds: bool
) -> list[str]:
    found = []
    if len(fit.documents) < FOLDS:
        found.append(
            f"There are {len(fit.documents)} documents to fit on, fewer than {FOLDS}: only the "
            "temperature was fitted, no biases and no entity step."
        )
    elif fit.calibration.entities is None:
        found.append(
            f"Of {fit.spans} decoded spans {fit.right_spans} are right: too few of one kind for "
            "the entity step, so probabilities of entities are those of the lattice."
        )
    if fit.tokens.left_out:
        found.append(
            f"{fit.tokens.left_out} tokens have a gold tag without any probability, as one that "
            "training never showed; no calibration helps them, and they are left out."
        )
    for error, of in (("token_ece", "tokens"), ("ents_ece", "entities")):
        before, after = meta["before"][error], (meta["after"] or {}).get(error)
        if before is not None and after is not None and after > before:
            found.append(
                f"On documents that it was not fitted on, the calibration makes the error of the "
                f"probabilities of {of} larger (ECE {100 * before:.1f} to {100 * after:.1f} %): "
                f"{len(fit.documents)} documents are too few for it, or the error was small."
            )
    if has_thresholds:
        found.append(
            "MODEL has thresholds, which were chosen for its probabilities before: choose them "
            "again with clinical-ner tune."
        )
    return found


def _numbers(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in scores.items()}
