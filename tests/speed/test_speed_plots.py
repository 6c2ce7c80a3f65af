"""The picture of growth."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.research.speed.speed_plots import draw_growth

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
needs_matplotlib = pytest.mark.skipif(not HAS_MATPLOTLIB, reason="draws with matplotlib")


def row(variant: str, kind: str, notes: int, words: int, **told: Any) -> dict[str, Any]:
    return {"variant": variant, "kind": kind, "notes": notes, "words": words, **told}


def make_measured(**of_last: Any) -> dict[str, Any]:
    figures = {"words_per_second": 1000.0, "reading_mib": 600.0, "peak_mib": 900.0}
    return {
        "variants": [
            {"variant": "ours", "title": "(b) ours"},
            {"variant": "spacy_ner", "title": "(c) spaCy's ner"},
        ],
        "growth": [
            row("ours", "notes", 10, 150, **figures),
            row("ours", "notes", 100, 150, **figures),
            row("ours", "words", 1, 100, **figures),
            row("spacy_ner", "notes", 10, 150, **(of_last or figures)),
        ],
    }


@needs_matplotlib
def test_axes_and_variants_are_named(tmp_path: Path) -> None:
    draw_growth(make_measured(), tmp_path / "growth.svg", kind="svg")
    text = (tmp_path / "growth.svg").read_text(encoding="utf-8")
    ET.fromstring(text)
    for label in ("(b) ours", "(c) spaCy's ner", "Notes of 150 words", "Words of one note"):
        assert f"<!-- {label} -->" in text
    assert "<!-- Words per second -->" in text


@needs_matplotlib
def test_axes_have_numbers_however_close_the_figures(tmp_path: Path) -> None:
    draw_growth(make_measured(), tmp_path / "growth.svg", kind="svg")
    text = (tmp_path / "growth.svg").read_text(encoding="utf-8")
    # Sizes that were measured, bounds of the speed, and memory from 0.
    for label in ("10", "100", "1,000", "2,000", "0"):
        assert f"<!-- {label} -->" in text


@needs_matplotlib
def test_without_any_figure_there_is_still_a_picture(tmp_path: Path) -> None:
    measured = make_measured()
    for row in measured["growth"]:
        row.update(words_per_second=None, reading_mib=None)
    draw_growth(measured, tmp_path / "growth.png", kind="png")
    assert (tmp_path / "growth.png").stat().st_size > 0


@needs_matplotlib
def test_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    for kind in ("png", "svg"):
        paths = [tmp_path / f"{number}.{kind}" for number in (1, 2)]
        for path in paths:
            draw_growth(make_measured(), path, kind=kind)
        assert paths[0].read_bytes() == paths[1].read_bytes()


@needs_matplotlib
@pytest.mark.parametrize(
    "told",
    [{"reason": "out of memory"}, {"words_per_second": 1000.0, "reading_mib": None}],
)
def test_what_could_not_be_measured_is_left_out(told: dict[str, Any], tmp_path: Path) -> None:
    draw_growth(make_measured(), tmp_path / "all.svg", kind="svg")
    draw_growth(make_measured(**told), tmp_path / "less.svg", kind="svg")
    sizes = [(tmp_path / f"{name}.svg").read_text().count("<use") for name in ("all", "less")]
    assert sizes[1] < sizes[0]


def test_without_matplotlib_it_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClinicalNerError, match="pip install 'clinical-ner"):
        draw_growth(make_measured(), tmp_path / "growth.png", kind="png")
