"""A learning curve as lines, as CSV and as a picture, from its JSON alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.plots import GROUPS, OWN, drawing
from .growth import SCORES
from .power_law import LEAST_SIZES

#: Distance of a power law from a measured score from which on it is no description of the curve.
OFF = 0.02


def notes(report: Mapping[str, Any]) -> list[str]:
    """What the curve says, and how far it can be relied on, a line each."""
    gains, labels = report["gains"]["types"], by_support(report)
    first = gains[labels[0]]
    climbing = [label for label in labels if gains[label]["climbs"]]
    seeds = len(report["seeds"])
    lines = [
        f"F in percent on {report['documents']} test documents, the same for all sizes; 95 % "
        f"intervals by bootstrap over documents{' and seeds' if seeds > 1 else ''}. Notes are all "
        "that are annotated: train and dev.",
        f"Rare third: {', '.join(report['rare_types'])}.",
    ]
    for name, title in SCORES.items():
        law = report["continuation"][name]
        if law is None:
            continue
        lines.append(
            f"Twice as many notes ({law['notes']}): {title} {percent(law['gain'], '+')} "
            f"({between(law['gain_interval'], '+')}), so {percent(law['value'])}."
        )
        if check := law["check"]:
            lines[-1] += (
                f" From up to {check['up_to']} notes alone, {percent(check['value'])} "
                f"({between(check['interval'])}) was expected where {percent(check['measured'])} "
                "was measured."
            )
        if law["off"] > OFF:
            lines[-1] += f" Not to be relied on: the law misses a score by {percent(law['off'])}."
    if len(report["sizes"]) < LEAST_SIZES:
        lines.append(f"No continuation: it is fitted to at least {LEAST_SIZES} sizes.")
    lines.append(
        f"Still climbing from {first['from']} to {first['to']} notes, beyond doubt of the test "
        f"documents: {', '.join(climbing) or 'no type'} ({len(climbing)} of {len(labels)}; about 1 "
        "in 40 would seem to by chance). Of the others too few test mentions may hide it."
    )
    if seeds == 1:
        lines.append(
            "One seed: what another draw of the notes, or another training, would change is not in "
            "the intervals. Give --seeds 0,1,2."
        )
    return lines


def by_support(report: Mapping[str, Any]) -> list[str]:
    """The types of test, the commonest first."""
    return sorted(report["support"], key=lambda label: (-report["support"][label], label))


def percent(value: float | None, sign: str = "") -> str:
    """A score or difference in percent."""
    return "n/a" if value is None else f"{100 * value:{sign}.1f}"


def between(interval: Sequence[float] | None, sign: str = "") -> str:
    """An interval in percent."""
    return "n/a" if interval is None else " to ".join(percent(end, sign) for end in interval)


def csv_text(report: Mapping[str, Any]) -> str:
    """The curves as CSV, unrounded, a row per size and score or type; empty where undefined."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["notes", "score", "type", "value", "low", "high"])
    curves = report["curves"]
    rows = [(name, "", curves[name]) for name in SCORES]
    rows += [("f", label, curves["types"][label]) for label in by_support(report)]
    for name, label, curve in rows:
        for size, point in zip(report["sizes"], curve, strict=True):
            ends = point["interval"] or (None, None)
            writer.writerow([size["notes"], name, label, point["value"], *ends])
    return stream.getvalue()


def draw(report: Mapping[str, Any], path: Path, *, kind: str) -> None:
    """Draw the curves with their continuation, and beside them what the last doubling gave types.

    Args:
        report: what learning_curve.json holds.
        path: the file to write.
        kind: "png" or "svg".
    """
    labels = by_support(report)
    with drawing(path, kind=kind, font_size=9) as figure:
        figure.set_size_inches(9.5, max(4.2, 1.3 + 0.19 * len(labels)))
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        _draw_curves(left, report)
        gains = [report["gains"]["types"][label] for label in labels]
        right.axvline(0, color="0.45", lw=0.8)
        for row, of in enumerate(gains):
            if of["interval"]:
                right.plot([100 * end for end in of["interval"]], [row, row], color="black", lw=1.1)
            fill = OWN if of["climbs"] else "white"
            right.plot(100 * of["gain"], row, marker="o", ms=5, mfc=fill, mec=OWN)
        names = [f"{label} ({report['support'][label]})" for label in labels]
        right.set_yticks(range(len(labels)), names)
        right.tick_params(axis="y", length=0, labelsize=7)
        right.set_ylim(len(labels) - 0.4, -0.6)
        right.set_xlabel(f"Gain in F from {gains[0]['from']} to {gains[0]['to']} notes")
        right.set_title("Types (test mentions); filled: still climbing", fontsize=9, loc="left")
        right.spines[["top", "right"]].set_visible(False)


def _draw_curves(axes: Any, report: Mapping[str, Any]) -> None:
    """Each score by size, its law dashed, and a hollow mark where it expects twice the notes."""
    sizes = [size["notes"] for size in report["sizes"]]
    ticks = list(sizes)
    for (name, title), (color, _, marker) in zip(SCORES.items(), GROUPS, strict=True):
        law = report["continuation"][name]
        points = [(n, of) for n, of in zip(sizes, report["curves"][name], strict=True)]
        if law is not None:
            points.append((law["notes"], law))
            ticks = [*sizes, law["notes"]]
            at = np.geomspace(sizes[0], law["notes"], 60)
            axes.plot(at, 100 * (law["a"] - law["b"] * at ** -law["c"]), color=color, ls="--", lw=1)
        for n, of in points:
            if of["value"] is None:
                continue
            if of["interval"]:
                axes.plot([n, n], [100 * end for end in of["interval"]], color=color, lw=1.1)
            axes.plot(
                *(n, 100 * of["value"]),
                ls="",
                marker=marker,
                ms=5,
                mec=color,
                mfc="white" if of is law else color,
                label=title if n == sizes[0] else None,
            )
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("Annotated notes")
    axes.set_ylabel("F in percent, 95 % interval")
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    axes.set_title("Dashed: power law; hollow: twice the notes", fontsize=9, loc="left")
