"""``clinical-ner predict``: entities of notes of any number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from ..errors import ConfigError, missing_extra
from ._app import app
from ._meter import Meter
from ._shared import AsJson, Model, say

#: Exit codes beside those of every command.
FAILED_NOTES, INTERRUPTED = 3, 130


@app.command("predict", no_args_is_help=True)
def predict_cli(
    model: Model,
    source: str = typer.Argument(
        ...,
        metavar="INPUT",
        help="A folder of .txt files, a .jsonl, .csv or .parquet file, or - for JSON lines on "
        "stdin.",
    ),
    output: Path = typer.Option(
        ...,
        "--output",
        "-o",
        help="A .jsonl, .csv or .parquet file of entities; a .spacy file; or a folder for brat.",
    ),
    to: str | None = typer.Option(
        None, help="omop: a .csv or .parquet file with the columns of NOTE_NLP, OMOP CDM 5.4."
    ),
    id: str = typer.Option("id", "--id", help="Column, or key, of the ids of the notes."),
    text: str = typer.Option("text", "--text", help="Column, or key, of their texts."),
    include_text: bool = typer.Option(
        False, "--include-text", help="Write the text of the entities into the table."
    ),
    labels: str = typer.Option("", help="Labels to keep, with commas; empty: all."),
    min_probability: float = typer.Option(
        0.0, min=0, max=1, help="Drop entities of a lower probability."
    ),
    prior_strength: float | None = typer.Option(
        None, min=0, max=1, help="In place of the model's; below 1 finds more of the rare labels."
    ),
    thresholds: Path | None = typer.Option(
        None, metavar="FILE", help="JSON: by label, its smallest probability; replaces the model's."
    ),
    n_process: int = typer.Option(1, min=1, help="Processes, each with a model of its own."),
    batch_size: int = typer.Option(
        0, min=0, help="Notes that the model gets at a time; 0: as many as it says."
    ),
    errors: str = typer.Option(
        "record",
        help="A note that fails is recorded in the status (record), or ends all (stop).",
    ),
    resume: bool = typer.Option(
        False, "--resume", help="Go on with the run of OUTPUT.parts that was stopped."
    ),
    overwrite: bool = typer.Option(
        False,
        "--overwrite",
        help="Replace OUTPUT, and drop a run that was stopped.",
    ),
    engine: str = typer.Option(
        "local", help="local, or spark: OUTPUT is a folder of Parquet files."
    ),
    master: str | None = typer.Option(
        None, help="Of Spark, such as local[2]; by default that of spark-submit, or local[*]."
    ),
    partitions: int | None = typer.Option(
        None, min=1, help="Parts that Spark deals the notes out to; by default as it reads them."
    ),
    as_json: AsJson = False,
) -> None:
    """Annotate notes, and account for each of them.

    Writes a row for each entity (id, start, end, label, probability, model, model_version; offsets
    count code points), and beside it NAME.status, with a row for each note: ok, empty, or error and
    the type of the exception. Ends with exit code 3 if a note failed.

    Notes are done in shards of 512. If the command is stopped in whatever way, call it again with
    --resume: no note is lost, and none is done twice but those of the shard that was interrupted.

    \b
    Example:
      clinical-ner predict en_clinical_ner notes.csv --output entities.parquet --id note_id
    """
    if errors not in ("record", "stop"):
        raise typer.BadParameter(f"{errors!r} is not one of record, stop", param_hint="'--errors'")
    if to not in (None, "omop"):
        raise typer.BadParameter(f"{to!r} is not omop", param_hint="'--to'")
    if engine not in ("local", "spark"):
        raise typer.BadParameter(f"{engine!r} is not one of local, spark", param_hint="'--engine'")
    if engine == "spark" and (to or resume or n_process > 1 or errors == "stop"):
        raise typer.BadParameter(
            "spark has no --to, --resume, --n-process and --errors stop", param_hint="'--engine'"
        )
    if engine == "local" and (master or partitions):
        raise typer.BadParameter(
            "--master and --partitions go with --engine spark", param_hint="'--engine'"
        )
    if resume and overwrite:
        raise typer.BadParameter("not with --overwrite", param_hint="'--resume'")
    try:
        from ..annotate.annotator import Settings
        from ..annotate.predict import parts_of, predict
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise missing_extra("clinical-ner predict", "pyarrow", "predict") from error
    settings = Settings(
        labels=tuple(of.strip() for of in labels.split(",") if of.strip()),
        min_probability=min_probability,
        prior_strength=prior_strength,
        thresholds=None if thresholds is None else _thresholds(thresholds),
        batch_size=batch_size,
    )
    columns: dict[str, Any] = {"id": id, "text": text, "include_text": include_text}
    try:
        if engine == "spark":
            from ..annotate.spark import predict_with_spark

            report = predict_with_spark(
                *(model, Path(source), output, settings),
                **columns,
                overwrite=overwrite,
                master=master,
                partitions=partitions,
            )
        else:
            with Meter(source) as meter:
                report = predict(
                    *(model, source, output),
                    **columns,
                    to=to,
                    settings=settings,
                    n_process=n_process,
                    errors=errors,
                    resume=resume,
                    overwrite=overwrite,
                    tell=meter.add,
                )
    except KeyboardInterrupt:
        parts = parts_of(output)
        kept = f"what is done is in {parts}: --resume goes on" if parts.exists() else "none is done"
        say(f"clinical-ner: stopped; {kept}.")
        raise typer.Exit(INTERRUPTED) from None
    _end(report, as_json=as_json)


def _end(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True))
    else:
        _print(report)
    if report["status"].get("error"):
        raise typer.Exit(FAILED_NOTES)


def _thresholds(path: Path) -> tuple[tuple[str, float], ...]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError
        return tuple(sorted((str(label), float(value)) for label, value in found.items()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f'{path}: is not a JSON object of labels and numbers, as {{"Drug": 0.8}}.'
        ) from error


def _print(report: dict[str, Any]) -> None:
    states = ", ".join(f"{count} {state}" for state, count in sorted(report["status"].items()))
    words = f", {report['words']} words" if "words" in report else ""
    print(f"{report['notes']} notes ({states or 'none'}){words}")
    for name, count in sorted(report["errors"].items()):
        print(f"  {count} x {name}")
    status = f", status in {report['status_file']}" if "status_file" in report else ""
    print(f"{report['entities']} entities in {report['output']}{status}")
