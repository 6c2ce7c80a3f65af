"""A division on a terminal: types by part or by fold, and what is not in every one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ..data.split.split_report import UNMET
from ..data.split.stratify import PARTS

#: So many folds fit beside each other on a terminal of 80 columns.
FOLDS_PER_TABLE = 5


def parts_table(report: Mapping[str, Any]) -> Table:
    """Documents that hold each type, and its entities, by part; the commonest type first."""
    table = Table("Type", title="Documents and entities of each type")
    for kind in ("docs", "ents"):
        for part in PARTS:
            table.add_column(f"{part}\n{kind}", justify="right")
    kinds: list[Mapping[str, Mapping[str, int]]] = [report["documents_with"], report["entities"]]
    for label in _by_frequency(report["entities"]):
        table.add_row(Text(label), *(str(kind[label][part]) for kind in kinds for part in PARTS))
    table.add_section()
    totals = [sum(counts[part] for counts in report["entities"].values()) for part in PARTS]
    documents = [len(report["documents"][part]) for part in PARTS]
    table.add_row("all", *map(str, documents), *map(str, totals))
    if report["group_by"] is not None:
        groups = report["group_by"]["groups"]
        table.add_row("groups", *(str(groups[part]) for part in PARTS))
    return table


def fold_tables(reports: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """Documents of each fold's test that hold each type, so many folds to a table as fit."""
    for start in range(0, len(reports), FOLDS_PER_TABLE):
        yield _folds_table(reports, start, min(start + FOLDS_PER_TABLE, len(reports)))


def _folds_table(reports: Sequence[Mapping[str, Any]], start: int, end: int) -> Table:
    table = Table("Type", title="Documents and entities of each type in the tests of the folds")
    table.add_column("all\ndocs", justify="right")
    table.add_column("all\nents", justify="right")
    for fold in range(start, end):
        table.add_column(f"{fold + 1}\ndocs", justify="right")
    # Each document is in one test, so the tests together are the corpus.
    entities = _in_tests(reports, "entities")
    documents = _in_tests(reports, "documents_with")
    for label in _by_frequency(entities):
        of_folds = list(documents[label].values())
        table.add_row(
            Text(label),
            str(sum(of_folds)),
            str(sum(entities[label].values())),
            *map(str, of_folds[start:end]),
        )
    table.add_section()
    everything = sum(sum(counts.values()) for counts in entities.values())
    for part in reversed(PARTS):
        sizes = [len(report["documents"][part]) for report in reports]
        whole = (str(sum(sizes)), str(everything)) if part == "test" else ("", "")
        table.add_row(f"documents of {part}", *whole, *map(str, sizes[start:end]))
    if reports[0]["group_by"] is not None:
        groups = [report["group_by"]["groups"]["test"] for report in reports]
        table.add_row("groups of test", str(sum(groups)), "", *map(str, groups[start:end]))
    return table


def gap_lines(records: Sequence[Mapping[str, Any]], *, parts: str) -> list[str]:
    """One line per reason: the types that are not in every part.

    Args:
        records: what is missing, see ``gap_records``.
        parts: what they are called, as in "part" or "test of a fold".
    """
    by_reason: dict[str, list[str]] = {}
    for record in records:
        unit = "groups" if "groups" in record else "documents"
        number = f"{record[unit]} {unit if record[unit] != 1 else unit[:-1]}"
        missing = f", not in {', '.join(record['missing'])}" if record["reason"] == UNMET else ""
        by_reason.setdefault(record["reason"], []).append(f"{record['label']} ({number}{missing})")
    return [
        f"Not in every {parts}, {reason}: {', '.join(types)}."
        for reason, types in sorted(by_reason.items(), reverse=True)
    ]


def _in_tests(reports: Sequence[Mapping[str, Any]], key: str) -> dict[str, dict[str, int]]:
    return {
        label: {str(fold): report[key][label]["test"] for fold, report in enumerate(reports)}
        for label in reports[0][key]
    }


def _by_frequency(entities: Mapping[str, Mapping[str, int]]) -> list[str]:
    return sorted(entities, key=lambda label: (-sum(entities[label].values()), label))
