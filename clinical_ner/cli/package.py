"""``clinical-ner package``: from a trained pipeline to two wheels that install without an index."""

from __future__ import annotations

from pathlib import Path

import typer

from ..packaging.package import check_name, check_version, package
from ._app import app
from ._shared import usage


@app.command("package", no_args_is_help=True)
def package_cli(
    model: Path = typer.Argument(..., metavar="MODEL_DIR", help="Trained pipeline."),
    output: Path = typer.Argument(..., metavar="OUT_DIR", help="Folder for the two wheels."),
    metrics: Path = typer.Option(
        ..., help="metrics.json of clinical-ner evaluate; its scores go into meta.json."
    ),
    corpus: Path = typer.Option(
        ...,
        help="The annotated corpus, whose words the wheel must not hold; its README.md may state "
        "a name, a license and a guideline.",
    ),
    library: Path = typer.Option(
        Path("."), help="Source folder of clinical_ner, from which its own wheel is built."
    ),
    name: str = typer.Option("clinical_ner", help="Name of the model, without the language."),
    version: str = typer.Option("0.1.0", help="Version of the model."),
    audit: Path | None = typer.Option(
        None, help="File of clinical-ner audit --output; its membership goes into the card."
    ),
    definitions: Path | None = typer.Option(
        None,
        help="File with a table of labels and their definitions, for the card; by default the "
        "guideline of the corpus.",
    ),
    allow_training_strings: bool = typer.Option(
        False,
        "--allow-training-strings",
        help="Do not search the wheel for words of the corpus, which is public.",
    ),
) -> None:
    """Build the wheel of a model and that of clinical_ner, which it needs.

    Wheels of other versions of the two in OUT_DIR are removed: pip, given both, refuses.

    \b
    Example:
      clinical-ner package training/model-final packages \\
        --metrics metrics/test.json --corpus corpus/case_reports
    """
    with usage("'--name'"):
        check_name(name)
    with usage("'--version'"):
        check_version(version)
    wheels = package(
        *(model, output),
        **{"metrics": metrics, "corpus": corpus, "library": library},
        name=name,
        version=version,
        audit_report=audit,
        definitions=definitions,
        allow_training_strings=allow_training_strings,
    )
    for wheel in wheels:
        typer.echo(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"Install both in one command: pip install {wheels[0]} {wheels[1]}")
