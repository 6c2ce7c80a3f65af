"""clinical-ner neighbours: mix the tags of similar training tokens into the probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..errors import check_number
from ..fitting.add_neighbours import add_neighbours
from ._app import app
from ._shared import AsJson, Dev, GpuId, Model, Output, columns, number, print_report, track, usage

#: Scores of the table, and their digits.
TITLES = {
    "nll": ("negative log-likelihood of the gold tag, nats", 4),
    "ents_f": ("F1, micro", 4),
    "ents_macro_f": ("F1, macro", 4),
    "token_ece": ("calibration error of tokens", 4),
    "tokens_per_second": ("tokens per second", 0),
}


@app.command("neighbours", no_args_is_help=True)
def neighbours_cli(
    model: Model,
    train: Annotated[
        Path,
        typer.Argument(metavar="TRAIN.spacy", help="Documents whose tokens fill the datastore."),
    ],
    dev: Dev,
    output: Output,
    max_k: int = typer.Option(64, min=1, help="Largest number of neighbours to try."),
    outside_ratio: float = typer.Option(
        1.0, help="Vectors of O to keep at most, per vector of an entity token."
    ),
    seed: int = typer.Option(0, min=0, help="Seed of the choice among those of O."),
    if_asked: bool = typer.Option(
        False,
        "--if-asked",
        help="Write MODEL as it is, unless its recipe asks for neighbours ([neighbours] add).",
    ),
    gpu_id: GpuId = -1,
    as_json: AsJson = False,
) -> None:
    """Mix the tags of the nearest training tokens into a pipeline's probabilities.

    p = r * p_knn + (1 - r) * p, where p_knn is by the k training tokens with the nearest vectors.
    k, r and the temperature are those under which the gold tags of DEV are likeliest. If the best
    r is 0, neighbours do not help: the pipeline is then written without them. A pipeline with
    overlaps is refused, since its tokens may have several tags.

    The datastore holds no words, but its vectors derive from the notes of TRAIN: keep the pipeline,
    and a wheel made of it, as you keep these.

    \b
    Example:
      clinical-ner neighbours training/model-best corpus/train.spacy corpus/dev.spacy \\
        training/model-knn
    """
    with usage("'--outside-ratio'"):
        check_number("outside_ratio", outside_ratio, above=0)
    report = add_neighbours(
        model,
        train,
        dev,
        output,
        max_k=max_k,
        outside_ratio=outside_ratio,
        seed=seed,
        if_asked=if_asked,
        gpu_id=gpu_id,
        track=track,
    )
    print_report(report, _content(report), as_json=as_json)


def _content(report: Mapping[str, Any]) -> Iterator[Table | str]:
    if report["neighbours_help"] is None:
        yield (
            f"The recipe of MODEL does not ask for neighbours. Written as it is: {report['output']}"
        )
        return
    vectors = report["entity_vectors"] + report["outside_vectors"]
    yield (
        f"Datastore: {vectors} vectors, {report['entity_vectors']} of entity tokens and "
        f"{report['outside_vectors']} of {report['outside_tokens']} of O; "
        f"{report['megabytes']:.1f} MB."
    )
    if report["dev_documents_in_train"]:
        yield (
            f"Careful: {report['dev_documents_in_train']} documents of DEV are in TRAIN, too. "
            "Their tokens find themselves, so the settings trust neighbours too much."
        )
    title = f"{report['dev_tokens']} tokens of DEV, which chose the settings"
    table = columns("Score", right=("before", "after"), title=title)
    for name, (text, digits) in TITLES.items():
        cells = [_cell(report[column], name, digits) for column in ("before", "after")]
        table.add_row(text, *cells)
    yield table
    if report["neighbours_help"]:
        yield (
            f"k = {report['k']}, r = {report['mixing']:g}, temperature = "
            f"{report['temperature']:.4g}. Written with them: {report['output']}"
        )
    else:
        yield (
            "r = 0: neighbours do not help this pipeline. Written without a datastore, so it "
            f"predicts as MODEL does without one: {report['output']}"
        )
    if report["calibration_dropped"]:
        yield (
            "The calibration of MODEL was dropped, since its probabilities changed: run "
            "clinical-ner calibrate on the new pipeline."
        )


def _cell(scores: Mapping[str, Any] | None, name: str, digits: int) -> str:
    if scores is None:
        return "-"
    if name == "nll" and scores[name] is None:
        return "infinite"
    return number(scores[name], digits)
