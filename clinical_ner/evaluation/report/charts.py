"""The charts of a report, as Vega-Lite specifications made by Altair.

Colours are names of the page's stylesheet, so that dark screens and paper have their own. No series
differs from another by its colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import shown_label
from ..plots import (
    MASS_AXIS,
    MASS_BAND,
    NOT_CALIBRATED,
    missing,
    ratios_of_gold,
    types_of_gold,
    what_is_found,
)

if TYPE_CHECKING:
    import altair as alt

#: Pairs of types that the chart of confusions shows.
MOST_PAIRS = 15
OWN, OTHER, INK, SOFT, BAND = (f"var(--{name})" for name in ("own", "other", "ink", "soft", "band"))
WIDTH, ROW = 340, 13


def specifications(
    metrics: Mapping[str, Any], confusions: Mapping[tuple[str, str], int]
) -> dict[str, dict[str, Any]]:
    """The charts that an evaluation allows, by name.

    Args:
        metrics: what metrics.json holds.
        confusions: tokens by type in gold and predicted type.
    """
    charts: dict[str, Callable[[], alt.TopLevelMixin]] = {
        "types": lambda: _types(type_rows(metrics)),
        "reliability": lambda: _reliability(metrics),
        "risk_coverage": lambda: _risk_coverage(metrics),
        "prior_ratios": lambda: _prior_ratios(metrics),
    }
    left_out = missing(metrics)
    if confusions:
        charts["confusion"] = lambda: _confusion(confusions)
    return {
        name: make().configure(**_STYLE).to_dict()
        for name, make in charts.items()
        if name not in left_out
    }


#: No number or name of a colour is in a chart that its page could not change.
_STYLE: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": SOFT,
        "tickColor": SOFT,
        "gridColor": BAND,
        "titleFontWeight": "normal",
        "labelLimit": 240,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "orient": "bottom", "labelLimit": 320},
    "title": {"color": INK, "anchor": "start", "fontSize": 12},
    "view": {"stroke": None},
}


def type_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the chart of types, the commonest type first, which the page draws again."""
    return [
        {"type": type_title(label, of["support"]), "score": score, "value": of[key]}
        for label, of in types_of_gold(metrics)
        for key, score in (("f", "F1"), ("r", "recall"), ("p", "precision"))
    ]


def type_title(label: str, support: int) -> str:
    """A type and its number in gold."""
    return f"{shown_label(label)} ({support})"


def _types(rows: Sequence[Mapping[str, Any]]) -> alt.TopLevelMixin:
    """F1 as a bar, recall and precision as marks."""
    import altair as alt

    base = alt.Chart(alt.InlineData(values=list(rows), name="types")).encode(
        x=alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("type:N", title=None, sort=None),
        tooltip=["type:N", "score:N", alt.Tooltip("value:Q", format=".3f")],
    )
    bars = base.transform_filter("datum.score == 'F1'").mark_bar(color=BAND, stroke=SOFT)
    marks = (
        base.transform_filter("datum.score != 'F1'")
        .mark_point(filled=True, size=40, opacity=1)
        .encode(
            color=_scale(alt.Color, "score", {"recall": OWN, "precision": OTHER}),
            shape=_scale(alt.Shape, "score", {"recall": "circle", "precision": "triangle-up"}),
        )
    )
    return alt.layer(bars, marks).properties(width=WIDTH, height=alt.Step(ROW))


def _reliability(metrics: Mapping[str, Any]) -> alt.TopLevelMixin:
    """Share that is right over probability, of tokens and of entities, before and after."""
    import altair as alt

    before: Mapping[str, Any] = metrics["before_calibration"] or {}
    series = {"calibrated" if metrics["calibrated"] else NOT_CALIBRATED: ""}
    if before:
        series = {NOT_CALIBRATED: "_before", **series}
    colors = dict(zip(series, (OTHER, OWN) if before else (OWN,), strict=True))
    shapes = dict(zip(series, ("square", "circle") if before else ("circle",), strict=True))
    panels = []
    for what, score in (("tokens", "token_ece"), ("entities", "ents_ece")):
        rows = [
            {"series": name, **bin_}
            for name, suffix in series.items()
            for bin_ in metrics["reliability"][what + suffix]
        ]
        diagonal = alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        chart = alt.Chart(alt.InlineData(values=rows)).encode(
            x=alt.X("confidence:Q", title="Probability", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("accuracy:Q", title="Share that is right", scale=alt.Scale(domain=[0, 1])),
            color=_scale(alt.Color, "series", colors),
            shape=_scale(alt.Shape, "series", shapes),
            tooltip=["series:N", "count:Q"]
            + [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("confidence", "accuracy")],
        )
        errors = [_number(of[score]) for of in (before, metrics) if of]
        name = what_is_found(metrics) if what == "entities" else what
        panels.append(
            alt.layer(
                diagonal.mark_line(color=SOFT, strokeDash=[4, 3]).encode(x="x:Q", y="y:Q"),
                chart.mark_line(strokeWidth=1.2).encode(shape=alt.Undefined),
                chart.mark_point(filled=True, size=36, opacity=1),
            ).properties(
                width=(WIDTH - 70) / 2 + 35,
                height=(WIDTH - 70) / 2 + 35,
                title=f"{name.capitalize()}: ECE {' → '.join(errors)}",
            )
        )
    return alt.hconcat(*panels, spacing=12)


def _risk_coverage(metrics: Mapping[str, Any]) -> alt.TopLevelMixin:
    """Precision and recall over the share that a threshold keeps."""
    import altair as alt

    curves = metrics["risk_coverage"]
    names = [f"{of['group']} ({of['made']} predicted)" for of in curves]
    rows = [
        {"group": name, "score": score, "share": share, "value": value}
        for name, of in zip(names, curves, strict=True)
        for score in ("precision", "recall")
        for share, value in zip(of["share"], of[score], strict=True)
    ]
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=1.6)
        .encode(
            x=alt.X(
                "share:Q",
                title=f"Share of the predicted {what_is_found(metrics)} kept",
                scale=alt.Scale(domain=[0, 1]),
            ),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1])),
            color=_scale(alt.Color, "group", dict(zip(names, (OWN, OTHER), strict=False))),
            strokeDash=_scale(alt.StrokeDash, "score", {"precision": [1, 0], "recall": [5, 3]}),
        )
        .properties(width=WIDTH, height=190)
    )


def _prior_ratios(metrics: Mapping[str, Any]) -> alt.TopLevelMixin:
    """Mass ratio of every type with its interval; what lies beyond the axis is at its end."""
    import altair as alt

    least, most = MASS_AXIS
    rows = []
    for label, of in ratios_of_gold(metrics):
        low, high = of.get("mass_interval") or (of["mass"], of["mass"])
        row = {"type": type_title(label, of["tokens"]), "ratio": of["mass"]}
        row |= {"low": min(max(low, least), most), "high": min(max(high, least), most)}
        row["at"] = min(max(of["mass"], least), most)
        row["interval"] = "holds 1" if low <= 1 <= high else "excludes 1"
        rows.append(row)
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=alt.Y("type:N", title=None, sort=None))
    scale = alt.Scale(type="log", domain=[least, most])
    axis = alt.X(
        "at:Q",
        title="Mean probability / share in gold",
        scale=scale,
        axis=alt.Axis(values=[0.05, 0.2, 0.5, 1, 2, 5, 20], format="~g"),
    )
    low, high = MASS_BAND
    return alt.layer(
        alt.Chart(alt.InlineData(values=[{"at": low, "end": high}]))
        .mark_rect(color=BAND)
        .encode(x=axis, x2="end:Q"),
        base.mark_rule(color=INK).encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        base.mark_point(filled=True, size=44, opacity=1).encode(
            x=axis,
            color=_scale(alt.Color, "interval", {"holds 1": OWN, "excludes 1": OTHER}),
            shape=_scale(alt.Shape, "interval", {"holds 1": "circle", "excludes 1": "square"}),
            tooltip=["type:N", alt.Tooltip("ratio:Q", format=".2f"), "interval:N"],
        ),
    ).properties(width=WIDTH, height=alt.Step(ROW))


def _confusion(confusions: Mapping[tuple[str, str], int]) -> alt.TopLevelMixin:
    """The commonest pairs of gold and prediction that differ."""
    import altair as alt

    pairs = sorted(confusions.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]
    rows = [
        {"pair": f"{shown_label(gold)} → {shown_label(predicted)}", "tokens": count}
        for (gold, predicted), count in pairs
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("tokens:Q", title="Tokens, gold → predicted"),
        y=alt.Y("pair:N", title=None, sort=None),
    )
    text = base.mark_text(align="left", dx=3, color=INK).encode(text="tokens:Q")
    return alt.layer(base.mark_bar(color=OWN), text).properties(width=WIDTH, height=alt.Step(ROW))


def _scale(channel: Any, field: str, values: Mapping[str, Any]) -> Any:
    """A channel that gives each value of a field its own, with a legend but no title."""
    import altair as alt

    scale = alt.Scale(domain=list(values), range=list(values.values()))
    return channel(f"{field}:N", title=None, scale=scale)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
