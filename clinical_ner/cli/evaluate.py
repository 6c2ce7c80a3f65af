"""clinical-ner evaluate: scores of a pipeline on annotated documents."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spacy
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import get_package_path, is_package

from ..errors import ClinicalNerError, Errors
from ..formats.docbin import DOCUMENT_ID, read_docbin, replacing
from ..scoring.bootstrap import RESAMPLES, intervals, resample_weights
from ..scoring.scorers import count_entities, entity_scores, entity_statistics
from ._app import app
from ._gpu import use_gpu

TITLES = {
    "ents_p": "precision, micro",
    "ents_r": "recall, micro",
    "ents_f": "F1, micro",
    "ents_macro_f": "F1, macro",
    "token_unweighted_accuracy": "unweighted accuracy of tokens",
    "token_unweighted_accuracy_no_o": "the same without O",
}


@app.command("evaluate")
def evaluate_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    data: Path = typer.Argument(..., metavar="DATA.spacy", help="Documents with gold entities."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="JSON file for the scores; an existing one is replaced."
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
    boundaries agree with gold.

    \b
    Example:
      clinical-ner evaluate training/model-best corpus/test.spacy --output metrics.json
    """
    metrics = evaluate(
        model,
        data,
        resamples=resamples,
        seed=seed,
        gpu_id=gpu_id,
        show_progress=sys.stderr.isatty(),
    )
    text = json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_text(text + "\n", encoding="utf8")
    if as_json:
        print(text)
    else:
        console = Console()
        console.print(_overall_table(metrics))
        console.print(_type_table(metrics))


def evaluate(
    model: str,
    data: Path,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    gpu_id: int = -1,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Run a pipeline over the texts of annotated documents and score its entities.

    model: a pipeline's folder, or the name of an installed package.
    data: a .spacy file with gold entities; empty documents are counted too.
    resamples, seed: of the bootstrap over documents.
    gpu_id: the GPU to use, -1 for the CPU.
    show_progress: draw a progress bar on stderr.

    RETURNS: what metrics.json holds: the scores of `entity_scores`, the 95 % ``intervals`` of all
        that are ratios as (low, high), the numbers of ``documents`` and of ``tokens`` as the
        pipeline made them, ``words_per_second`` (tokens per second of wall time, from text to
        entities), and the settings.
    RAISES ClinicalNerError: the pipeline cannot be loaded or has no entity recognizer, the GPU
        cannot be used, or the data are missing, unreadable, or without entities.
    """
    use_gpu(gpu_id)
    nlp = load_pipeline(model)
    references = read_docbin(data, nlp.vocab)
    if not any(reference.ents for reference in references):
        raise ClinicalNerError(Errors.E213.format(path=data))
    for index, reference in enumerate(references):
        length = len(reference.text)
        if length > nlp.max_length and not reference.has_unknown_spaces:
            id_ = reference.user_data.get(DOCUMENT_ID, index)
            raise ClinicalNerError(
                Errors.E215.format(path=data, document=id_, length=length, limit=nlp.max_length)
            )

    run = _Run(nlp)
    examples: Iterator[Example] = run.predict(references)
    if show_progress:
        examples = iter(
            track(examples, "Predicting", len(references), console=Console(stderr=True))
        )
    counts = count_entities(examples)
    if not run.entities and not _declares_entities(nlp):
        components = ", ".join(nlp.pipe_names) or "none"
        raise ClinicalNerError(Errors.E212.format(model=model, components=components))

    weights = resample_weights(len(references), resamples=resamples, seed=seed)
    return {
        **entity_scores(counts),
        "intervals": intervals(entity_statistics(counts, weights)),
        "documents": len(references),
        "tokens": run.tokens,
        "words_per_second": run.tokens / run.seconds,
        "model": model,
        "data": str(data),
        "resamples": resamples,
        "seed": seed,
    }


class _Run:
    """One pass of a pipeline over documents; its totals are complete when `predict` is exhausted.

    Examples are handed on one by one, since the transformer's output that each predicted document
    carries would fill the memory if all were kept.
    """

    def __init__(self, nlp: Language) -> None:
        self.nlp = nlp
        self.tokens = 0
        self.entities = 0
        self.seconds = 0.0

    def predict(self, references: list[Doc]) -> Iterator[Example]:
        """Yield one example per reference, in order; only the pipeline's own time is taken."""
        predictions = self.nlp.pipe(map(self._unannotated, references))
        for reference in references:
            start = time.perf_counter()
            predicted = next(predictions)
            self.seconds += time.perf_counter() - start
            self.tokens += len(predicted)
            self.entities += len(predicted.ents)
            yield Example(predicted, reference)

    def _unannotated(self, reference: Doc) -> Doc:
        """Tokenize the text, or take gold's words where the spaces between them are unknown."""
        if not reference.has_unknown_spaces:
            return self.nlp.make_doc(reference.text)
        words = [token.text for token in reference]
        return Doc(self.nlp.vocab, words=words, spaces=[bool(t.whitespace_) for t in reference])


def load_pipeline(model: str) -> Language:
    """Load a pipeline by folder or package name.

    RAISES ClinicalNerError: it is neither, or what is there cannot be loaded.
    """
    is_folder = (Path(model) / "config.cfg").is_file()
    if not is_folder and not _is_pipeline_package(model):
        raise ClinicalNerError(Errors.E210.format(model=model))
    # What spaCy raises for a component, a file or a distribution that is missing, and for a config
    # that does not validate.
    try:
        return spacy.load(Path(model) if is_folder else model)
    except (ImportError, KeyError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ClinicalNerError(Errors.E211.format(model=model, reason=reason)) from error


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


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _overall_table(metrics: dict[str, Any]) -> Table:
    """The scores over all types with their intervals."""
    title = f"{metrics['documents']} documents, {metrics['tokens']} tokens"
    table = Table(title=f"{title}, {metrics['words_per_second']:.0f} tokens per second")
    table.add_column("Score")
    table.add_column("Value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, score in TITLES.items():
        interval = metrics["intervals"][name]
        ends = "n/a" if interval is None else " to ".join(map(_number, interval))
        if name == "ents_macro_f":
            score = f"{score} ({metrics['ents_macro_types']} types)"
        table.add_row(score, _number(metrics[name]), ends)
    return table


def _type_table(metrics: dict[str, Any]) -> Table:
    """The scores of each type, the commonest in gold first."""
    table = Table("Type", title="Per type")
    for header in ("P", "R", "F1", "Support", "Predicted"):
        table.add_column(header, justify="right")
    per_type: dict[str, dict[str, Any]] = metrics["ents_per_type"]
    for label, of in sorted(per_type.items(), key=lambda item: (-item[1]["support"], item[0])):
        numbers = [_number(of[key]) for key in ("p", "r", "f")]
        table.add_row(Text(label), *numbers, str(of["support"]), str(of["predicted"]))
    return table
