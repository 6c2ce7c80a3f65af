"""The figures of a benchmark as tables on a terminal, and what they are, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from ..research.speed.speed import fastest_hugging_face

NOT_KNOWN = "n/a"
#: Columns of memory, in MiB, and where their figures stand.
MEMORY = {"loaded": "loaded_mib", "reading": "reading_mib", "peak": "peak_mib"}


def speed_table(measured: Mapping[str, Any]) -> Table:
    """Speed, ratios and peak memory, a variant per row."""
    title = (
        f"{measured['documents']} notes, {measured['words']:,} words, {measured['rounds']} rounds"
    )
    table = Table(title=f"{title}, threads: {measured['threads']}")
    table.add_column("Variant")
    for header in ("words/s", "by CPU", "of (a)", "by CPU", "(b) / it", "range", "by CPU", *MEMORY):
        table.add_column(header, justify="right")
    for row in measured["variants"]:
        speed, share, ours = row["words_per_second"], row["of_bare"], row["ours_over"]
        table.add_row(
            Text(row["title"]),
            *(f"{speed[kind]:,.0f}" for kind in ("wall", "processor")),
            *(f"{share[kind]:.2f}" for kind in ("wall", "processor")),
            f"{ours['wall']['median']:.2f}",
            f"{ours['wall']['low']:.2f} to {ours['wall']['high']:.2f}",
            f"{ours['processor']['median']:.2f}",
            *_memory(row["memory"]),
        )
    return table


def growth_table(measured: Mapping[str, Any]) -> Table:
    """Speed and peak memory as notes get many or long, a process per row."""
    table = Table("Variant", title="Growth, each row in a process of its own")
    for header in ("Notes", "Words each", "Seconds", "words/s", *MEMORY):
        table.add_column(header, justify="right")
    titles = {row["variant"]: row["title"] for row in measured["variants"]}
    for row in measured["growth"]:
        failed = "reason" in row
        table.add_row(
            Text(titles[row["variant"]]),
            f"{row['notes']:,}",
            f"{row['words']:,}",
            NOT_KNOWN if failed else f"{row['seconds']:.1f}",
            NOT_KNOWN if failed else f"{row['words_per_second']:,.0f}",
            *_memory(row),
        )
    return table


def lines(measured: Mapping[str, Any]) -> list[str]:
    """What the columns are, what the windows cost, and what could not be measured."""
    rows = {row["variant"]: row for row in measured["variants"]}
    fastest = rows[fastest_hugging_face(rows)]
    found = [
        "Medians over the rounds. By CPU: per second of processor time. of (a): speed over that of "
        "the encoder alone; (b) / it: that of ours over its own, within rounds. Words are tokens "
        "of the pipeline.",
        "loaded, reading, peak: MiB of a process of its own when the variant is loaded, the most "
        "while it reads the notes once, and the most of all; loading needs more than it keeps.",
        f"Fastest of Hugging Face's: {fastest['title']}.",
        *(_cost(windows) for windows in measured["windows"]),
    ]
    if not measured["spacy_ner"]:
        found.append("(c) has an untrained head, which hardly changes its speed.")
    if measured["documents"] < measured["limit"]:
        found.append(f"There were {measured['documents']} notes, fewer than {measured['limit']}.")
    for row in measured["variants"]:
        if "reason" in row["memory"]:
            found.append(f"Memory of {row['title']}: {row['memory']['reason']}.")
    for row in measured["growth"] or ():
        if "reason" in row:
            title = rows[row["variant"]]["title"]
            found.append(f"{title}, {row['notes']:,} x {row['words']:,}: {row['reason']}.")
    return found


def _cost(windows: Mapping[str, Any]) -> str:
    return (
        f"Context {windows['context']}: {windows['windows']:,} windows; "
        f"{100 * windows['overlap']:.1f} % of the {windows['wordpieces']:,} wordpieces encoded "
        f"again; {100 * windows['padding_share']:.1f} % of what the encoder computes is padding."
    )


def _memory(told: Mapping[str, Any]) -> list[str]:
    values = [told.get(key) for key in MEMORY.values()]
    return [NOT_KNOWN if value is None else f"{value:,.0f}" for value in values]
