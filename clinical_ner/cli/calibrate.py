"""clinical-ner calibrate: make a pipeline's probabilities agree with frequencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.table import Table

from ..fitting.calibrate import calibrate
from ..fitting.fit_tokens import MIN_SUPPORT
from ._app import app
from ._shared import (
    AsJson,
    GpuId,
    HeldOut,
    Model,
    Output,
    columns,
    number,
    print_report,
    track,
    warn,
)

TITLES = {
    "token_ece": "calibration error of tokens",
    "token_nll": "negative log-likelihood of the gold tag, nats",
    "ents_ece": "calibration error of entities",
    "ents_brier": "Brier score of entities",
}


@app.command("calibrate", no_args_is_help=True)
def calibrate_cli(
    model: Model,
    dev: HeldOut,
    output: Output,
    min_support: int = typer.Option(
        MIN_SUPPORT,
        min=1,
        help="Tokens of DEV that a tag needs for a bias of its own; those with fewer have that of "
        "the tags about as common in training.",
    ),
    gpu_id: GpuId = -1,
    as_json: AsJson = False,
) -> None:
    """Make a pipeline's probabilities agree with how often they are right, on held-out documents.

    Three steps are fitted by likelihood. For tokens: one temperature, and a bias per tag. For
    neighbouring tags: one weight of what training tells of them (transitions), unless MODEL sets
    its own. For entities: a monotone map of the probability of a span, which is too large since the
    entity was chosen for it. A calibration that MODEL has is replaced.

    Of a pipeline with overlaps, tokens and entities are fitted on all mentions of gold, which
    convert puts into doc.spans["gold_all"]; it has no transitions.

    What is printed as "after" is of documents that the calibration was fitted without, in turn.

    DEV may be the folder of clinical-ner folds: then it is fitted on the predictions of its models,
    each for the documents that it did not see, and MODEL may have been trained on all of them.

    \b
    Examples:
      clinical-ner calibrate training/model-best corpus/dev.spacy training/model-final
      clinical-ner calibrate training/model-best training/folds training/model-final
    """
    report = calibrate(model, dev, output, min_support=min_support, gpu_id=gpu_id, track=track)
    for warning in report["warnings"]:
        warn(warning)
    print_report(report, _content(report), as_json=as_json)


def _content(report: Mapping[str, Any]) -> Iterator[Table | str]:
    title = f"{report['documents']} documents of DEV, {report['tokens']} tokens"
    table = columns("Score", right=("before", "after, cross-fitted"), title=title)
    for key, text in TITLES.items():
        table.add_row(text, *(number((report[at] or {}).get(key)) for at in ("before", "after")))
    yield table
    yield f"Temperature: {report['temperature']:.4g}"
    yield (
        f"Biases: {report['shared_biases']} of tags about as common, {report['own_biases']} of "
        "single tags"
    )
    gain = report["transitions_gain"]
    yield (
        f"Transitions: weight {report['transitions']:g}; log-likelihood of gold's entities and O "
        f"{gain['document']:+.3g} a document, {gain['token']:+.3g} a token, cross-fitted"
        if report["transitions"]
        else "Transitions: none fitted"
    )
    if report["entity_step"] is None:
        yield "Entity step: none"
    else:
        step = ", ".join(f"{key} {value:.4g}" for key, value in report["entity_step"].items())
        yield (
            f"Entity step: {step}, on {report['spans']} spans of which {report['right_spans']} "
            "are right"
        )
    if report["overlaps"]:
        yield (
            "Entities are all spans, held against all mentions. Tokens are scored by the softmax "
            "over all tags, against the tags of the flat entities."
        )
    yield report["note"]
    yield f"Written: {report['output']}"
