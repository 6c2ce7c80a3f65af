"""One reader for all formats: a path, the format or "auto", and the settings of its reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from spacy.vocab import Vocab

from ...errors import InputError, check_choice
from .. import gold
from ..mentions import AnnotatedText
from . import bioc_json, brat, conll, jsonl, pubtator
from .detect import FORMATS, Format, detect_format

#: Settings of each format's reader; see there what they mean.
SETTINGS: dict[Format, tuple[str, ...]] = {
    "brat": ("annotator",),
    "conll": ("label_column", "word_column", "scheme"),
    "jsonl": ("offsets", "annotator"),
    "pubtator": ("offsets",),
    "bioc": ("offsets",),
    "docbin": (),
}
#: Endings, in lower case, of the files that are read in a folder.
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "brat": (".txt", ".ann"),
    "conll": conll.SUFFIXES,
    "jsonl": jsonl.SUFFIXES,
    "pubtator": pubtator.SUFFIXES,
    "bioc": bioc_json.SUFFIXES,
    "docbin": gold.SUFFIXES,
}
_READERS: dict[Format, Callable[..., Iterator[AnnotatedText]]] = {
    "brat": brat.read_brat,
    "conll": conll.read_conll,
    "jsonl": jsonl.read_jsonl,
    "pubtator": pubtator.read_pubtator,
    "bioc": bioc_json.read_bioc_json,
    "docbin": lambda path: gold.read_docbin_texts(path, Vocab()),
}


def read_texts(
    path: Path, *, format: Format | Literal["auto"] = "auto", **settings: Any
) -> Iterator[AnnotatedText]:
    """Read a corpus, one document at a time where its format lets one.

    Args:
        path: a file or a flat folder.
        format: "auto" to detect it from what is in the files.
        settings: those of the format's reader (see SETTINGS); None is the reader's default.

    Raises:
        ClinicalNerError: an unknown format, for a setting that the format does not have, and as the
            format's reader does.
    """
    check_choice("format", format, ("auto", *FORMATS))
    found = detect_format(path) if format == "auto" else format
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given:
        if name not in SETTINGS[found]:
            having = [other for other in FORMATS if name in SETTINGS[other]]
            raise InputError(
                f"{path}: is {found}, for which the setting '{name}' has no meaning; it is one of "
                f"{', '.join(having) or 'no format'}. Omit it."
            )
    return _READERS[found](path, **given)
