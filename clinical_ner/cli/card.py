"""``clinical-ner card``: what a model is for, how good it is, and where it ends."""

from __future__ import annotations

from pathlib import Path

import typer

from ..packaging.card import card
from ._app import app
from ._shared import Model, Overwrite


@app.command("card", no_args_is_help=True)
def card_cli(
    model: Model,
    metrics: Path | None = typer.Option(
        None, help="Scores of evaluate --output, or of folds, on documents not trained on."
    ),
    audit: Path | None = typer.Option(None, help="File of clinical-ner audit --output."),
    corpus: Path | None = typer.Option(
        None,
        help="Folder of the corpus trained on; its README.md may state a name, a license and a "
        "guideline.",
    ),
    definitions: Path | None = typer.Option(
        None,
        help="File with a table, in Markdown or with tabs: a label first, its definition next. By "
        "default the guideline of the corpus.",
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Markdown file for the card; by default it is printed."
    ),
    overwrite: Overwrite = False,
) -> None:
    """Write the card of a model: use, data, labels, scores, limits and privacy.

    A packaged model holds all of it. One that is not packaged needs --metrics and --corpus. Files
    whose figures are not those of the model are refused.

    \b
    Example:
      clinical-ner card training/model-final --metrics metrics/test.json \\
        --audit metrics/audit.json --corpus corpus/case_reports --output card.md
    """
    text = card(
        model,
        metrics=metrics,
        audit_report=audit,
        corpus=corpus,
        definitions=definitions,
        output=output,
        overwrite=overwrite,
    )
    if output is None:
        typer.echo(text, nl=False)
