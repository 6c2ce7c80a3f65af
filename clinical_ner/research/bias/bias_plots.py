"""The test for bias as CSV and as a picture, from its JSON alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...evaluation.plots import BAND, BEFORE, OWN, drawing

COLUMNS = (
    "loss",
    "has_posterior",
    "tag",
    "tokens",
    "share",
    "judged",
    "mass_before",
    "mass_after",
    "argmax_before",
    "argmax_after",
)
#: With more tags their names would lie on each other.
MOST_NAMES = 4


def csv_text(bias: Mapping[str, Any]) -> str:
    """A row per loss and tag, unrounded; empty where the loss has no inverse."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for result in bias["losses"]:
        for row in result["tags"]:
            writer.writerow({**result, **row})
    return stream.getvalue()


def draw(bias: Mapping[str, Any], path: Path, *, kind: str) -> None:
    """Draw the ratios of every loss: mass on the left, argmax on the right, on log axes.

    Each loss has a lane for the ratios before its inverse and one for those after it; a point is a
    tag, a square that of O. A ratio of 0 stands left of the axis. The same JSON gives the same
    file.

    Args:
        bias: what bias.json holds.
        path: the file to write.
        kind: "png" or "svg".

    Raises:
        ClinicalNerError: matplotlib is missing.
    """
    with drawing(path, kind=kind) as figure:
        _draw(figure, bias)


def _draw(figure: Any, bias: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    losses: Sequence[Mapping[str, Any]] = bias["losses"]
    figure.set_size_inches(9.5, 1.6 + 0.85 * len(losses))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure in zip(panels, ("mass", "argmax"), strict=True):
        _panel(axes, bias, measure)
    panels[0].set_title("Mass: mean probability / training share", fontsize=10, loc="left")
    panels[1].set_title("Argmax: share of tokens won / training share", fontsize=10, loc="left")
    names = [f"{result['loss']}\n({result['title']})" for result in losses]
    panels[0].set_yticks(range(len(losses)), names)
    panels[0].set_ylim(len(losses) - 0.5, -0.5)
    low, high = bias["settings"]["tolerance"]
    judged_from = bias["settings"]["judged_from"]
    handles = [
        Line2D([], [], ls="", marker="o", mfc="white", mec=BEFORE, mew=1.4, label="before"),
        Line2D([], [], ls="", marker="o", mfc=OWN, mec=OWN, label="after the loss's inverse"),
        Line2D([], [], ls="", marker="s", mfc="0.6", mec="0.6", label="the tag O"),
        Line2D([], [], color=BAND, lw=8, label=f"within {low:g} to {high:g}"),
    ]
    if not all(tag["judged"] for tag in bias["tags"]):
        faint = f"under {judged_from} training tokens"
        handles.append(Line2D([], [], ls="", marker="o", c="0.6", ms=3, label=faint))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8
    )


def _panel(axes: Any, bias: Mapping[str, Any], measure: str) -> None:
    """The ratios of one measure, a row of two lanes per loss."""
    losses = bias["losses"]
    ratios = [
        row[f"{measure}_{when}"]
        for result in losses
        for row in result["tags"]
        for when in ("before", "after")
    ]
    above_zero = [ratio for ratio in ratios if ratio]
    low, high = bias["settings"]["tolerance"]
    least = min([*above_zero, low]) / 1.6
    most = max([*above_zero, high]) * 2.0
    has_zero = 0 in ratios
    # The place of 0 lies one step left of the least ratio, beyond a line that breaks the axis.
    step = (most / least) ** 0.09
    zero = least / step
    axes.set_xscale("log")
    axes.set_xlim(zero / step**0.6 if has_zero else least, most)
    if measure == "mass":
        axes.axvspan(low, high, color=BAND, lw=0, zorder=0)
    axes.axvline(1.0, color="0.45", lw=0.8, zorder=1)
    if has_zero:
        axes.axvline(least / step**0.4, color="0.6", lw=0.8, ls=(0, (2, 2)), zorder=1)
    for number, result in enumerate(losses):
        if number:
            axes.axhline(number - 0.5, color="0.9", lw=0.6, zorder=0)
        for when, center in (("before", number - 0.19), ("after", number + 0.19)):
            _lane(axes, result["tags"], f"{measure}_{when}", center, zero)
        if not result["has_posterior"]:
            axes.text(
                1.0,
                number + 0.19,
                " no inverse promised ",
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=7,
                color="0.4",
                style="italic",
            )
    _ticks(axes, zero if has_zero else None, least, most)


def _lane(
    axes: Any, rows: Sequence[Mapping[str, Any]], key: str, center: float, zero: float
) -> None:
    """The tags of a loss as points around a height."""
    color = BEFORE if key.endswith("before") else OWN
    for number, row in enumerate(rows):
        ratio = row[key]
        if ratio is None:
            continue
        # Points of many tags are spread over the lane in a fixed pattern, lest they hide.
        spread = 0.0 if len(rows) <= MOST_NAMES else 0.13 * ((number * 0.618) % 1.0 - 0.5) * 2
        at = ratio or zero
        size = 6.5 if row["judged"] else 2.6
        axes.plot(
            at,
            center + spread,
            marker="s" if row["tag"] == "O" else "o",
            ms=size if len(rows) <= MOST_NAMES else 0.65 * size,
            mfc="white" if key.endswith("before") else color,
            mec=color,
            mew=1.4 if len(rows) <= MOST_NAMES else 0.8,
            zorder=4 if row["tag"] == "O" else 3,
            alpha=1.0 if row["judged"] else 0.55,
        )
    if len(rows) > MOST_NAMES:
        return
    for names, at in _names(rows, key, zero):
        axes.annotate(
            names,
            (at, center),
            (6, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
            bbox={"boxstyle": "square,pad=0.05", "fc": "white", "ec": "none", "alpha": 0.75},
        )


def _names(rows: Sequence[Mapping[str, Any]], key: str, zero: float) -> list[tuple[str, float]]:
    """Names of tags with the places where they are written; tags that lie together share one."""
    placed: list[tuple[list[str], float]] = []
    for row in sorted((row for row in rows if row[key] is not None), key=lambda row: row[key]):
        at = row[key] or zero
        if placed and at < 1.7 * placed[-1][1]:
            placed[-1] = ([*placed[-1][0], row["tag"]], at)
        else:
            placed.append(([row["tag"]], at))
    return [(", ".join(names), at) for names, at in placed]


def _ticks(axes: Any, zero: float | None, least: float, most: float) -> None:
    """Plain numbers at decades, or finer where there are few of them, and 0 at its place."""
    steps = (1.0,) if most / least > 300 else (1.0, 2.0, 5.0)
    decades = [factor * 10.0**power for power in range(-9, 10) for factor in steps]
    ticks = [tick for tick in decades if least <= tick <= most]
    labels = [f"{tick:g}" for tick in ticks]
    if zero is not None:
        ticks, labels = [zero, *ticks], ["0", *labels]
    axes.set_xticks(ticks, labels)
    axes.set_xticks([], minor=True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def json_text(results: dict[str, Any]) -> str:
    """The results as bias.json holds them."""
    return json.dumps(results, indent=2, allow_nan=False)
