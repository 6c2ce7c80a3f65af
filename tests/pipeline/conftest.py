from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from spacy.language import Language

from .examples import make_nlp, train, write_transformer


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random transformer."""
    return write_transformer(tmp_path_factory.mktemp("transformer"))


@pytest.fixture(scope="session")
def saved(
    transformer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Language, Path]]:
    """A trained pipeline of a kind, not to be changed, and the folder that it was saved to."""

    @cache
    def of_kind(kind: str) -> tuple[Language, Path]:
        nlp = train(make_nlp(kind, transformer))
        path = tmp_path_factory.mktemp(kind) / "model"
        nlp.to_disk(path)
        return nlp, path

    return of_kind
