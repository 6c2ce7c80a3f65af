from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy

from ..fitting.stores import make_document, train_pipeline

COUNT = 45


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained pipeline of two labels and more."""
    blank = spacy.blank("en")
    nlp = train_pipeline([make_document(blank, number) for number in range(15)], steps=60)
    nlp.meta["name"], nlp.meta["version"] = "small", "1.2.3"
    folder = tmp_path_factory.mktemp("model") / "small"
    nlp.to_disk(folder)
    return folder


def texts() -> list[str]:
    nlp = spacy.blank("en")
    return [make_document(nlp, number).text for number in range(COUNT)]


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notes") / "notes.jsonl"
    rows = [{"id": f"n{number}", "text": text} for number, text in enumerate(texts())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
