"""A picture of how speed and memory grow, from the figures of a benchmark alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evaluation.plots import check_can_draw

#: Colours of Okabe and Ito; lines and markers differ in black and white too.
STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", ":", "^"),
    ("#333333", "-.", "D"),
)
#: Columns: kind of growth, what its sizes are, and the axis below.
KINDS = (("notes", "notes", "Notes of {words} words"), ("words", "words", "Words of one note"))
ROWS = (("words_per_second", "Words per second"), ("reading_mib", "Most memory while reading, MiB"))


def draw_growth(measured: Mapping[str, Any], path: Path, *, kind: str) -> None:
    """Draw speed and memory over the number of notes and over the length of one.

    Memory is the most while notes are read: the peak of all may be that of loading, whatever is
    read. Its axis begins at 0; the others are logarithmic. The same figures give the same
    file. What could not be measured is left out.

    measured: what clinical-ner benchmark --growth writes as JSON.
    path: the file to write.
    kind: "png" or "svg".

    RAISES ClinicalNerError: matplotlib is missing.
    """
    check_can_draw(path.name)
    import matplotlib.ticker
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = {row["variant"]: row["title"] for row in measured["variants"]}
    drawn = list(dict.fromkeys(row["variant"] for row in measured["growth"]))
    styles = {variant: STYLES[number % len(STYLES)] for number, variant in enumerate(drawn)}
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}}[kind]
    with matplotlib.rc_context({"svg.hashsalt": "clinical_ner", "font.size": 9}):
        figure = Figure(figsize=(8.0, 6.0), layout="constrained")
        FigureCanvasAgg(figure)
        all_axes = figure.subplots(2, 2, sharex="col", sharey="row")
        for column, (growth, size, label) in enumerate(KINDS):
            rows = [row for row in measured["growth"] if row["kind"] == growth]
            for line, (figure_of, title) in enumerate(ROWS):
                axes = all_axes[line][column]
                for variant, (color, style, marker) in styles.items():
                    points = sorted(
                        (row[size], row[figure_of])
                        for row in rows
                        if row["variant"] == variant and row.get(figure_of) is not None
                    )
                    axes.plot(
                        [at for at, _ in points],
                        [value for _, value in points],
                        color=color,
                        ls=style,
                        lw=1.4,
                        marker=marker,
                        ms=5,
                        mfc="white",
                        label=titles[variant],
                    )
                axes.set_xscale("log")
                sizes = sorted({row[size] for row in rows})
                axes.set_xticks(sizes, [_number(value) for value in sizes])
                axes.set_xticks([], minor=True)
                axes.grid(color="0.9", lw=0.6)
                axes.spines[["top", "right"]].set_visible(False)
                if not column:
                    axes.set_ylabel(title)
            words = rows[0]["words"] if rows else ""
            all_axes[1][column].set_xlabel(label.format(words=words))
        _speed_axis(all_axes[0][0], [row.get("words_per_second") for row in measured["growth"]])
        # From 0, and not logarithmic: there, a difference of 1 MiB would fill the picture.
        most = [row.get("reading_mib") or 0.0 for row in measured["growth"]]
        all_axes[1][0].set_ylim(0, 1.1 * max(most, default=0.0) or 1.0)
        all_axes[1][0].yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(_number))
        handles, labels = all_axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=2)
        figure.savefig(path, dpi=150, metadata=metadata, format=kind)


def _speed_axis(axes: Any, speeds: list[float | None]) -> None:
    """A logarithmic axis from one round number to another, with round numbers between."""
    axes.set_yscale("log")
    steps = [factor * 10.0**power for power in range(-3, 9) for factor in (1, 2, 5)]
    known = [speed for speed in speeds if speed is not None]
    low = max(step for step in steps if step <= min(known, default=1.0))
    high = min(step for step in steps if step > max(known, default=1.0))
    ticks = [step for step in steps if low <= step <= high]
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def _number(value: float, _: Any = None) -> str:
    """A tick without a power of ten."""
    return f"{value:,.0f}"
