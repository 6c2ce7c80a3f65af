"""clinical-ner split: annotated documents into train, dev and test, once or in folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..data.split.split import FOLD, TEST, compiled, split, split_folds
from ..data.split.split_report import UNMET
from ..data.split.stratify import PARTS, split_shares
from ..errors import shown_label
from ..training.recipes import has_overlaps, read_recipe
from ._app import app
from ._shared import Overwrite, columns, print_content, usage

#: So many folds fit beside each other on a terminal of 80 columns.
FOLDS_PER_TABLE = 5


@app.command("split")
def split_cli(
    source: Path = typer.Argument(
        ..., metavar="IN", help="The documents to divide: a .spacy file, or a folder of such files."
    ),
    out_dir: Path = typer.Argument(..., metavar="OUT_DIR", help="Folder of the output files."),
    dev: float = typer.Option(
        0.1, help="Share of the documents for dev, in [0, 1); of those not in test, of folds."
    ),
    test: float | None = typer.Option(
        None, help=f"Share of the documents for test, in [0, 1): {TEST} if not given."
    ),
    seed: int = typer.Option(0, min=0, max=2**32 - 1, help="Seed of the division."),
    folds: int | None = typer.Option(
        None, min=2, metavar="K", help="Divide for a cross-validation with K tests."
    ),
    group_by: str | None = typer.Option(
        None,
        metavar="REGEX",
        help="Keep documents together whose ids give the same first capture group, or without one "
        "the same match, as in '^(patient\\d+)_'.",
    ),
    overlaps: bool = typer.Option(
        False, "--overlaps", help="Count all mentions, not the flat entities chosen from them."
    ),
    config: str | None = typer.Option(
        None, "--config", metavar="RECIPE", help="--overlaps if this recipe of train has overlaps."
    ),
    overwrite: Overwrite = False,
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
      clinical-ner split corpus/all.spacy corpus --overlaps
      clinical-ner split corpus/all.spacy folds --folds 5 --group-by '^(patient\\d+)_'
    """
    if folds is not None and test is not None:
        raise typer.BadParameter("with --folds, each test is 1/K", param_hint="'--test'")
    share = 0.0 if folds is not None else TEST if test is None else test
    with usage("'--dev' / '--test'"):
        split_shares(dev=dev, test=share)
    with usage("'--group-by'"):
        pattern = None if group_by is None else compiled(group_by)
    if config is not None:
        overlaps = overlaps or has_overlaps(read_recipe(config).config)
    if folds is None:
        report = split(
            *(source, out_dir),
            dev=dev,
            test=share,
            seed=seed,
            group_by=pattern,
            overlaps=overlaps,
            overwrite=overwrite,
        )
        print_content(_content(report))
    else:
        reports = split_folds(
            *(source, out_dir),
            folds=folds,
            dev=dev,
            seed=seed,
            group_by=pattern,
            overlaps=overlaps,
            overwrite=overwrite,
        )
        print_content(_content_of_folds(reports))


def _content(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Documents that hold each type, and its entities, by part; and what is not in every part."""
    right = [f"{part}\n{kind}" for kind in ("docs", "ents") for part in PARTS]
    table = columns("Type", right=right, title="Documents and entities of each type")
    kinds: list[Mapping[str, Mapping[str, int]]] = [report["documents_with"], report["entities"]]
    for label in _by_frequency({label: sum(of.values()) for label, of in kinds[1].items()}):
        table.add_row(
            Text(shown_label(label)), *(str(kind[label][part]) for kind in kinds for part in PARTS)
        )
    table.add_section()
    totals = [sum(counts[part] for counts in report["entities"].values()) for part in PARTS]
    documents = [len(report["documents"][part]) for part in PARTS]
    table.add_row("all", *map(str, documents), *map(str, totals))
    if report["group_by"] is not None:
        groups = report["group_by"]["groups"]
        table.add_row("groups", *(str(groups[part]) for part in PARTS))
    yield table
    yield from _gap_lines(report["not_in_every_part"], parts="part")


def _content_of_folds(reports: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Documents of each fold's test that hold each type, so many folds to a table as fit."""
    for start in range(0, len(reports), FOLDS_PER_TABLE):
        yield _folds_table(reports, start, min(start + FOLDS_PER_TABLE, len(reports)))
    yield from _fold_lines(reports)


def _folds_table(reports: Sequence[Mapping[str, Any]], start: int, end: int) -> Table:
    title = "Documents and entities of each type in the tests of the folds"
    folds = (f"{fold + 1}\ndocs" for fold in range(start, end))
    table = columns("Type", right=("all\ndocs", "all\nents", *folds), title=title)
    # Each document is in one test, so the tests together are the corpus.
    entities = {label: sum(of_folds) for label, of_folds in _in_tests(reports, "entities").items()}
    documents = _in_tests(reports, "documents_with")
    for label in _by_frequency(entities):
        numbers = (sum(documents[label]), entities[label], *documents[label][start:end])
        table.add_row(Text(shown_label(label)), *map(str, numbers))
    table.add_section()
    everything = sum(entities.values())
    for part in reversed(PARTS):
        sizes = [len(report["documents"][part]) for report in reports]
        whole = (str(sum(sizes)), str(everything)) if part == "test" else ("", "")
        table.add_row(f"documents of {part}", *whole, *map(str, sizes[start:end]))
    if reports[0]["group_by"] is not None:
        groups = [report["group_by"]["groups"]["test"] for report in reports]
        table.add_row("groups of test", str(sum(groups)), "", *map(str, groups[start:end]))
    return table


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
        lines += _gap_lines(others, parts=f"part of {name}")
    return _gap_lines(list(in_tests.values()), parts="test") + lines


def _gap_lines(records: Sequence[Mapping[str, Any]], *, parts: str) -> list[str]:
    """One line per reason: the types that are not in every part.

    Args:
        records: what is missing, see ``Corpus.gaps``.
        parts: what they are called, as in "part" or "test of a fold".
    """
    by_reason: dict[str, list[str]] = {}
    for record in records:
        unit = "groups" if "groups" in record else "documents"
        number = f"{record[unit]} {unit if record[unit] != 1 else unit[:-1]}"
        missing = f", not in {', '.join(record['missing'])}" if record["reason"] == UNMET else ""
        by_reason.setdefault(record["reason"], []).append(
            f"{shown_label(record['label'])} ({number}{missing})"
        )
    return [
        f"Not in every {parts}, {reason}: {', '.join(types)}."
        for reason, types in sorted(by_reason.items(), reverse=True)
    ]


def _in_tests(reports: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[int]]:
    """The numbers of each label in the tests of all folds."""
    return {label: [report[key][label]["test"] for report in reports] for label in reports[0][key]}


def _by_frequency(totals: Mapping[str, int]) -> list[str]:
    return sorted(totals, key=lambda label: (-totals[label], label))
