"""``clinical-ner info``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.console import RenderableType

from ..errors import shown, shown_label
from ..pipeline.info import model_info
from ._app import app
from ._shared import AsJson, Model, columns, number, print_report


@app.command("info", no_args_is_help=True)
def info_cli(
    model: Model,
    verify: bool = typer.Option(
        False, "--verify", help="Compare the checksums of all files, and load the model."
    ),
    as_json: AsJson = False,
) -> None:
    """Show what a model is, and with --verify whether it is what was saved.

    With --verify the exit code is 1 if a file is missing or changed, or if the model cannot be
    loaded or its parts were not saved together. Other versions than it was trained with are shown,
    and are no error.

    \b
    Example:
      clinical-ner info training/model-final --verify
    """
    report = model_info(model, check=verify)
    print_report(report, _content(report), as_json=as_json)
    raise typer.Exit(code=1 if report["verified"] is False else 0)


def _content(report: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    finished = "" if report["finished"] else ", its training did not end"
    yield f"{shown(report['name'])} {shown(report['version'])}{finished}"
    table = columns("Package", right=("trained with", "running with"), title="Versions")
    for package, of in report["versions"].items():
        table.add_row(
            shown(package), *(shown(of[key] or "?") for key in ("trained_with", "running"))
        )
    yield table
    scores = columns("Score", right=("value",), title="Scores")
    for name, score in report["scores"].items():
        scores.add_row(shown(name), number(score))
    yield scores
    for component, labels in report["labels"].items():
        yield f"Labels of {shown(component)}: {', '.join(map(shown_label, labels))}"
    yield f"Data: {', '.join(shown(name, words=9) for name in report['data']) or 'not stated'}"
    for component, of in report["calibration"].items():
        yield f"Calibration of {shown(component)}: on {shown(of.get('documents'))} documents"
    if not report["calibration"]:
        yield "Calibration: none"
    stated = "SHA256SUMS" if report["checksums"] else "none"
    state = {None: "not verified", True: "verified", False: "damaged or changed"}
    yield f"Checksums: {stated}; {state[report['verified']]}"
    yield from (f"Mismatch: {line}" for line in report["mismatches"])
