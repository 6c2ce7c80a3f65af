"""Scores of a pipeline on annotated documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from ..data.gold import read_gold_for
from ..errors import InputError, check_number, not_a_folder
from ..files import check_not_read, check_replaceable, is_written_by, replacing, written_by
from ..model.gpu import use_gpu
from ..pipeline.loading import files_of, load_pipeline
from ..scoring.bootstrap import RESAMPLES, intervals, resample_weights
from ..scoring.ceiling import (
    beyond_flat_scores,
    beyond_flat_statistics,
    mention_scores,
    mention_statistics,
)
from ..scoring.evaluation import evaluation_metrics
from ..types import Track, untracked
from .one_pass_counts import Evaluation, evaluate_pipeline
from .plots import FIGURES, check_can_draw, draw, missing
from .runner import recognizer_of, sets_entities_later

KINDS = ("png", "svg")


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    output: str | Path | None = None,
    plots: str | Path | None = None,
    overwrite: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    gpu_id: int = -1,
    training_mentions: Mapping[str, int] | None = None,
    track: Track = untracked,
) -> dict[str, Any]:
    """Score a pipeline's entities, and its probabilities if it has them, on annotated documents.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        data: a .spacy file with gold entities; empty documents are counted too.
        output: JSON file for the scores; those of an earlier call are replaced.
        plots: folder for the pictures that the scores allow, as PNG and SVG; likewise.
        overwrite: replace other existing files too.
        resamples: of the bootstrap over documents.
        seed: of the bootstrap.
        gpu_id: the GPU to use, -1 for the CPU.
        training_mentions: mentions by type in the training data; by default those that a
            clinical_ner component was trained on.
        track: shows progress.

    Returns:
        What metrics.json holds, without its "written_by"; see `metrics_of`.

    Raises:
        ClinicalNerError: see `predict`; or an output is what is read, or cannot be written, or
            matplotlib is missing. No file is written then.
    """
    check_number("resamples", resamples, least=1)
    check_number("seed", seed, least=0)
    if plots is not None:
        check_can_draw(str(plots))
        if Path(plots).exists() and not Path(plots).is_dir():
            raise not_a_folder(plots)
    drawn = [Path(plots) / f"{name}.{end}" for name in FIGURES for end in KINDS] if plots else []
    for path in [Path(output), *drawn] if output else drawn:
        check_not_read(path, Path(data), *files_of(model))
        own = is_written_by(path, "" if path in drawn else "evaluate")
        check_replaceable(path, own=own, overwrite=overwrite)
    evaluation = predict(
        model, data, gpu_id=gpu_id, training_mentions=training_mentions, track=track
    )
    metrics = metrics_of(evaluation, model=model, data=data, resamples=resamples, seed=seed)
    with ExitStack() as outputs:
        if output is not None:
            written = metrics | written_by("evaluate")
            text = json.dumps(written, indent=2, sort_keys=True, allow_nan=False)
            outputs.enter_context(replacing(Path(output))).write_text(text + "\n", encoding="utf8")
        if plots is not None:
            left_out = missing(metrics)
            for name in (name for name in FIGURES if name not in left_out):
                for kind in KINDS:
                    path = Path(plots) / f"{name}.{kind}"
                    draw(metrics, name, outputs.enter_context(replacing(path)), kind=kind)
    return metrics


def predict(
    model: str | Path,
    data: str | Path,
    *,
    gpu_id: int = -1,
    training_mentions: Mapping[str, int] | None = None,
    prior_strengths: Iterable[float] = (),
    track: Track = untracked,
) -> Evaluation:
    """Run a pipeline over the texts of annotated documents and count.

    Args:
        model: the pipeline's folder, or the name of an installed package.
        data: the documents.
        gpu_id: the GPU to use, -1 for the CPU.
        training_mentions: mentions by type in the training data; by default those that the
            recognizer was trained on.
        prior_strengths: further strengths to decide at, for a pipeline with a posterior.
        track: wraps what is iterated over, to show progress.
        model, data, gpu_id, training_mentions, track: see `evaluate`.

    Raises:
        ClinicalNerError: the pipeline cannot be loaded, has no entity recognizer, or cannot be
            decided at other prior strengths, the GPU cannot be used, or the data are missing,
            unreadable, or without entities.
    """
    nlp, references = opened(model, data, gpu_id=gpu_id)
    strengths = list(prior_strengths)
    found = recognizer_of(nlp)
    if strengths and found is not None and (later := sets_entities_later(nlp, found[0])):
        raise InputError(
            f"{model}: component '{later}' sets doc.ents after '{found[0]}', so decisions at "
            "other prior strengths would lack what it does. Omit the prior strengths."
        )
    evaluation = evaluate_pipeline(
        nlp,
        references,
        prior_strengths=strengths,
        training_mentions=training_mentions,
        track=lambda documents: track(documents, "Predicting", len(references)),
    )
    check_found(model, nlp, evaluation)
    return evaluation


def opened(model: str | Path, data: str | Path, *, gpu_id: int) -> tuple[Language, list[Doc]]:
    """A pipeline, loaded for the device, and its gold documents; see `predict`."""
    use_gpu(gpu_id)
    nlp = load_pipeline(model)
    return nlp, read_gold_for(Path(data), nlp)


def check_found(model: str | Path, nlp: Language, evaluation: Evaluation) -> None:
    """Raise InputError if a pipeline found no entity and has nothing that could."""
    declared = any("doc.ents" in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names)
    if not evaluation.entities and not declared:
        components = ", ".join(nlp.pipe_names) or "none"
        raise InputError(
            f"{model}: has no entity recognizer: no component declares doc.ents (components: "
            f"{components}), and no entity was predicted. Name a pipeline that sets doc.ents."
        )


def metrics_of(
    evaluation: Evaluation,
    *,
    model: str | Path,
    data: str | Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
    copies: int = 1,
) -> dict[str, Any]:
    """Scores of a pass, ready for JSON.

    Args:
        evaluation: what was counted.
        model: the pipeline's folder, or the name of an installed package.
        data: the documents.
        resamples: of the bootstrap over documents.
        seed: of the random choices.
        model, data: named in the result.
        resamples, seed: of the bootstrap over documents.
        copies: how often the documents are among those that were counted, one time after the
            other; they are drawn with all their copies.

    Returns:
        The scores and intervals of `evaluation_metrics`, None where the pipeline cannot have
        them; those of `mention_scores`, None where the data do not tell all mentions; for a
        recognizer with ``overlaps`` those of `beyond_flat_scores`; the
        ``prior_strength`` of the decision, the numbers of ``documents`` and of ``tokens`` as the
        pipeline made them, ``words_per_second`` (tokens per second of wall time, from text to
        entities), and the settings.
    """
    documents = len(evaluation.counts.documents) // copies
    weights = resample_weights(documents, resamples=resamples, seed=seed)
    weights = np.tile(weights, copies)
    metrics = evaluation_metrics(evaluation.counts, weights)
    metrics["intervals"] |= intervals(mention_statistics(evaluation.mentions, weights))
    if evaluation.beyond_flat is not None:
        metrics |= beyond_flat_scores(evaluation.beyond_flat)
        metrics["intervals"] |= intervals(beyond_flat_statistics(evaluation.beyond_flat, weights))
    return {
        **metrics,
        **mention_scores(evaluation.mentions),
        "prior_strength": evaluation.prior_strength,
        "documents": documents,
        "tokens": evaluation.tokens // copies,
        "words_per_second": evaluation.tokens / evaluation.seconds,
        "model": str(model),
        "data": str(data),
        "resamples": resamples,
        "seed": seed,
    }
