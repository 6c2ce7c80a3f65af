"""The tables that conversion prints."""

from __future__ import annotations

from collections.abc import Iterable

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..data.conversion import CHANGED, DROPPED, DROPPED_DOCUMENTS, ConversionCounts
from ..data.label_map import LabelMap
from ..errors import close_matches

_COLUMNS = ("read", "kept", "merged", "moved", "dropped")


def print_counts(counts: ConversionCounts, console: Console, label_map: LabelMap | None) -> None:
    """Print what became of mentions by label and by reason, and of documents."""
    console.print(_by_label(counts, label_map))
    console.print(_by_reason(counts))
    documents = counts.documents
    dropped = {code: documents[code] for code in DROPPED_DOCUMENTS if documents[code]}
    reasons = ", ".join(f"{code} {number}" for code, number in dropped.items())
    typer.echo(
        f"Documents: {documents.total()} read, {documents['kept']} kept, "
        f"{sum(dropped.values())} dropped" + (f" ({reasons})." if reasons else ".")
    )
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.other_lines.items()))
    typer.echo(
        f"Omitted, not mentions: {counts.other_lines.total()}" + (f" ({kinds})." if kinds else ".")
    )


def warn_of_unread(labels: Iterable[str], read: Iterable[str], *, source: str) -> None:
    """Say in one line on stderr which labels that a user named no mention has."""
    known = sorted(set(read))
    unread = [label for label in labels if label not in known]
    if not unread:
        return
    hint = f"Known: {', '.join(known)}."
    if len(unread) == 1:
        hint = close_matches(unread[0], known)
    warning = f"{source}: no mention read has label {', '.join(unread)}. {hint}"
    typer.echo(f"clinical-ner: {warning}", err=True)


def _by_label(counts: ConversionCounts, label_map: LabelMap | None) -> Table:
    """The mentions read, per label read; the columns behind it sum to it."""
    columns: tuple[str, ...] = _COLUMNS
    table = Table("label", title="Mentions", title_justify="left", show_footer=True)
    table.columns[0].footer = "total"
    if label_map is not None:
        table.add_column("becomes")
        columns = ("read", "kept", "renamed", "merged", "moved", "dropped")
    total = counts.total
    for column in columns:
        table.add_column(column, justify="right", footer=str(getattr(total, column)))
    for label, row in sorted(counts.labels.items(), key=lambda item: (-item[1].read, item[0])):
        # Text, since a label may hold what rich takes for markup.
        cells = [Text(label)]
        if label_map is not None:
            cells.append(Text(label_map.names.get(label, label) or "(dropped)"))
        table.add_row(*cells, *(str(getattr(row, column)) for column in columns))
    return table


def _by_reason(counts: ConversionCounts) -> Table:
    table = Table("action", "code", "meaning", title="Reasons", title_justify="left")
    table.add_column("mentions", justify="right")
    for action, codes in (("changed", CHANGED), ("dropped", DROPPED)):
        for code, meaning in codes.items():
            table.add_row(action, code, meaning, str(counts.reasons[code]))
    return table
