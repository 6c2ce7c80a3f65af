"""Conversion of a corpus from one format to another, with an account of every mention."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import spacy
from spacy.language import Language
from spacy.util import registry

from ..errors import ConfigError
from .conversion import ConversionCounts
from .conversion_output import (
    FLAT,
    check_apart,
    leaving_no_empty_folder,
    write_docs,
    write_texts,
    writing_report,
)
from .conversion_run import Conversion, ConversionRefusedError
from .drop_limit import DropLimit
from .flattening import FlatRules
from .formats.detect import Format, detect_format
from .formats.reading import read_texts
from .label_map import LabelMap

CLINICAL_TOKENIZER = "clinical_ner.ClinicalTokenizer.v1"


def convert(
    source: Path,
    output: Path,
    *,
    nlp: Language | None = None,
    format: Format | Literal["auto"] = "auto",
    to: Format = "docbin",
    settings: dict[str, Any] | None = None,
    rules: FlatRules = FlatRules(),
    label_map: LabelMap = LabelMap({}),
    max_dropped: DropLimit | None = None,
    docs_per_file: int | None = None,
    report: Path | None = None,
    advance: Callable[[], object] = lambda: None,
) -> ConversionCounts:
    """Convert a corpus, one document at a time, and count what became of every mention.

    source: a file or a flat folder.
    output: the file or folder to write; each Doc has its id in ``user_data["clinical_ner.id"]``.
    nlp: the pipeline whose tokenizer is used; needed for the formats of FLAT, docbin and conll.
    format, to: of the source and of the output.
    settings: those of the source's reader; see read_texts.
    rules: how flat entities are chosen; without effect for formats that hold all mentions.
    label_map: what becomes of labels, before the rules are used.
    max_dropped: the most mentions that may be dropped.
    docs_per_file: write a folder of .spacy files of so many documents; only for docbin.
    report: a file for one JSON object per document (``"kind": "document"``), followed by one per
        mention of it (``"kind": "mention"``, the fields of ConversionRow).
    advance: is called once a document.
    Raises ClinicalNerError, without leaving output, if a file cannot be read or written, or an
    annotation is at fault; ConversionRefusedError, leaving the report only, if more is dropped than
    `max_dropped`, or if no mention survives in docbin.
    """
    found = detect_format(source) if format == "auto" else format
    check_apart(source, found, output, *(() if report is None else (report,)))
    documents = read_texts(source, format=found, **(settings or {}))
    refused: ConversionRefusedError | None = None
    with ExitStack() as stack:
        stack.enter_context(leaving_no_empty_folder(output, *(() if report is None else (report,))))
        # Renamed last, so that neither file is left if one of them cannot be written.
        write = stack.enter_context(writing_report(report))
        conversion = Conversion(source, label_map, max_dropped, write, advance)
        try:
            if to in FLAT:
                assert nlp is not None, "words need a tokenizer"
                docs = conversion.docs(documents, nlp, rules, trains=to == "docbin")
                write_docs(docs, output, to, docs_per_file=docs_per_file)
            else:
                texts = conversion.texts(documents, holds_fragments=to != "pubtator")
                write_texts(texts, output, to)
        except ConversionRefusedError as error:
            refused = error
    if refused is not None:
        raise refused
    return conversion.counts


def blank(lang: str, tokenizer: str) -> Language:
    """Make a pipeline of nothing but a tokenizer."""
    try:
        nlp = spacy.blank(lang)
    except ImportError as error:
        # spaCy's own errors (no such language, or its tokenizer needs a package that is not
        # installed) name no module; one that does is a broken installation.
        if error.name is not None:
            raise
        reason = " ".join(str(error).split())
        raise ConfigError(reason) from error
    if tokenizer == "clinical":
        nlp.tokenizer = registry.tokenizers.get(CLINICAL_TOKENIZER)()(nlp)
    return nlp
