"""clinical-ner evaluate: scores of a pipeline on annotated documents."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import spacy
import typer
from rich.console import Console
from rich.progress import track
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import get_package_path, is_package

from ..data.read_gold import read_gold_for
from ..errors import InputError, not_a_folder
from ..evaluation.one_pass_counts import (
    Evaluation,
    evaluate_pipeline,
    recognizer_of,
    sets_entities_later,
)
from ..evaluation.plots import FIGURES, draw, missing
from ..files import replacing
from ..pipeline.gpu import use_gpu
from ..research.compare.comparison_report import check_can_draw
from ..scoring.bootstrap import RESAMPLES, intervals, resample_weights
from ..scoring.ceiling import mention_scores, mention_statistics
from ..scoring.evaluation import evaluation_metrics
from ._app import app
from ._evaluation_tables import mention_lines, notes, overall_table, type_table


@app.command("evaluate")
def evaluate_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    data: Path = typer.Argument(..., metavar="DATA.spacy", help="Documents with gold entities."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="JSON file for the scores; an existing one is replaced."
    ),
    plots: Path | None = typer.Option(
        None,
        "--plots",
        metavar="DIR",
        help="Folder for reliability, precision_recall, types and prior_ratios, as PNG and SVG.",
    ),
    resamples: int = typer.Option(
        RESAMPLES, "--resamples", min=1, help="Bootstrap resamples behind the intervals."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the bootstrap."),
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the scores as JSON on stdout."),
) -> None:
    """Score a pipeline's entities against gold, with 95 % bootstrap intervals over documents.

    Works with any spaCy pipeline that sets doc.ents. An entity is right if its label and both its
    boundaries agree with gold. A clinical_ner component whose loss has a posterior is also scored
    for its probabilities: how well those of tokens and of entities fit how often they are right
    (ECE, Brier, log likelihood), before and after calibration; how well they rank the spans that
    might be entities (average precision); and how much mass each type gets.

    Where the documents also tell the mentions that entities cannot hold (nested, discontinuous;
    clinical-ner convert keeps them in doc.spans["gold_all"]), the recall that these set a ceiling
    to is scored as well.

    \b
    Example:
      clinical-ner evaluate training/model-final corpus/test.spacy --output metrics.json \\
        --plots metrics/plots
    """
    if plots is not None:
        check_can_draw(str(plots))
        if plots.exists() and not plots.is_dir():
            raise not_a_folder(plots)
    metrics = evaluate(
        model,
        data,
        resamples=resamples,
        seed=seed,
        gpu_id=gpu_id,
        show_progress=sys.stderr.isatty(),
    )
    text = json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False)
    with ExitStack() as outputs:
        if output is not None:
            outputs.enter_context(replacing(output)).write_text(text + "\n", encoding="utf8")
        if plots is not None:
            for path in _pictures(metrics, plots):
                temporary = outputs.enter_context(replacing(path))
                draw(metrics, path.stem, temporary, kind=path.suffix[1:])
    if plots is not None:
        for name, reason in missing(metrics).items():
            print(f"{plots / name}: not drawn, since {reason}.", file=sys.stderr)
    if as_json:
        print(text)
    else:
        console = Console()
        for table in (overall_table(metrics), type_table(metrics)):
            console.print(table)
        for note in [*mention_lines(metrics), *notes(metrics)]:
            console.print(note, soft_wrap=True)


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


def load_pipeline(model: str) -> Language:
    """Load a pipeline by folder or package name.

    RAISES ClinicalNerError: it is neither, or what is there cannot be loaded.
    """
    is_folder = (Path(model) / "config.cfg").is_file()
    if not is_folder and not _is_pipeline_package(model):
        raise InputError(
            f"{model}: neither a folder with a config.cfg nor an installed pipeline package. "
            "Check the path, or install the pipeline's wheel with pip."
        )
    # What spaCy raises for a component, a file or a distribution that is missing, and for a config
    # that does not validate.
    try:
        return spacy.load(Path(model) if is_folder else model)
    except (ImportError, KeyError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{model}: cannot be loaded as a spaCy pipeline ({reason}).") from error


def _pictures(metrics: Mapping[str, Any], folder: Path) -> list[Path]:
    """Files of the pictures that the metrics allow."""
    names = [name for name in FIGURES if name not in missing(metrics)]
    return [folder / f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def _is_pipeline_package(name: str) -> bool:
    """Whether an installed package is a pipeline: those have meta.json beside their __init__.py."""
    if not name or not is_package(name):
        return False
    try:
        return (get_package_path(name) / "meta.json").is_file()
    except ImportError:
        return False


def _declares_entities(nlp: Language) -> bool:
    return any("doc.ents" in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names)
