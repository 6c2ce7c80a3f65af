"""One reader for all formats: a path, the format or "auto", and the settings of its reader."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from spacy.vocab import Vocab

from ...errors import ClinicalNerError, ClinicalNerWarning, InputError, check_choice, check_number
from ...files import corpus_files
from ..gold import GOLD_ALL, get_gold, has_gold, unknown_gold
from ..mentions import FAULTY, AnnotatedText, DocumentIds
from ..offsets import UNITS, Unit
from ..unit_judge import UnitJudge
from .annotators import Copies
from .bioc_xml import read_bioc
from .brat import read_brat
from .column_tags import SCHEMES
from .conll import read_conll
from .detect import FORMATS, SUFFIXES, Format, detect_format
from .docbin import docbin_id, read_docbin
from .huggingface import read_huggingface
from .jsonl import read_drafts, read_jsonl
from .pubtator import read_pubtator
from .webanno import read_webanno

#: Settings of each format's reader; see read_texts what they mean.
SETTINGS: dict[Format, tuple[str, ...]] = {
    "brat": ("annotator", "offsets"),
    "conll": ("label_column", "word_column", "scheme", "n_sents", "label"),
    "jsonl": ("offsets", "annotator"),
    "huggingface": ("scheme", "label", "tag_names"),
    "webanno": ("layer",),
    "pubtator": ("offsets",),
    "bioc": ("offsets",),
    "docbin": (),
}
#: What is done about a record that is at fault.
Errors = Literal["stop", "record"]
ERRORS: tuple[Errors, ...] = get_args(Errors)
_CHOICES: dict[str, tuple[str, ...]] = {"offsets": UNITS, "scheme": SCHEMES}


def read_texts(
    path: Path,
    *,
    format: Format | Literal["auto"] = "auto",
    errors: Errors = "stop",
    **settings: Any,
) -> Iterator[AnnotatedText]:
    """Read a corpus, one document at a time where its format lets one.

    Args:
        path: a file or a flat folder.
        format: "auto" to detect it from what is in the files.
        errors: "stop" raises the first fault of a record. "record" leaves out what is at fault, an
            annotation or a whole record, and gives the rest: see `AnnotatedText.faults`. What ends
            the reading of a file (not UTF-8, an array that is not JSON, columns that change) is
            raised all the same.
        settings: those that the format has (see SETTINGS); None is the default.

            - ``offsets``: what offsets count, one of UNITS; by default what the texts say that a
              document's mentions are given with, otherwise what the format fixes, otherwise what
              fits the corpus best (see `UnitJudge`).
            - ``label_column`` and ``word_column``: counted from 0, or, if negative, from the end;
              by default the last and the first.
            - ``scheme``: that of the tags; by default detected from all tags of each file.
              "lenient" takes tags as they come, faults included.
            - ``label``: that of tags without one (B, I, O).
            - ``n_sents``: sentences of a document where a file does not mark its documents; by
              default 10, 0 keeps the file as one document.
            - ``tag_names``: a file with the names of tags that are numbers; see `read_tag_names`.
            - ``layer``: that of the entities, as "Finding.value"; by default the only one.
            - ``annotator``: for brat see `read_brat`, for JSON `Copies`.

    Raises:
        ClinicalNerError: an unknown format, a setting that the format does not have, and, naming
            the file and where in it, what is not of the format, a mention that does not fit its
            text, two documents of one id, and offsets of which it cannot be told what they count.
    """
    check_choice("format", format, ("auto", *FORMATS))
    check_choice("errors", errors, ERRORS)
    found = detect_format(path) if format == "auto" else format
    given = {name: value for name, value in settings.items() if value is not None}
    for name, value in given.items():
        if name not in SETTINGS[found]:
            having = [other for other in FORMATS if name in SETTINGS[other]]
            raise InputError(
                f"{path}: is {found}, for which the setting '{name}' has no meaning; it is one of "
                f"{', '.join(having) or 'no format'}. Omit it."
            )
        if name in _CHOICES:
            check_choice(name, value, _CHOICES[name])
        if name == "n_sents":
            check_number(name, value, least=0, integer=True)
    if found == "brat":
        documents = read_brat(path, **given)
        return _checked(((document.id, document) for document in documents), errors)
    placed = _read(path, corpus_files(path, SUFFIXES[found]), _READERS[found], given)
    return _checked(placed, errors)


def _checked(placed: Iterable[_Placed], errors: Errors) -> Iterator[AnnotatedText]:
    """Give documents of which no two have one id, and raise the first fault, if it is to stop."""
    ids = DocumentIds()
    for place, document in placed:
        if document.unusable != FAULTY:
            try:
                ids.add(document.id, place)
            except ClinicalNerError as error:
                faults = (*document.faults, error)
                document = replace(document, unusable=FAULTY, faults=faults)
        if document.faults and errors == "stop":
            raise document.faults[0]
        yield document


#: A document, and where it is.
_Placed = tuple[object, AnnotatedText]


def _read(
    source: Path,
    files: list[Path],
    reader: Callable[..., Iterator[_Placed]],
    settings: dict[str, Any],
) -> Iterator[_Placed]:
    if reader is read_jsonl:
        settings = _survey(source, files, **settings)
    for file in files:
        is_empty = reader is not read_jsonl
        for placed in reader(file, **settings):
            is_empty = False
            yield placed
        if is_empty and len(files) > 1:
            _warn_of_empty(file)
    if reader is read_jsonl:
        settings["copies"].end(source)


def _survey(
    source: Path, files: list[Path], *, annotator: str | None = None, offsets: Unit | None = None
) -> dict[str, Any]:
    """Read a corpus once, to find the annotations of each text, and what their offsets count."""
    copies, judge, is_whole = Copies(annotator), UnitJudge(), False
    # What is at fault is raised when it is read again, behind the documents before it.
    with suppress(ClinicalNerError):
        for file in files:
            is_empty = True
            for place, draft in read_drafts(file):
                is_empty = False
                copies.add(draft, place)
                if offsets is None:
                    judge.add(draft, place)
            if is_empty and len(files) > 1:
                _warn_of_empty(file)
        is_whole = True
    copies.decide(source, is_whole=is_whole)
    judge.decide(source)
    return {"copies": copies, "judge": judge, "offsets": offsets}


def _warn_of_empty(file: Path) -> None:
    # Of a corpus that is one file, its user says what that means.
    warnings.warn(f"{file}: holds no documents.", ClinicalNerWarning, stacklevel=2)


def _read_docbin(path: Path) -> Iterator[_Placed]:
    """Read the Docs of a file, all of which are held in memory; for ids see `docbin_id`."""
    changed = 0
    for number, doc in enumerate(read_docbin(path, Vocab()), start=1):
        id = docbin_id(doc, path, number)
        starts = [token.idx for token in doc if token.is_sent_start]
        sentences = tuple(starts) if doc.has_annotation("SENT_START") else ()
        changed += GOLD_ALL in doc.spans and not has_gold(doc)
        document = AnnotatedText(
            id,
            doc.text,
            get_gold(doc),
            sentences=sentences,
            unknown=unknown_gold(doc),
            only_flat=not has_gold(doc),
        )
        yield f"{path}, document {number}", document
    if changed:
        warnings.warn(
            f"{path}: the entities of {changed} documents were changed after their conversion. "
            f"They are read, and not the mentions of doc.spans['{GOLD_ALL}'].",
            ClinicalNerWarning,
            stacklevel=2,
        )


_READERS: dict[Format, Callable[..., Iterator[_Placed]]] = {
    "conll": read_conll,
    "jsonl": read_jsonl,
    "huggingface": read_huggingface,
    "webanno": read_webanno,
    "pubtator": read_pubtator,
    "bioc": read_bioc,
    "docbin": _read_docbin,
}
