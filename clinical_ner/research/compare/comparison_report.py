"""A comparison of recipes as tables (Markdown, CSV) and as a picture, from its JSON alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evaluation.plots import drawing
from .comparison import SCORES, SPAN_SCORES

#: More series than this are spread over panels, one below the other.
PER_PANEL = 4
#: Fills that differ in black and white too.
STYLES = (("black", ""), ("0.8", ""), ("white", "////"), ("0.5", "...."))


def titles(comparison: Mapping[str, Any]) -> list[str]:
    """The titles of the columns."""
    return ["recipe", *(title for title, _, _ in _columns(comparison).values()), "words/s"]


def _columns(comparison: Mapping[str, Any]) -> dict[str, tuple[str, float, int]]:
    """Of the scores, those that the comparison has."""
    known = comparison["rows"][0]["scores"]
    return {name: of for name, of in {**SCORES, **SPAN_SCORES}.items() if name in known}


def notes(comparison: Mapping[str, Any]) -> list[str]:
    """What the columns are, a line each."""
    mentions, types = comparison["rare_mentions"], comparison["rare_types"]
    lines = [
        f"{comparison['documents']} documents of {comparison['scored_on']}; F, accuracy and ECE in "
        "percent. Below each score: its range over seeds, its difference from the first recipe, "
        "and that difference's 95 % interval on the same resamples of the documents.",
        "F and accuracy are those of doc.ents against flat entities.",
        f"macro-F rare: the {types} types with under {mentions} training mentions. rarest mass: "
        "probability given to the rarest third of the types over their share in gold (calibration "
        "in the large).",
    ]
    if "spans_f" in _columns(comparison):
        lines.append("all mentions: all spans of recipes with overlaps, against all mentions.")
    if any(len(row["seeds"]) == 1 for row in comparison["rows"]):
        lines.append("* one seed: differences within the spread between seeds say nothing.")
    return lines


def table_rows(comparison: Mapping[str, Any]) -> list[list[list[str]]]:
    """The rows below `titles`: the lines of each of their cells.

    A recipe with one seed has a star. A score has its range over seeds, its difference from the
    first recipe and the interval of the difference below it, as far as there are any.
    """
    first, columns = comparison["rows"][0], _columns(comparison)
    return [
        [
            [row["name"] + ("*" if len(row["seeds"]) == 1 else "")],
            *(_cell(name, *of[1:], row, is_first=row is first) for name, of in columns.items()),
            [f"{row['words_per_second']:.0f}"],
        ]
        for row in comparison["rows"]
    ]


def _cell(
    name: str, factor: float, decimals: int, row: Mapping[str, Any], *, is_first: bool
) -> list[str]:
    score = row["scores"][name]

    def text(value: float | None, sign: str = "") -> str:
        return "n/a" if value is None else f"{factor * value:{sign}.{decimals}f}"

    lines = [text(score["value"])]
    if len(row["seeds"]) > 1 and score["value"] is not None:
        lines.append(f"{text(score['low'])} to {text(score['high'])}")
    if is_first or score["difference"] is None:
        return lines
    lines.append(text(score["difference"], "+"))
    if score["difference_interval"] is not None:
        low, high = score["difference_interval"]
        lines.append(f"[{text(low, '+')}, {text(high, '+')}]")
    return lines


def markdown(comparison: Mapping[str, Any]) -> str:
    """The comparison as a table for GitHub, with its notes."""
    headers = titles(comparison)
    lines = [f"| {' | '.join(headers)} |", f"|---|{'---:|' * (len(headers) - 1)}"]
    for row in table_rows(comparison):
        cells = ("<br>".join(cell).replace("*", r"\*").replace("|", r"\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    explained = "\n\n".join(notes(comparison)).replace("*", r"\*")
    return "\n".join(lines) + f"\n\n{explained}\n"


def csv_text(comparison: Mapping[str, Any]) -> str:
    """The comparison as CSV, unrounded, empty where a number is undefined."""
    parts = ("value", "low", "high", "difference", "difference_low", "difference_high")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = _columns(comparison)
    columns = [name if part == "value" else f"{name}_{part}" for name in names for part in parts]
    writer.writerow(["name", "recipe", "prior_strength", "seeds", *columns, "words_per_second"])
    for row in comparison["rows"]:
        numbers: list[Any] = []
        for name in names:
            score = row["scores"][name]
            ends = score["difference_interval"] or (None, None)
            numbers += [score[part] for part in parts[:4]] + list(ends)
        seeds = " ".join(map(str, row["seeds"]))
        writer.writerow(
            [row["name"], row["recipe"], row["prior_strength"], seeds]
            + numbers
            + [row["words_per_second"]]
        )
    return stream.getvalue()


def draw_types(comparison: Mapping[str, Any], path: Path, *, kind: str) -> None:
    """Draw the F1 of every type, the commonest in training first, one series per recipe.

    Readable in black and white. The same JSON gives the same files. Rows at other prior strengths
    than a recipe's own are left out.

    Args:
        comparison: what comparison.json holds.
        path: the file to write.
        kind: "png" or "svg".

    Raises:
        ClinicalNerError: matplotlib is missing.
    """
    series = [row for row in comparison["rows"] if row["name"] == row["recipe"]]
    mentions: Mapping[str, int] = comparison["training_mentions"]
    labels = sorted(
        (label for label, of in series[0]["types"].items() if of["support"]),
        key=lambda label: (-mentions.get(label, 0), label),
    )
    # Each panel repeats the first recipe, which the others are compared with.
    others = series[1:]
    panels = [
        [series[0], *others[start : start + PER_PANEL - 1]]
        for start in range(0, max(len(others), 1), PER_PANEL - 1)
    ]
    with drawing(path, kind=kind, dpi=130) as figure:
        width = min(20.0, max(5.0, 2.0 + 0.3 * len(labels)))
        figure.set_size_inches(width, 1.4 + 2.4 * len(panels))
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, rows in zip(all_axes, panels, strict=True):
            bar = 0.84 / len(rows)
            for number, row in enumerate(rows):
                color, hatch = STYLES[number]
                left = [at + (number - (len(rows) - 1) / 2) * bar for at in range(len(labels))]
                values = [row["types"].get(label, {"f": 0.0})["f"] or 0.0 for label in labels]
                axes.bar(
                    *(left, values, bar),
                    color=color,
                    hatch=hatch,
                    edgecolor="black",
                    lw=0.4,
                    label=row["name"],
                )
            axes.set_ylabel(f"F1 on {comparison['scored_on']}")
            axes.set_ylim(0, 1)
            axes.set_xlim(-0.7, len(labels) - 0.3)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(
                frameon=False,
                loc="lower center",
                bbox_to_anchor=(0.5, 1.0),
                ncols=PER_PANEL,
                fontsize=8,
            )
        names = [f"{label} ({mentions.get(label, 0)})" for label in labels]
        all_axes[-1].set_xticks(range(len(labels)), names)
        all_axes[-1].tick_params(axis="x", labelrotation=90, labelsize=7)
        all_axes[-1].set_xlabel("Type (mentions in training)")
