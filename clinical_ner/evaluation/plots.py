"""Pictures of an evaluation, from its metrics alone; all read in black and white."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import missing_extra
from ..files import mark

#: Blue and vermilion of Okabe and Ito, which differ for all kinds of colour vision.
OWN, BEFORE = "#0072B2", "#D55E00"
GROUPS = (("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#333333", ":", "^"))
BAND = "#E6E6E6"
#: Mass ratios that count as calibrated in the large.
MASS_BAND = (0.8, 1.25)
#: Ends of the axis of mass ratios; an arrow stands for what lies beyond.
MASS_AXIS = (0.05, 20.0)
NOT_CALIBRATED = "not calibrated"


def check_can_draw(file: str) -> None:
    """Check that matplotlib is installed, before any work is done for a picture.

    Args:
        file: the picture, for the message.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise missing_extra(f"Drawing {file}", "matplotlib", "plots")


@contextmanager
def drawing(path: Path, *, kind: str, dpi: int = 150, font_size: float = 10) -> Iterator[Any]:
    """Give an empty figure, and write it at the end. What is drawn alike gives the same file.

    Args:
        path: the file to write.
        kind: "png" or "svg".
        dpi: dots per inch of a PNG.
        font_size: of all text without a size of its own, in points.

    Raises:
        InputError: matplotlib is not installed.
    """
    check_can_draw(path.name)
    import matplotlib
    from matplotlib.figure import Figure

    of_svg: dict[str, Any] = {"Date": None, "Creator": mark()}
    metadata = {"Software": mark()} if kind == "png" else of_svg
    with matplotlib.rc_context({"svg.hashsalt": "clinical_ner", "font.size": font_size}):
        figure = Figure(layout="constrained")
        yield figure
        figure.savefig(path, dpi=dpi, metadata=metadata, format=kind)


def missing(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Pictures that the metrics do not allow, and why."""
    reasons = {}
    if metrics["calibrated"] is None:
        without = "the pipeline has no probabilities"
        names = ("reliability", "precision_recall", "risk_coverage", "prior_ratios")
        reasons = dict.fromkeys(names, without)
    else:
        if not metrics["precision_recall"]:
            reasons["precision_recall"] = "gold has no entity"
        if not metrics["risk_coverage"]:
            reasons["risk_coverage"] = "gold has no entity, or none is predicted"
    if not types_of_gold(metrics):
        reasons["types"] = "gold has no entity"
    if metrics["calibrated"] is not None and not ratios_of_gold(metrics):
        reasons["prior_ratios"] = "gold has no entity of a type that the pipeline knows"
    return reasons


def draw(metrics: Mapping[str, Any], name: str, path: Path, *, kind: str) -> None:
    """Draw one picture. The same metrics give the same file.

    Args:
        metrics: what metrics.json holds.
        name: a key of `FIGURES`, none of those that are `missing`.
        path: the file to write.
        kind: "png" or "svg".

    Raises:
        ClinicalNerError: matplotlib is missing.
    """
    with drawing(path, kind=kind, font_size=9) as figure:
        FIGURES[name](figure, metrics)


def _reliability(figure: Any, metrics: Mapping[str, Any]) -> None:
    """Accuracy over confidence, of tokens and of entities, before and after calibration."""
    figure.set_size_inches(8.4, 4.5)
    bins: Mapping[str, Sequence[Mapping[str, float]]] = metrics["reliability"]
    before: Mapping[str, Any] = metrics["before_calibration"] or {}
    own = "calibrated" if metrics["calibrated"] else NOT_CALIBRATED
    panels = (
        ("tokens", "token_ece", "Tokens: the most probable tag"),
        ("entities", "ents_ece", f"{what_is_found(metrics).capitalize()} that were predicted"),
    )
    for axes, (what, score, title) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=(0, (4, 3)), zorder=1)
        series = [(bins[what], own, metrics[score], OWN, "-", "o", OWN)]
        if f"{what}_before" in bins:
            other = (bins[f"{what}_before"], NOT_CALIBRATED, before[score])
            series.insert(0, (*other, BEFORE, "--", "s", "white"))
        for points, label, error, color, line, marker, fill in series:
            axes.plot(
                [point["confidence"] for point in points],
                [point["accuracy"] for point in points],
                color=color,
                ls=line,
                lw=1.2,
                marker=marker,
                ms=5.5,
                mfc=fill,
                mec=color,
                # A line without points has no extent, which unclipped the layout cannot bear.
                clip_on=not points,
                zorder=3,
                label=f"{label}, ECE {_number(error)}",
            )
        if not bins[what]:
            axes.text(0.7, 0.3, "none", ha="center", va="center", color="0.4")
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("Probability")
        axes.set_ylabel("Share that is right")
        _unit_square(axes)
        axes.legend(frameon=False, fontsize=8, loc="upper left")


def _precision_recall(figure: Any, metrics: Mapping[str, Any]) -> None:
    """A curve per group of types of like frequency."""
    figure.set_size_inches(4.8, 6.1)
    axes = figure.subplots()
    for curve, (color, line, marker) in zip(metrics["precision_recall"], GROUPS, strict=False):
        n_points = len(curve["recall"])
        types = "1 type" if curve["types"] == 1 else f"{curve['types']} types"
        axes.plot(
            curve["recall"],
            curve["precision"],
            color=color,
            ls=line,
            lw=1.5,
            marker=marker,
            ms=4.5,
            mfc="white",
            markevery=max(1, n_points // 8),
            clip_on=False,
            label=f"{curve['group']}\n"
            f"({types}, {curve['gold']} {what_is_found(metrics)}, AP {curve['ap']:.2f})",
        )
    axes.set_xlabel("Recall")
    axes.set_ylabel("Precision")
    _unit_square(axes)
    title = "Spans ranked by their probability"
    if not metrics["calibrated"]:
        title += f", {NOT_CALIBRATED}"
    axes.set_title(title, fontsize=10, loc="left")
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)


def _risk_coverage(figure: Any, metrics: Mapping[str, Any]) -> None:
    """Precision and recall over the share of the predicted entities that a threshold keeps."""
    figure.set_size_inches(4.8, 6.1)
    axes = figure.subplots()
    for curve, (color, _, marker) in zip(metrics["risk_coverage"], GROUPS, strict=False):
        for score, line, fill in (("precision", "-", color), ("recall", "--", "white")):
            axes.plot(
                curve["share"],
                curve[score],
                color=color,
                ls=line,
                lw=1.5,
                marker=marker,
                ms=4.5,
                mfc=fill,
                markevery=max(1, len(curve["share"]) // 8),
                clip_on=False,
                label=f"{score}, {curve['group']} ({curve['made']} predicted)",
            )
    axes.set_xlabel(
        f"Share of the predicted {what_is_found(metrics)} kept, the most probable first"
    )
    axes.set_ylabel("Precision, recall")
    _unit_square(axes)
    title = "What a threshold keeps"
    if not metrics["calibrated"]:
        title += f", {NOT_CALIBRATED}"
    axes.set_title(title, fontsize=10, loc="left")
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)


def _type_bars(figure: Any, metrics: Mapping[str, Any]) -> None:
    """F1 of every type, the one with most gold entities on top.

    Of a pipeline with overlaps it is over all mentions, with that of the flat entities beside it.
    """
    types = types_of_gold(metrics)
    axes = _rows(figure, [f"{label} ({of['support']})" for label, of in types])
    bars = axes.barh(
        range(len(types)),
        [of["f"] for _, of in types],
        height=0.72,
        color="0.75",
        edgecolor="black",
        lw=0.6,
        label="F1",
    )
    flat: Mapping[str, Any] = (metrics["ents_per_type"] or {}) if "spans_f" in metrics else {}
    series = (
        ("average precision", "D", "white", [of.get("ap") for _, of in types]),
        ("F1 of doc.ents", "x", "black", [flat.get(label, {}).get("f") for label, _ in types]),
    )
    handles = [bars]
    for title, marker, fill, values in series:
        found = [(value, row) for row, value in enumerate(values) if value is not None]
        if found:
            handles += axes.plot(
                *zip(*found, strict=True),
                ls="",
                marker=marker,
                ms=4,
                mfc=fill,
                mec="black",
                clip_on=False,
                label=title,
            )
    if len(handles) > 1:
        ncols = len(handles)
        figure.legend(handles=handles, loc="outside lower center", ncols=ncols, frameon=False)
    axes.set_xlim(0, 1)
    axes.set_title(f"F1 by type (gold {what_is_found(metrics)})", fontsize=10, loc="left")


def _prior_ratios(figure: Any, metrics: Mapping[str, Any]) -> None:
    """Mass ratio of every type with its interval, the type with most gold tokens on top."""
    from matplotlib.lines import Line2D

    types = ratios_of_gold(metrics)
    axes = _rows(figure, [f"{label} ({of['tokens']})" for label, of in types])
    least, most = MASS_AXIS
    axes.set_xscale("log")
    axes.set_xlim(least, most)
    axes.axvspan(*MASS_BAND, color=BAND, lw=0, zorder=0)
    axes.axvline(1.0, color="0.45", lw=0.8, zorder=1)
    for row, (_, of) in enumerate(types):
        ends = of.get("mass_interval")
        if ends is not None and ends[1] > least and ends[0] < most:
            low, high = max(ends[0], least), min(ends[1], most)
            axes.plot([low, high], [row, row], color="black", lw=1.1, zorder=2)
        place = min(max(of["mass"], least), most)
        marker = "<" if of["mass"] < least else ">" if of["mass"] > most else "o"
        excludes = ends is not None and not ends[0] <= 1.0 <= ends[1]
        axes.plot(
            place,
            row,
            marker=marker,
            ms=5.5,
            mfc=OWN if excludes else "white",
            mec=OWN,
            clip_on=False,
            zorder=3,
        )
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("Mean probability / share in gold")
    title = "Mass ratio by type (gold tokens), 95 % interval"
    if not metrics["calibrated"]:
        title += f"; {NOT_CALIBRATED}"
    axes.set_title(title, fontsize=10, loc="left")
    low, high = MASS_BAND
    handles = [
        Line2D([], [], ls="", marker="o", mfc="white", mec=OWN, label="interval holds 1"),
        Line2D([], [], ls="", marker="o", mfc=OWN, mec=OWN, label="interval excludes 1"),
        Line2D([], [], color=BAND, lw=8, label=f"{low:g} to {high:g}"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


#: What is drawn, by the name of its file.
FIGURES: dict[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "reliability": _reliability,
    "precision_recall": _precision_recall,
    "risk_coverage": _risk_coverage,
    "types": _type_bars,
    "prior_ratios": _prior_ratios,
}


def types_of_gold(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Types of gold, the commonest first."""
    key = "spans_per_type" if "spans_f" in metrics else "ents_per_type"
    per_type: Mapping[str, Any] = metrics[key] or {}
    in_gold = [(label, of) for label, of in per_type.items() if of["support"]]
    return sorted(in_gold, key=lambda item: (-item[1]["support"], item[0]))


def what_is_found(metrics: Mapping[str, Any]) -> str:
    """What is found and scored: the spans of a pipeline with overlaps are all its mentions."""
    return "mentions" if "spans_f" in metrics else "entities"


def ratios_of_gold(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Types with gold tokens, the commonest first."""
    per_type: Mapping[str, Any] = metrics["prior_ratios_per_type"] or {}
    in_gold = [(label, of) for label, of in per_type.items() if of["mass"] is not None]
    return sorted(in_gold, key=lambda item: (-item[1]["tokens"], item[0]))


def _rows(figure: Any, names: Sequence[str]) -> Any:
    """Axes with a row per name, the first on top."""
    figure.set_size_inches(7.2, 1.5 + 0.19 * len(names))
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _unit_square(axes: Any) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
