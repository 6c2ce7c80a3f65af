from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.research.compare.comparison import SCORES
from clinical_ner.research.compare.comparison_report import (
    csv_text,
    draw_types,
    markdown,
    notes,
    table_rows,
    titles,
)


def score(value: float | None, difference: float | None = None) -> dict[str, Any]:
    interval = None if difference is None else [difference - 0.01, difference + 0.02]
    return {
        "value": value,
        "seeds": [value],
        "low": value,
        "high": value,
        "interval": None,
        "difference": difference,
        "difference_interval": interval,
    }


def row(name: str, seeds: list[int], **scores: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "recipe": name.split(",")[0],
        "prior_strength": 1.0,
        "seeds": seeds,
        "words_per_second": 123.4,
        "scores": {column: scores.get(column, score(None)) for column in SCORES},
        "types": {"Sign": {"f": 0.75, "support": 4}, "Drug": {"f": 0.5, "support": 9}},
    }


@pytest.fixture
def comparison() -> dict[str, Any]:
    return {
        "documents": 6,
        "scored_on": "test",
        "rare_mentions": 100,
        "rare_types": 2,
        "training_mentions": {"Sign": 90, "Drug": 5},
        "rows": [
            row("plain", [0, 1], ents_f=score(0.5811, 0.0)),
            row("own", [0], ents_f=score(0.6, 0.0189), token_ece=score(0.0123, 0.001)),
            row("own, s = 0.5", [0], ents_f=score(0.61, 0.0289)),
        ],
    }


def test_a_cell_gives_the_score_its_range_and_its_difference(comparison: dict[str, Any]) -> None:
    comparison["rows"][0]["scores"]["ents_f"] |= {"low": 0.57, "high": 0.59}
    first, other, _ = (
        dict(zip(titles(comparison), row, strict=True)) for row in table_rows(comparison)
    )
    assert first["recipe"] == ["plain"]
    assert first["micro-F"] == ["58.1", "57.0 to 59.0"]
    assert other["recipe"] == ["own*"]
    assert other["micro-F"] == ["60.0", "+1.9", "[+0.9, +3.9]"]
    assert other["token ECE"] == ["1.23", "+0.10", "[-0.90, +2.10]"]
    assert other["macro-F"] == ["n/a"]
    assert other["words/s"] == ["123"]


def test_scores_of_all_mentions_are_columns_where_a_recipe_has_them(
    comparison: dict[str, Any],
) -> None:
    assert "micro-F, all mentions" not in titles(comparison)
    assert "of doc.ents against flat entities" in markdown(comparison)
    assert not any("all mentions" in line for line in notes(comparison))
    for number, of in enumerate(comparison["rows"]):
        of["scores"] |= {"spans_f": score(0.7 if number else None), "spans_macro_f": score(None)}
    first, other, _ = (
        dict(zip(titles(comparison), of, strict=True)) for of in table_rows(comparison)
    )
    assert first["micro-F, all mentions"] == ["n/a"]
    assert other["micro-F, all mentions"] == ["70.0"]
    assert any("all mentions" in line for line in notes(comparison))
    assert next(csv.DictReader(io.StringIO(csv_text(comparison))))["spans_f"] == ""
    assert "micro-F, all mentions" in markdown(comparison)


def test_markdown_is_a_table_that_marks_single_seeds(comparison: dict[str, Any]) -> None:
    lines = markdown(comparison).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3
    assert {line.count("|") for line in table} == {2 + 1 + len(SCORES)}
    assert table[2].startswith("| plain | 58.1")
    assert table[3].startswith(r"| own\* | 60.0<br>+1.9")
    assert any("one seed" in line for line in lines)


def test_no_word_of_single_seeds_where_there_is_none(comparison: dict[str, Any]) -> None:
    for of in comparison["rows"]:
        of["seeds"] = [0, 1]
    assert "one seed" not in markdown(comparison)


def test_csv_holds_the_numbers_unrounded(comparison: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(comparison))))
    assert [r["name"] for r in rows] == ["plain", "own", "own, s = 0.5"]
    assert float(rows[1]["ents_f"]) == 0.6
    assert float(rows[1]["ents_f_difference_low"]) == pytest.approx(0.0089)
    assert rows[0]["token_ece"] == ""
    assert rows[0]["seeds"] == "0 1"


def test_the_same_json_draws_the_same_files(tmp_path: Path, comparison: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib")
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
        for path in paths:
            draw_types(comparison, path, kind=kind)
        first, second = (path.read_bytes() for path in paths)
        assert first == second and first.startswith(start)


def test_types_stand_in_the_order_of_training_mentions(
    tmp_path: Path, comparison: dict[str, Any]
) -> None:
    pytest.importorskip("matplotlib")
    draw_types(comparison, tmp_path / "types.svg", kind="svg")
    text = (tmp_path / "types.svg").read_text(encoding="utf-8")
    # Letters are drawn as shapes; what they spell stands beside them in comments.
    assert 0 < text.index("<!-- Sign (90) -->") < text.index("<!-- Drug (5) -->")
    assert "<!-- own -->" in text and "s = 0.5" not in text


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, comparison: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ClinicalNerError,
        match=r"types\.svg.*pip install 'clinical-ner\[plots\]",
    ):
        draw_types(comparison, tmp_path / "types.svg", kind="svg")
    assert not (tmp_path / "types.svg").exists()
