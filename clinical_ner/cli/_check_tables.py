"""The report of clinical-ner check as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..checks.findings import Finding, Place
from ..checks.imbalance import FEW, OUTSIDE, RARE, Imbalance
from ..checks.report import Report, Texts, excerpt

_STYLES = {"error": "red", "warning": "yellow", "info": ""}
_PART_ROWS = {
    "documents": "documents",
    "without_text": "without text",
    "without_mentions": "without mentions",
    "unusable": "rejected or unannotated",
    "words": "words",
    "mentions": "mentions",
    "labels": "labels",
}


def print_report(report: Report, console: Console, *, places: int, texts: Texts | None) -> None:
    """Print findings, places, counts, labels and imbalance, and last a line with the verdict.

    Args:
        report: of all checks.
        console: where it is printed.
        places: most places to print per finding.
        texts: of the documents, to quote at the places; None to show no text.
    """
    if report.findings:
        console.print(_finding_table(report))
        for finding in report.findings:
            _print_places(finding, console, places=places, texts=texts)
    console.print(_part_table(report))
    if report.labels:
        console.print(_label_table(report))
    for line in (*_imbalance_lines(report.imbalance), *report.recommendation):
        console.print(line, markup=False, highlight=False)
    console.print(
        f"{report.number('error')} errors, {report.number('warning')} warnings", highlight=False
    )


def _finding_table(report: Report) -> Table:
    table = Table("code", "", title="Findings", title_justify="left")
    table.add_column("number", justify="right")
    table.add_column("of what")
    for finding in report.findings:
        severity, unit, title = finding.kind
        what = f"{unit} {title}" + (f" ({finding.detail})" if finding.detail else "")
        table.add_row(
            finding.code,
            Text(severity, _STYLES[severity]),
            str(finding.count),
            Text(what),
        )
    return table


def _print_places(finding: Finding, console: Console, *, places: int, texts: Texts | None) -> None:
    shown = finding.places[:places]
    if not shown:
        return
    console.print(f"{finding.code} {finding.kind.unit} {finding.kind.title}", highlight=False)
    for place in shown:
        line = "  " + ", ".join(_parts_of(place))
        text = None if texts is None else excerpt(texts, place)
        # One line per place, however narrow the terminal, so that lines can be searched.
        console.print(
            Text(line if text is None else f"{line}: {text}"), soft_wrap=True, highlight=False
        )
    if rest := len(finding.places) - len(shown):
        console.print(f"  and {rest} more", highlight=False)


def _parts_of(place: Place) -> Iterator[str]:
    yield place.part if place.document is None else f"{place.part} {place.document}"
    if place.start is not None:
        yield f"{place.start} to {place.end}"
    if place.label is not None:
        yield place.label
    if place.note:
        yield place.note


def _part_table(report: Report) -> Table:
    table = Table("", title="Counts", title_justify="left")
    for name in report.parts:
        table.add_column(Text(name), justify="right")
    for field, title in _PART_ROWS.items():
        table.add_row(title, *(str(getattr(counts, field)) for counts in report.parts.values()))
    return table


def _label_table(report: Report) -> Table:
    table = Table(title="Labels", title_justify="left")
    table.add_column("label", no_wrap=True)
    has_parts = len(report.parts) > 1
    headers = ("mentions", *(report.parts if has_parts else ()), "docs", "words")
    for header in headers:
        table.add_column(Text(header), justify="right")
    for label, counts in report.labels.items():
        shares = [
            f"{share:.0%}" if counts.by_part[part] else "-" for part, share in counts.shares.items()
        ]
        table.add_row(
            Text(label),
            str(counts.mentions),
            *(shares if has_parts else ()),
            str(counts.documents),
            f"{counts.median_words:g} to {counts.max_words}",
        )
    parts = "parts: their share of the mentions; " if has_parts else ""
    table.caption = f"{parts}words: median to longest mention"
    return table


def _imbalance_lines(imbalance: Imbalance) -> Iterator[str]:
    if not imbalance.mentions or imbalance.ratio is None:
        return
    yield (
        f"Imbalance in {', '.join(imbalance.parts)}: {OUTSIDE} has "
        f"{imbalance.token_shares.get(OUTSIDE, 0.0):.1%} of {imbalance.tokens} words and signs; "
        f"{imbalance.commonest} has {imbalance.ratio:.0f} times the mentions of "
        f"{imbalance.rarest}; {imbalance.rare_types} of {imbalance.types} types have under "
        f"{RARE:.0%} of the mentions, {len(imbalance.few)} under {FEW} mentions; as uneven as they "
        f"are, they count as {imbalance.effective_types:.1f} equally common types."
    )
