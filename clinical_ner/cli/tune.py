"""clinical-ner tune: thresholds per label, and the prior strength, chosen on held-out documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from ..errors import shown_label
from ..fitting.promise import Promise, check_confidence
from ..fitting.thresholds import Objective
from ..fitting.tune import tune
from ._app import app
from ._shared import (
    AsJson,
    GpuId,
    HeldOut,
    Model,
    Output,
    columns,
    number,
    parse_strengths,
    print_report,
    track,
    usage,
    warn,
)

TITLES = {
    "p": "precision, micro",
    "r": "recall, micro",
    "f": "F1, micro",
    "macro_r": "recall, macro",
    "macro_f": "F1, macro",
}


@app.command("tune", no_args_is_help=True)
def tune_cli(
    model: Model,
    dev: HeldOut,
    output: Output,
    objective: str = typer.Option(
        "macro_f",
        help="macro_f: the best F1 of every label. recall@precision=P: the best recall of every "
        "label at a precision of at least P, above 0 and at most 1.",
    ),
    confidence: float | None = typer.Option(
        None,
        help="Promise the precision of the objective on documents like those of DEV, with this "
        "confidence, above 0 and below 1; see below.",
    ),
    prior_strengths: str = typer.Option(
        "", help="Prior strengths in [0, 1] to choose from, with commas; by default MODEL's own."
    ),
    min_support: int = typer.Option(
        10,
        min=1,
        help="Labels with fewer predicted entities share the threshold of those about as common "
        "in training.",
    ),
    gpu_id: GpuId = -1,
    as_json: AsJson = False,
) -> None:
    """Choose which entities a pipeline makes, by their probabilities, on held-out documents.

    A threshold drops the entities of one label whose probability is below it. Every label's is
    searched on DEV; those that MODEL has are replaced. Where --prior-strengths names several, the
    one whose thresholds give the best mean over the labels of gold (of F1, or of recall) is kept
    with them. No probability changes, so this can be repeated for another objective. Of a pipeline
    with overlaps, all spans that it finds are held against all mentions of gold, which convert puts
    into doc.spans["gold_all"].

    Calibrate first: thresholds act on calibrated probabilities. DEV chose the thresholds, so its
    scores flatter them: evaluate on other documents. DEV may be the folder of clinical-ner folds:
    then the predictions are those of its models, each for the documents that it did not see.

    With --confidence, thresholds are those of groups of labels about as common in training, and
    strict enough that each group's entities together keep the precision on new documents, too; all
    groups at once with this confidence. A group for which DEV has too little evidence is named,
    with the number of documents that it would take, and gets the thresholds that it has without.

    \b
    Examples:
      clinical-ner tune training/model-final corpus/dev.spacy training/model-tuned \\
        --objective recall@precision=0.9 --prior-strengths 1,0.75,0.5
      clinical-ner tune training/model-final corpus/dev.spacy training/model-tuned \\
        --objective recall@precision=0.9 --confidence 0.9
    """
    with usage("'--objective'"):
        parsed = Objective.parse(objective)
    if confidence is not None:
        with usage("'--confidence'"):
            check_confidence(confidence, parsed)
    report = tune(
        model,
        dev,
        output,
        objective=parsed,
        confidence=confidence,
        prior_strengths=parse_strengths(prior_strengths),
        min_support=min_support,
        gpu_id=gpu_id,
        track=track,
    )
    if not report["calibrated"]:
        warn(
            "MODEL is not calibrated. Its thresholds hold for its raw probabilities, so "
            "calibrating it later would make them wrong."
        )
    promises = [Promise(**of) for of in (report["promise"] or {"groups": ()})["groups"]]
    for promise in (of for of in promises if of.threshold is None):
        warn(f"No promise for {', '.join(map(shown_label, promise.labels))}: {promise.refusal}.")
    print_report(report, _content(report, promises), as_json=as_json)


def _content(report: Mapping[str, Any], promises: Iterable[Promise]) -> Iterator[Table | str]:
    table = Table("Label", title=f"{report['documents']} documents of DEV, before > after")
    for header in ("Threshold", "From", "Gold", "P", "R", "F1"):
        table.add_column(header, justify="left" if header == "From" else "right")
    labels = sorted(report["labels"].items(), key=lambda of: (-of[1]["after"]["support"], of[0]))
    for label, row in labels:
        table.add_row(
            Text(shown_label(label)),
            f"{row['threshold']:.4f}" if row["threshold"] else "none",
            row["source"] or "-",
            str(row["after"]["support"]),
            *(
                " > ".join(number(row[when][key], 3) for when in ("before", "after"))
                for key in ("p", "r", "f")
            ),
        )
    yield table
    # Of a pipeline with overlaps all spans are scored.
    prefix, over = ("spans", ", all spans") if "spans_f" in report["after"] else ("ents", "")
    table = columns("Score", right=("before", "after"), title=f"All labels{over}")
    for key, title in TITLES.items():
        values = (number(report[when][f"{prefix}_{key}"]) for when in ("before", "after"))
        table.add_row(title, *values)
    yield table
    if report["promise"]:
        yield (
            f"Promised with confidence {report['promise']['confidence']:g}, for all of these "
            f"groups at once: {report['objective'].partition('@')[2].replace('=', ' of at least ')}"
            " on documents like those of DEV."
        )
        headers = ("Threshold", "Kept", "Right", "At least", "Recall")
        table = columns("Labels, their entities together", right=headers, title="Promises")
        for promise in (of for of in promises if of.threshold is not None):
            table.add_row(
                Text(", ".join(map(shown_label, promise.labels))),
                number(promise.threshold),
                str(promise.kept),
                *(number(of, 3) for of in (promise.precision, promise.bound, promise.recall)),
            )
        yield table
    chosen = f"prior_strength = {report['prior_strength']:g}"
    if len(report["prior_strengths"]) > 1:
        tried = (f"{s} ({value:.4f})" for s, value in report["prior_strengths"].items())
        of = "recall" if report["objective"] != "macro_f" else "F1"
        chosen += f", by macro {of} of {', '.join(tried)}"
    yield chosen
    if report["silenced"]:
        silenced = ", ".join(report["silenced"])
        yield f"Silenced, since no threshold reaches the precision on DEV: {silenced}"
    if not report["calibrated"]:
        yield "The probabilities are not calibrated."
    yield "DEV chose the thresholds, so these scores flatter them: evaluate on test."
    yield f"Written: {report['output']}"
