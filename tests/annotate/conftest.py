from __future__ import annotations

from pathlib import Path

import pytest
import spacy

from ..fitting.stores import make_document, train_pipeline


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained pipeline of two labels and more."""
    blank = spacy.blank("en")
    nlp = train_pipeline([make_document(blank, number) for number in range(15)], steps=60)
    nlp.meta["name"], nlp.meta["version"] = "small", "1.2.3"
    folder = tmp_path_factory.mktemp("model") / "small"
    nlp.to_disk(folder)
    return folder
