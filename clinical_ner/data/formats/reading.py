"""One way into every format: a path, the format or "auto", and what else the format may be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from spacy.vocab import Vocab

from ...errors import InputError, check_choice
from ..gold import read_docbin_texts
from ..mentions import AnnotatedText
from .bioc_json import read_bioc_json
from .brat import read_brat
from .conll import read_conll
from .detect import FORMATS, Format, detect_format
from .jsonl import read_jsonl
from .pubtator import read_pubtator

#: Settings of each format's reader; see there what they mean.
SETTINGS: dict[Format, tuple[str, ...]] = {
    "brat": ("annotator",),
    "conll": ("label_column", "word_column", "scheme"),
    "jsonl": ("offsets", "annotator"),
    "pubtator": ("offsets",),
    "bioc": ("offsets",),
    "docbin": (),
}
_READERS: dict[Format, Callable[..., Iterator[AnnotatedText]]] = {
    "brat": read_brat,
    "conll": read_conll,
    "jsonl": read_jsonl,
    "pubtator": read_pubtator,
    "bioc": read_bioc_json,
    "docbin": lambda path: read_docbin_texts(path, Vocab()),
}


def read_texts(
    path: Path, *, format: Format | Literal["auto"] = "auto", **settings: Any
) -> Iterator[AnnotatedText]:
    """Read a corpus, one document at a time where its format lets one.

    path: a file or a flat folder.
    format: "auto" to tell it from what is in the files.
    settings: those of the format's reader (see SETTINGS); None stands for the reader's default.
    Raises ClinicalNerError for an unknown format, for a setting that the format does not have, and
    as the format's reader does.
    """
    check_choice("format", format, ("auto", *FORMATS))
    found = detect_format(path) if format == "auto" else format
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given:
        if name not in SETTINGS[found]:
            having = [other for other in FORMATS if name in SETTINGS[other]]
            raise InputError(
                f"{path}: is {found}, for which the setting '{name}' says nothing; it is one of "
                f"{', '.join(having) or 'no format'}. Omit it."
            )
    return _READERS[found](path, **given)
