"""The documents of a comparison: divided already, or annotated notes that it divides itself."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from spacy.vocab import Vocab

from ...data.convert import blank, convert
from ...data.gold import read_gold
from ...data.split.split import REPORT, split
from ...data.split.stratify import PARTS
from ...errors import InputError
from ...files import sha256

#: Division of annotated notes, where the command says nothing else.
DIVISION = {"dev": 0.1, "test": 0.2, "seed": 0}


def divide(
    corpus: Path,
    folder: Path,
    *,
    lang: str,
    dev: float | None,
    test: float | None,
    seed: int | None,
    overlaps: bool,
) -> tuple[dict[str, Path], dict[str, Any] | None]:
    """Find train, dev and test, or make them.

    Args:
        corpus: a brat folder, or a folder that holds train.spacy, dev.spacy and test.spacy.
        folder: where the notes of a brat folder are converted and divided.
        lang: language whose tokenizer conversion uses.
        dev: of that division.
        test: see `dev`.
        seed: see `dev`.
        overlaps: see `split`.

    Returns:
        The three files by name, and the settings of the division, None if it was there.

    Raises:
        ClinicalNerError: the folder is neither, its notes cannot be converted or divided, a setting
            would do nothing, or two files hold the same documents.
    """
    if not corpus.is_dir():
        raise InputError(
            f"{corpus}: no such folder. Name a folder with pairs of NAME.txt and NAME.ann files."
        )
    settings = {"dev": dev, "test": test, "seed": seed}
    given = {name: value for name, value in settings.items() if value is not None}
    division: dict[str, Any] | None = None
    files = {part: corpus / f"{part}.spacy" for part in PARTS}
    if all(path.is_file() for path in files.values()):
        if given:
            raise InputError(
                f"{corpus}: its documents are divided already, so --dev, --test and --split-seed "
                "would do nothing. Omit them."
            )
    elif not any(corpus.glob("*.txt")):
        names = ", ".join(path.name for path in files.values())
        raise InputError(
            f"{corpus}: holds neither pairs of NAME.txt and NAME.ann files nor all of {names}. "
            "Name a folder with annotated notes, or one that clinical-ner split wrote."
        )
    else:
        division = {**DIVISION, **given, **({"overlaps": True} if overlaps else {})}
        convert(corpus, folder / "all.spacy", nlp=blank(lang))
        split(folder / "all.spacy", folder, **division)
        files = {part: folder / path.name for part, path in files.items()}
    seen: dict[str, Path] = {}
    for path in files.values():
        first = seen.setdefault(sha256(path.read_bytes()), path)
        if first != path:
            raise InputError(
                f"{first} and {path}: the same documents. What is learned, what chooses the model "
                "and what scores it must differ; divide them again with clinical-ner split."
            )
    return files, division


def keep(folder: Path, target: Path) -> dict[str, Path]:
    """Move what `divide` made from its folder to another.

    Returns:
        The three files as they are to be used.

    Raises:
        InputError: another file has the name of one of them.
    """
    target.mkdir(exist_ok=True)
    names = {part: f"{part}.spacy" for part in PARTS}
    for name in (*names.values(), REPORT):
        check_same(folder / name, target / name)
    for name in (*names.values(), REPORT):
        os.replace(folder / name, target / name)
    return {part: target / name for part, name in names.items()}


def check_same(file: Path, target: Path) -> None:
    """Raise InputError if there is a file in a file's place that is not the same."""
    if target.exists() and target.read_bytes() != file.read_bytes():
        raise InputError(
            f"{target}: exists, and is not what would be written there. Name another output folder."
        )


def count_mentions(path: Path) -> dict[str, int]:
    """Mentions by type of a .spacy file.

    Raises:
        ClinicalNerError: it cannot be read, or holds none.
    """
    return dict(Counter(ent.label_ for doc in read_gold(path, Vocab()) for ent in doc.ents))
