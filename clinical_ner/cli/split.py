"""clinical-ner split: annotated documents into train, dev and test, once or in folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from ..data.split.split import FOLD, TEST, compiled, split, split_folds
from ..data.split.split_report import UNMET
from ..data.split.stratify import split_shares
from ..errors import ClinicalNerError
from ._app import app
from ._split_tables import fold_tables, gap_lines, parts_table


@app.command("split")
def split_cli(
    source: Path = typer.Argument(
        ..., metavar="IN", help="The documents to divide: a .spacy file, or a folder of such files."
    ),
    out_dir: Path = typer.Argument(..., metavar="OUT_DIR", help="Folder of the output files."),
    dev: float = typer.Option(
        0.1,
        "--dev",
        help="Share of the documents for dev, in [0, 1); of those not in test, of folds.",
    ),
    test: float | None = typer.Option(
        None, "--test", help=f"Share of the documents for test, in [0, 1): {TEST} if not given."
    ),
    seed: int = typer.Option(0, "--seed", min=0, max=2**32 - 1, help="Seed of the division."),
    folds: int | None = typer.Option(
        None, "--folds", min=2, metavar="K", help="Divide for a cross-validation with K tests."
    ),
    group_by: str | None = typer.Option(
        None,
        "--group-by",
        metavar="REGEX",
        help="Keep documents together whose ids give the same first capture group, or without one "
        "the same match, as in '^(patient\\d+)_'.",
    ),
) -> None:
    """Divide annotated documents into train, dev and test.

    Whole documents go to one part each, so that every part holds its share of each entity type.
    Documents are then exchanged until no exchange puts a type into a part that lacks it; types
    that are still not in every part are named. Writes train.spacy, dev.spacy, test.spacy and
    split.json (seed, shares, document ids, and by type the entities and documents of each part)
    into OUT_DIR; a part with share 0 becomes an empty file. With --folds K these are in
    OUT_DIR/fold-1 to OUT_DIR/fold-K, and each document is in the test of one fold.

    \b
    Examples:
      clinical-ner split corpus/all.spacy corpus --dev 0.1 --test 0.2 --seed 0
      clinical-ner split corpus/all.spacy folds --folds 5 --group-by '^(patient\\d+)_'
    """
    if folds is not None and test is not None:
        raise typer.BadParameter("with --folds, each test is 1/K", param_hint="'--test'")
    share = 0.0 if folds is not None else TEST if test is None else test
    try:
        split_shares(dev=dev, test=share)
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error), param_hint="'--dev' / '--test'") from error
    try:
        pattern = None if group_by is None else compiled(group_by)
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error), param_hint="'--group-by'") from error
    console = Console()
    if folds is None:
        report = split(source, out_dir, dev=dev, test=share, seed=seed, group_by=pattern)
        console.print(parts_table(report))
        lines = gap_lines(report["not_in_every_part"], parts="part")
    else:
        reports = split_folds(source, out_dir, folds=folds, dev=dev, seed=seed, group_by=pattern)
        for table in fold_tables(reports):
            console.print(table)
        lines = _fold_lines(reports)
    for line in lines:
        print(line)


def _fold_lines(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not in every test; of train and dev, only what should be there."""
    in_tests: dict[str, dict[str, Any]] = {}
    lines = []
    for report in reports:
        name = FOLD.format(report["fold"])
        others = []
        for record in report["not_in_every_part"]:
            if record["missing"] == ["test"]:
                missing = in_tests.setdefault(record["label"], {**record, "missing": []})["missing"]
                missing.append(name)
            elif record["reason"] == UNMET:
                others.append(record)
        lines += gap_lines(others, parts=f"part of {name}")
    return gap_lines(list(in_tests.values()), parts="test") + lines
