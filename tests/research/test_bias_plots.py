"""The picture and the CSV of the test for bias."""

from __future__ import annotations

import csv
import importlib.util
import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.research.bias import bias_plots as report

from .bias_examples import result, row

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
needs_matplotlib = pytest.mark.skipif(not HAS_MATPLOTLIB, reason="draws with matplotlib")


def make_bias(*losses: dict[str, Any]) -> dict[str, Any]:
    return {
        "settings": {"tolerance": [0.8, 1.25], "judged_from": 50},
        "tags": losses[0]["tags"],
        "losses": list(losses),
    }


def svg_texts(path: Path) -> str:
    """The comments in which matplotlib repeats each text that it draws as shapes."""
    return path.read_text(encoding="utf-8")


def test_csv_has_a_row_per_loss_and_tag() -> None:
    bias = make_bias(result("plain", 0.98), result("soft_dice", None))
    rows = list(csv.DictReader(io.StringIO(report.csv_text(bias))))
    assert [(r["loss"], r["tag"]) for r in rows] == [
        ("plain", "O"),
        ("plain", "B-L1"),
        ("soft_dice", "O"),
        ("soft_dice", "B-L1"),
    ]
    assert float(rows[1]["mass_after"]) == 0.98
    assert float(rows[1]["mass_before"]) == 40.0
    assert rows[3]["mass_after"] == rows[3]["argmax_after"] == ""
    assert rows[3]["has_posterior"] == "False"


@needs_matplotlib
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_json_gives_the_same_picture(kind: str, tmp_path: Path) -> None:
    bias = make_bias(result("plain", 0.98), result("soft_dice", None))
    report.draw(bias, tmp_path / "a", kind=kind)
    report.draw(bias, tmp_path / "b", kind=kind)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@needs_matplotlib
def test_the_picture_names_losses_and_says_what_is_not_promised(tmp_path: Path) -> None:
    bias = make_bias(result("plain", 0.98), result("soft_dice", None))
    report.draw(bias, tmp_path / "bias.svg", kind="svg")
    text = svg_texts(tmp_path / "bias.svg")
    ET.fromstring(text)
    assert "title of plain" in text
    assert text.count("no inverse promised") == 2


@needs_matplotlib
def test_another_ratio_makes_another_picture(tmp_path: Path) -> None:
    report.draw(make_bias(result("plain", 0.98)), tmp_path / "a", kind="svg")
    report.draw(make_bias(result("plain", 1.9)), tmp_path / "b", kind="svg")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@needs_matplotlib
def test_many_tags_are_drawn_without_their_names(tmp_path: Path) -> None:
    many = result("plain", 1.0)
    many["tags"] = [
        row(f"B-L{n}", tokens=30 + n, share=0.01, before=2.0, after=1.0) for n in range(40)
    ]
    report.draw(make_bias(many), tmp_path / "a.svg", kind="svg")
    text = svg_texts(tmp_path / "a.svg")
    assert "B-L7" not in text
    assert "under 50 training tokens" in text


def test_without_matplotlib_there_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClinicalNerError, match=r"needs matplotlib: pip install"):
        report.draw(make_bias(result("plain", 1.0)), tmp_path / "a.png", kind="png")
    assert not (tmp_path / "a.png").exists()
