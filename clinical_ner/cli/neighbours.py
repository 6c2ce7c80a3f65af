"""clinical-ner neighbours: mix the tags of similar training tokens into a pipeline's probabilities.

The datastore that is written holds no words, but its vectors derive from the training notes: it is
to be kept as they are.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spacy.language import Language
from spacy.tokens import Doc

from ..data.read_gold import read_gold_for
from ..errors import ClinicalNerError, ConfigError, InputError
from ..evaluation.labelled_tokens import LabelledTokens, labelled_tokens
from ..evaluation.one_pass_counts import evaluate_pipeline
from ..fitting.fit_neighbours import NeighboursFit, fit_neighbours
from ..neighbours.datastore import Datastore, half_precision
from ..pipeline.gpu import use_gpu
from ..pipeline.only_recognizer import only_recognizer
from ..pipeline.pipeline_folder import check_output, write_pipeline
from ..pipeline.recognizer import ClinicalNer
from ..scoring.evaluation import evaluation_scores
from ..tags.scheme import OUTSIDE
from ._app import app
from .evaluate import load_pipeline

#: Passes over DEV with and without neighbours, in turn, behind the two speeds.
PAIRS = 2
TITLES = {
    "nll": ("negative log-likelihood of the gold tag, nats", 4),
    "ents_f": ("F1, micro", 4),
    "ents_macro_f": ("F1, macro", 4),
    "token_ece": ("calibration error of tokens", 4),
    "tokens_per_second": ("tokens per second", 0),
}


@app.command("neighbours", no_args_is_help=True)
def neighbours_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    train: Path = typer.Argument(
        ..., metavar="TRAIN.spacy", help="Documents whose tokens fill the datastore."
    ),
    dev: Path = typer.Argument(
        ..., metavar="DEV.spacy", help="Documents that choose k, r and the temperature."
    ),
    output: Path = typer.Argument(
        ..., metavar="OUTPUT", help="Folder for the new pipeline; MODEL stays as it is."
    ),
    max_k: int = typer.Option(64, "--max-k", min=1, help="Largest number of neighbours to try."),
    outside_ratio: float = typer.Option(
        1.0, "--outside-ratio", help="Vectors of O to keep at most, per vector of an entity token."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the choice among those of O."),
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON on stdout."),
) -> None:
    """Mix the tags of the nearest training tokens into a pipeline's probabilities.

    p = r * p_knn + (1 - r) * p, where p_knn is by the k training tokens with the nearest vectors.
    k, r and the temperature are those under which the gold tags of DEV are likeliest. If the best
    r is 0, neighbours do not help: the pipeline is then written without them.

    The datastore holds no words, but its vectors derive from the notes of TRAIN: keep the pipeline,
    and a wheel made of it, as you keep these.

    \b
    Example:
      clinical-ner neighbours training/model-best corpus/train.spacy corpus/dev.spacy \\
        training/model-knn
    """
    if not outside_ratio > 0 or math.isinf(outside_ratio):
        raise typer.BadParameter("must be a number above 0", param_hint="'--outside-ratio'")
    report = neighbours(
        model,
        train,
        dev,
        output,
        max_k=max_k,
        outside_ratio=outside_ratio,
        seed=seed,
        gpu_id=gpu_id,
        show_progress=sys.stderr.isatty(),
    )
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
    else:
        _print(report)


def neighbours(
    model: str,
    train: Path,
    dev: Path,
    output: Path,
    *,
    max_k: int = 64,
    outside_ratio: float = 1.0,
    seed: int = 0,
    gpu_id: int = -1,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Fill a datastore, fit its settings, and write the pipeline with it to another folder.

    Neighbours that the pipeline has already are replaced, and have no part in what is compared.
    A calibration is dropped: it was fitted for other probabilities.

    model: a pipeline's folder, or the name of an installed package.
    train: gold documents whose tokens fill the datastore, as a rule those of training.
    dev: gold documents to fit on, none of which should be in ``train``.
    output: folder of the new pipeline; an existing pipeline is replaced. If neighbours do not
        help, it is written without them.
    max_k: the largest number of neighbours to try.
    outside_ratio, seed: see ``Datastore.build``.
    gpu_id: the GPU to use, -1 for the CPU; the search is always on the CPU.
    show_progress: draw progress bars on stderr.

    RETURNS: whether ``neighbours_help``, and ``calibration_dropped``; the number of vectors by
        kind, and their size; the settings; the scores on ``dev`` and the speed ``before`` and
        ``after``, the latter None if they do not help. A likelihood is None where a gold tag has
        probability 0. The fit has seen ``dev``, so what is gained there flatters.
    RAISES ClinicalNerError: an input is missing or not what it should be, the two corpora are the
        same, the output would destroy an input, or k exceeds the datastore. Nothing is written
        then.
    """
    if train.exists() and dev.exists() and train.samefile(dev):
        raise InputError(
            f"{dev}: holds the same documents as {train}, where every token would find itself. "
            "Name documents that were not trained on."
        )
    check_output(output, inputs=[Path(model), train, dev])
    use_gpu(gpu_id)
    nlp = load_pipeline(model)
    # Where the name is a package's, this is the folder inside it.
    check_output(output, inputs=[nlp.path])
    name, component = only_recognizer(nlp, model)
    if not component.loss.has_posterior:
        raise ConfigError(
            f"Loss '{type(component.loss).__name__}' does not lead back to the empirical "
            f"probability, so component '{name}' has none to mix with that of the neighbours: "
            "train with a loss, and a reduction, that does."
        )
    was_calibrated = component.calibration is not None
    # Of the probabilities that are about to change; first, so that dropping it is no surprise.
    component.calibration = None
    nlp.meta.pop("calibration", None)
    component.neighbours = None
    train_docs, dev_docs = read_gold_for(train, nlp), read_gold_for(dev, nlp)
    shared = _shared_documents(train_docs, dev_docs)
    if shared == sum(len(doc) > 0 for doc in dev_docs):
        raise InputError(
            f"{dev}: holds the same documents as {train}, where every token would find itself. "
            "Name documents that were not trained on."
        )

    def tokens_of(path: Path, docs: Sequence[Doc]) -> Iterator[LabelledTokens]:
        found: Iterable[LabelledTokens] = labelled_tokens(nlp, name, docs)
        if show_progress:
            found = track(found, path.name, len(docs), console=Console(stderr=True))
        try:
            yield from found
        except ClinicalNerError as error:
            # What a component refuses, it refuses without knowing of which file.
            raise ClinicalNerError(f"{error} (In {path}.)") from error

    found = tokens_of(train, train_docs)
    datastore, outside_tokens = _fill(
        found, train, component, outside_ratio=outside_ratio, seed=seed
    )
    if max_k > len(datastore):
        raise InputError(
            f"{max_k} neighbours were asked for, but the datastore has {len(datastore)} vectors: "
            "ask for fewer (--max-k), or give more training documents."
        )
    fit = _fit(tokens_of(dev, dev_docs), dev, datastore, max_k=max_k)
    helps = fit.neighbours.mixing > 0
    before, after = _measure(nlp, component, dev_docs, fit)
    component.neighbours = fit.neighbours if helps else None
    write_pipeline(nlp, output, scores=after or before)
    outside_vectors = int((datastore.tags == OUTSIDE).sum())
    return {
        "neighbours_help": helps,
        "calibration_dropped": was_calibrated,
        "entity_vectors": len(datastore) - outside_vectors,
        "outside_vectors": outside_vectors,
        "outside_tokens": outside_tokens,
        "megabytes": datastore.nbytes / 1e6,
        "k": fit.neighbours.k if helps else None,
        "mixing": fit.neighbours.mixing,
        "temperature": fit.neighbours.temperature if helps else None,
        "before": before,
        "after": after,
        "dev_tokens": fit.tokens,
        "dev_tokens_without_vector": fit.unseen,
        "dev_documents_in_train": shared,
        "model": model,
        "train": str(train),
        "dev": str(dev),
        "output": str(output),
        "max_k": max_k,
        "outside_ratio": outside_ratio,
        "seed": seed,
    }


def _shared_documents(train: Sequence[Doc], dev: Sequence[Doc]) -> int:
    """Number of documents with tokens in `dev` whose text stands in `train`, too."""
    texts = {doc.text for doc in train}
    return sum(len(doc) > 0 and doc.text in texts for doc in dev)


def _fill(
    found: Iterable[LabelledTokens],
    path: Path,
    component: ClinicalNer,
    *,
    outside_ratio: float,
    seed: int,
) -> tuple[Datastore, int]:
    """A datastore of labelled tokens, and the number of those of O before the choice."""
    vectors, gold = [], []
    for tokens in found:
        # As the datastore will hold them, since a large corpus must fit the memory until then.
        vectors.append(half_precision(tokens.vectors))
        gold.append(tokens.gold)
    tags = np.concatenate(gold)
    if len(tags) == 0:
        raise InputError(
            f"{path}: holds no token with a known gold tag. Name a file with gold annotations."
        )
    datastore = Datastore.build(
        np.concatenate(vectors),
        tags,
        n_tags=len(component.statistics.tags),
        outside_ratio=outside_ratio,
        seed=seed,
    )
    return datastore, int((tags == OUTSIDE).sum())


def _fit(
    found: Iterable[LabelledTokens], path: Path, datastore: Datastore, *, max_k: int
) -> NeighboursFit:
    vectors, log_probs, gold = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    if len(gold) == 0:
        raise InputError(
            f"{path}: holds no token with a known gold tag. Name a file with gold annotations."
        )
    return fit_neighbours(datastore, log_probs, vectors, gold, max_k=max_k)


def _measure(
    nlp: Language, component: ClinicalNer, docs: Sequence[Doc], fit: NeighboursFit
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Scores and speed without and with neighbours; None if they do not help."""
    helps = fit.neighbours.mixing > 0
    variants = [(None, fit.nll_before), (fit.neighbours, fit.nll_after)][: 1 + helps]
    found: list[dict[str, Any]] = [{} for _ in variants]
    seconds = [0.0 for _ in variants]
    tokens = [0 for _ in variants]
    # In turn, so that what else the machine does falls on both.
    for _ in range(PAIRS):
        for i, (neighbours_, nll) in enumerate(variants):
            component.neighbours = neighbours_
            evaluation = evaluate_pipeline(nlp, docs)
            seconds[i] += evaluation.seconds
            tokens[i] += evaluation.tokens
            found[i] = {
                **evaluation_scores(evaluation.counts),
                "nll": nll if math.isfinite(nll) else None,
                "tokens_per_second": tokens[i] / seconds[i],
            }
    return found[0], found[1] if helps else None


def _print(report: dict[str, Any]) -> None:
    vectors = report["entity_vectors"] + report["outside_vectors"]
    console = Console(soft_wrap=True)
    console.print(
        f"Datastore: {vectors} vectors, {report['entity_vectors']} of entity tokens and "
        f"{report['outside_vectors']} of {report['outside_tokens']} of O; "
        f"{report['megabytes']:.1f} MB.",
        highlight=False,
    )
    if report["dev_documents_in_train"]:
        console.print(
            f"Careful: {report['dev_documents_in_train']} documents of DEV stand in TRAIN, too. "
            "Their tokens find themselves, so the settings trust neighbours too much.",
            highlight=False,
        )
    title = f"{report['dev_tokens']} tokens of DEV, which chose the settings"
    table = Table("Score", title=title)
    for header in ("before", "after"):
        table.add_column(header, justify="right")
    for name, (text, digits) in TITLES.items():
        cells = [_number(report[column], name, digits) for column in ("before", "after")]
        table.add_row(text, *cells)
    console.print(table)
    if report["neighbours_help"]:
        end = (
            f"k = {report['k']}, r = {report['mixing']:g}, temperature = "
            f"{report['temperature']:.4g}. Written with them: {report['output']}"
        )
    else:
        end = (
            "r = 0: neighbours do not help this pipeline. Written without a datastore, so it "
            f"predicts as MODEL does without one: {report['output']}"
        )
    console.print(end, highlight=False, markup=False)
    if report["calibration_dropped"]:
        console.print(
            "The calibration of MODEL was dropped, since probabilities are others now: run "
            "clinical-ner calibrate on the new pipeline.",
            highlight=False,
        )


def _number(scores: dict[str, Any] | None, name: str, digits: int) -> str:
    if scores is None:
        return "-"
    value = scores[name]
    if value is None:
        return "infinite" if name == "nll" else "n/a"
    return f"{value:.{digits}f}"
