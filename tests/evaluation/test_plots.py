"""The pictures of an evaluation."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.plots import FIGURES, draw, missing

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
needs_matplotlib = pytest.mark.skipif(not HAS_MATPLOTLIB, reason="draws with matplotlib")


def bins(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"confidence": sure, "accuracy": right, "count": 10} for sure, right in pairs]


def make_metrics(*, calibrated: bool = True) -> dict[str, Any]:
    """A dict like that of metrics.json, as far as it is drawn."""
    metrics: dict[str, Any] = {
        "calibrated": calibrated,
        "token_ece": 0.0123,
        "ents_ece": None,
        "before_calibration": None,
        "reliability": {"tokens": bins((0.4, 0.5), (0.9, 0.88)), "entities": []},
        "precision_recall": [
            {
                "group": "under 100 training mentions",
                "types": 1,
                "gold": 7,
                "ap": 0.25,
                "recall": [0.1, 0.4],
                "precision": [1.0, 0.3],
                "threshold": [0.9, 0.1],
            }
        ],
        "risk_coverage": [
            {
                "group": "all types",
                "made": 12,
                "gold": 13,
                "share": [0.5, 1.0],
                "precision": [0.9, 0.6],
                "recall": [0.4, 0.55],
                "threshold": [0.8, 0.2],
            }
        ],
        "ents_per_type": {
            "Drug": {"f": 0.5, "ap": 0.4, "support": 4},
            "Sign": {"f": 0.75, "ap": 0.8, "support": 9},
            "Nowhere": {"f": None, "ap": None, "support": 0},
        },
        "prior_ratios_per_type": {
            "Drug": {"tokens": 6, "mass": 0.0, "mass_interval": [0.0, 0.0]},
            "Far": {"tokens": 1, "mass": 70.0, "mass_interval": None},
            "Sign": {"tokens": 12, "mass": 1.1, "mass_interval": [0.7, 30.0]},
            "Nowhere": {"tokens": 0, "mass": None, "mass_interval": None},
        },
    }
    if calibrated:
        metrics["before_calibration"] = {"token_ece": 0.1357, "ents_ece": 0.2468}
        metrics["reliability"] |= {
            "tokens_before": bins((0.7, 0.5)),
            "entities_before": bins((0.8, 0.4)),
        }
    return metrics


def without_probabilities() -> dict[str, Any]:
    names = ("calibrated", "token_ece", "ents_ece", "before_calibration", "reliability")
    names += ("precision_recall", "risk_coverage", "prior_ratios_per_type")
    return {**make_metrics(), **dict.fromkeys(names)}


def drawn(metrics: dict[str, Any], name: str, folder: Path) -> str:
    """The picture as SVG; letters are shapes, and what they spell is in comments."""
    draw(metrics, name, folder / f"{name}.svg", kind="svg")
    text = (folder / f"{name}.svg").read_text(encoding="utf-8")
    ET.fromstring(text)
    return text


@needs_matplotlib
@pytest.mark.parametrize(
    ("name", "kind", "start"),
    [*((name, "svg", b"<?xml") for name in FIGURES), ("types", "png", b"\x89PNG")],
)
def test_the_same_metrics_give_the_same_picture(
    name: str, kind: str, start: bytes, tmp_path: Path
) -> None:
    for file in ("a", "b"):
        draw(make_metrics(), name, tmp_path / file, kind=kind)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes() and content.startswith(start)
    assert b"<dc:date>" not in content and bytes(tmp_path) not in content


@needs_matplotlib
def test_the_reliability_diagram_shows_the_error_before_and_after(tmp_path: Path) -> None:
    text = drawn(make_metrics(), "reliability", tmp_path)
    assert "<!-- not calibrated, ECE 0.136 -->" in text
    assert "<!-- calibrated, ECE 0.012 -->" in text
    assert "<!-- not calibrated, ECE 0.247 -->" in text and "<!-- calibrated, ECE n/a -->" in text


@needs_matplotlib
@pytest.mark.parametrize("name", FIGURES)
def test_the_axes_fill_the_picture_where_something_is_empty(name: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    FIGURES[name](figure, make_metrics(calibrated=False))
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_position().width > 0.35 and axes.get_position().height > 0.3


@needs_matplotlib
@pytest.mark.parametrize(
    "name", ["reliability", "precision_recall", "risk_coverage", "prior_ratios"]
)
def test_pictures_say_where_probabilities_are_not_calibrated(name: str, tmp_path: Path) -> None:
    assert "not calibrated" in drawn(make_metrics(calibrated=False), name, tmp_path)
    if name == "reliability":
        assert "<!-- calibrated" not in drawn(make_metrics(calibrated=False), name, tmp_path)
    else:
        assert "not calibrated" not in drawn(make_metrics(), name, tmp_path)


@needs_matplotlib
def test_curves_are_named_with_what_they_are_over(tmp_path: Path) -> None:
    text = drawn(make_metrics(), "precision_recall", tmp_path)
    assert "under 100 training mentions" in text and "(1 type, 7 entities, AP 0.25)" in text
    text = drawn(make_metrics(), "risk_coverage", tmp_path)
    for score in ("precision", "recall"):
        assert f"<!-- {score}, all types (12 predicted) -->" in text


@needs_matplotlib
@pytest.mark.parametrize(
    ("name", "labels"),
    [("types", ["Sign (9)", "Drug (4)"]), ("prior_ratios", ["Sign (12)", "Drug (6)", "Far (1)"])],
)
def test_types_of_gold_stand_in_the_order_of_their_number(
    name: str, labels: list[str], tmp_path: Path
) -> None:
    text = drawn(make_metrics(), name, tmp_path)
    places = [text.index(f"<!-- {label} -->") for label in labels]
    assert places == sorted(places) and "Nowhere" not in text


@needs_matplotlib
@pytest.mark.parametrize("name", FIGURES)
def test_other_metrics_make_another_picture(name: str, tmp_path: Path) -> None:
    other = make_metrics()
    other["reliability"]["tokens"][0]["accuracy"] = 0.6
    other["precision_recall"][0]["precision"][1] = 0.6
    other["risk_coverage"][0]["recall"][1] = 0.6
    other["ents_per_type"]["Sign"]["f"] = 0.6
    other["prior_ratios_per_type"]["Sign"]["mass_interval"] = [0.6, 2.0]
    assert drawn(make_metrics(), name, tmp_path) != drawn(other, name, tmp_path)


@needs_matplotlib
def test_without_probabilities_the_types_are_drawn(tmp_path: Path) -> None:
    metrics = without_probabilities()
    metrics["ents_per_type"] = {
        label: {**of, "ap": None} for label, of in metrics["ents_per_type"].items()
    }
    probabilities = ["reliability", "precision_recall", "risk_coverage", "prior_ratios"]
    assert list(missing(metrics)) == probabilities
    text = drawn(metrics, "types", tmp_path)
    assert "Sign (9)" in text and "average precision" not in text


def test_nothing_is_missing_where_all_is_known() -> None:
    assert missing(make_metrics()) == {}


def test_what_gold_lacks_cannot_be_drawn() -> None:
    nothing = {"ents_per_type": None, "precision_recall": [], "prior_ratios_per_type": {}}
    nothing["risk_coverage"] = []
    assert set(missing({**make_metrics(), **nothing})) == {
        *("precision_recall", "risk_coverage", "types", "prior_ratios")
    }


def test_without_matplotlib_there_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClinicalNerError, match=r"types\.png.*pip install 'clinical-ner"):
        draw(make_metrics(), "types", tmp_path / "types.png", kind="png")
    assert not (tmp_path / "types.png").exists()


@needs_matplotlib
def test_with_overlaps_mentions_are_drawn_with_the_f1_of_entities(tmp_path: Path) -> None:
    metrics = make_metrics()
    metrics["spans_f"] = 0.5
    metrics["spans_per_type"] = {
        "Nested": {"f": 0.5, "ap": 0.4, "support": 11},
        "Sign": {"f": 0.9, "ap": 0.8, "support": 12},
    }
    text = drawn(metrics, "types", tmp_path)
    for words in ("Sign (12)", "Nested (11)", "F1 by type (gold mentions)", "F1 of doc.ents"):
        assert f"<!-- {words} -->" in text
    assert "F1 of doc.ents" not in drawn(make_metrics(), "types", tmp_path)
    assert "7 mentions, AP 0.25" in drawn(metrics, "precision_recall", tmp_path)
    assert "Mentions that were predicted" in drawn(metrics, "reliability", tmp_path)
