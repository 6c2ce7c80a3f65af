"""A learning curve as lines, as CSV and as a picture, from its JSON alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation.plots import GROUPS, drawing
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
    """Draw each score by size, its law dashed, and a hollow mark where it expects twice the notes.

    Args:
        report: what learning_curve.json holds.
        path: the file to write.
        kind: "png" or "svg".
    """
    sizes = [size["notes"] for size in report["sizes"]]
    ticks = list(sizes)
    with drawing(path, kind=kind) as figure:
        figure.set_size_inches(6.4, 4.4)
        axes = figure.subplots()
        for (name, title), (color, _, marker) in zip(SCORES.items(), GROUPS, strict=True):
            law = report["continuation"][name]
            points = list(zip(sizes, report["curves"][name], strict=True))
            if law is not None:
                points.append((law["notes"], law))
                ticks = [*sizes, law["notes"]]
                at = np.geomspace(sizes[0], law["notes"], 60)
                f = law["a"] - law["b"] * at ** -law["c"]
                axes.plot(at, 100 * f, color=color, ls="--", lw=1)
            for n, of in points:
                ends = [100 * end for end in of["interval"] or ()]
                axes.plot([n] * len(ends), ends, color=color, lw=1.1)
                axes.plot(
                    *(n, np.nan if of["value"] is None else 100 * of["value"]),
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
        axes.set_xlabel("Annotated notes (dashed: power law; hollow: twice the notes)")
        axes.set_ylabel("F in percent, 95 % interval")
        axes.set_ylim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
