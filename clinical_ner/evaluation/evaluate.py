"""Scores of a pipeline on annotated documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..data.read_gold import read_gold_for
from ..errors import InputError
from ..model.gpu import use_gpu
from ..pipeline.loading import load_pipeline
from ..scoring.bootstrap import RESAMPLES, intervals, resample_weights
from ..scoring.ceiling import mention_scores, mention_statistics
from ..scoring.evaluation import evaluation_metrics
from .one_pass_counts import Evaluation, evaluate_pipeline, recognizer_of, sets_entities_later
from .plots import FIGURES, missing


def evaluate(
    model: str,
    data: Path,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    gpu_id: int = -1,
    training_mentions: Mapping[str, int] | None = None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Run a pipeline over the texts of annotated documents and score its entities.

    model, data, gpu_id, training_mentions, show_progress: see `predict`.
    resamples, seed: of the bootstrap over documents.

    RETURNS: what metrics.json holds; see `metrics_of`.
    RAISES ClinicalNerError: see `predict`.
    """
    evaluation = predict(
        model,
        data,
        gpu_id=gpu_id,
        training_mentions=training_mentions,
        show_progress=show_progress,
    )
    return metrics_of(evaluation, model=model, data=data, resamples=resamples, seed=seed)


def predict(
    model: str,
    data: Path,
    *,
    gpu_id: int = -1,
    training_mentions: Mapping[str, int] | None = None,
    prior_strengths: Iterable[float] = (),
    show_progress: bool = False,
) -> Evaluation:
    """Run a pipeline over the texts of annotated documents and count.

    model: a pipeline's folder, or the name of an installed package.
    data: a .spacy file with gold entities; empty documents are counted too.
    gpu_id: the GPU to use, -1 for the CPU.
    training_mentions: mentions by type in the training data; by default those that a clinical_ner
        component was trained on.
    prior_strengths: further strengths to decide at, for a pipeline with a posterior.
    show_progress: draw a progress bar on stderr.

    RAISES ClinicalNerError: the pipeline cannot be loaded, has no entity recognizer, or cannot be
        decided anew at other prior strengths, the GPU cannot be used, or the data are missing,
        unreadable, or without entities.
    """
    use_gpu(gpu_id)
    nlp = load_pipeline(model)
    references = read_gold_for(data, nlp)
    strengths = list(prior_strengths)
    found = recognizer_of(nlp)
    if strengths and found is not None and (later := sets_entities_later(nlp, found[0])):
        raise InputError(
            f"{model}: component '{later}' sets doc.ents after '{found[0]}', so decisions at "
            "other prior strengths would lack what it does. Omit the prior strengths."
        )

    def with_bar(documents: Iterable[Doc]) -> Iterable[Doc]:
        from rich.console import Console
        from rich.progress import track

        return track(documents, "Predicting", len(references), console=Console(stderr=True))

    evaluation = evaluate_pipeline(
        nlp,
        references,
        prior_strengths=strengths,
        training_mentions=training_mentions,
        track=with_bar if show_progress else iter,
    )
    if not evaluation.entities and not _declares_entities(nlp):
        components = ", ".join(nlp.pipe_names) or "none"
        raise InputError(
            f"{model}: has no entity recognizer: no component declares doc.ents (components: "
            f"{components}), and no entity was predicted. Name a pipeline that sets doc.ents."
        )
    return evaluation


def metrics_of(
    evaluation: Evaluation,
    *,
    model: str,
    data: Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of a pass, ready for JSON.

    RETURNS: the scores and intervals of `evaluation_metrics`, None where the pipeline cannot have
        them; those of `mention_scores`, None where the data do not tell all mentions; the
        ``prior_strength`` of the decision, the numbers of ``documents`` and of ``tokens`` as the
        pipeline made them, ``words_per_second`` (tokens per second of wall time, from text to
        entities), and the settings.
    """
    weights = resample_weights(len(evaluation.counts.documents), resamples=resamples, seed=seed)
    metrics = evaluation_metrics(evaluation.counts, weights)
    metrics["intervals"] |= intervals(mention_statistics(evaluation.mentions, weights))
    return {
        **metrics,
        **mention_scores(evaluation.mentions),
        "prior_strength": evaluation.prior_strength,
        "documents": len(evaluation.counts.documents),
        "tokens": evaluation.tokens,
        "words_per_second": evaluation.tokens / evaluation.seconds,
        "model": model,
        "data": str(data),
        "resamples": resamples,
        "seed": seed,
    }


def _pictures(metrics: Mapping[str, Any], folder: Path) -> list[Path]:
    """Files of the pictures that the metrics allow."""
    names = [name for name in FIGURES if name not in missing(metrics)]
    return [folder / f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def _declares_entities(nlp: Language) -> bool:
    return any("doc.ents" in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names)
