"""Conversion of a corpus: documents go from a reader to a writer, counted and reported."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import registry

from ..errors import (
    ClinicalNerError,
    ClinicalNerWarning,
    ConfigError,
    cannot_be_written,
    check_choice,
    check_number,
    shown,
    shown_label,
)
from ..files import check_replaceable, is_written_by, replacing
from ..locks import leaving_no_empty_folder
from .conversion import (
    EMPTY_DOCUMENT,
    OVERLAPPING,
    ConversionCounts,
    ConversionRow,
    dropped_row,
    kept_row,
    to_flat_doc,
)
from .flattening import FlatRules
from .formats.detect import Format, check_apart, detect_format
from .formats.reading import Errors, read_texts
from .formats.writing import FLAT, WRITTEN, format_of, write_docs, write_texts
from .label_map import Names, mapped, read_rows
from .mentions import AnnotatedText, Mention

CLINICAL_TOKENIZER = "clinical_ner.ClinicalTokenizer.v1"

_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_COUNT = re.compile(r"[0-9]{1,12}")
#: How every report begins.
_REPORT = b'{"kind": "document", "document": '


class ConversionRefusedError(ClinicalNerError):
    """A conversion that came to its end, and whose result is not to be used.

    Attributes:
        counts: what became of the mentions.
    """

    def __init__(self, message: str, counts: ConversionCounts) -> None:
        super().__init__(message)
        self.counts = counts


def convert(
    source: str | Path,
    output: str | Path,
    *,
    nlp: Language | None = None,
    format: Format | Literal["auto"] = "auto",
    to: Format | Literal["auto"] = "auto",
    rules: FlatRules = FlatRules(),
    label_map: Mapping[str, str | None] | None = None,
    errors: Errors = "stop",
    max_dropped: str | None = None,
    overlaps: bool = False,
    docs_per_file: int | None = None,
    report: str | Path | None = None,
    overwrite: bool = False,
    advance: Callable[[], object] = lambda: None,
    **settings: Any,
) -> ConversionCounts:
    """Convert a corpus, one document at a time, and count what became of every mention.

    Args:
        source: A file or a flat folder.
        output: The file or folder to write; each Doc has its id in
            ``user_data["clinical_ner.id"]``, its language in ``user_data["clinical_ner.lang"]``.
        nlp: The pipeline whose tokenizer makes the words of .spacy and CoNLL files; by default
            blank English with the clinical tokenizer.
        format: Format of the source: brat, conll, jsonl, huggingface, webanno, pubtator, bioc or
            docbin; by default detected from what is in the files.
        to: Format of the output: brat, conll, jsonl or docbin; by default detected from its name.
        rules: How flat entities are chosen; without effect on brat and jsonl, which hold all
            mentions.
        label_map: What labels become, None for those whose mentions are dropped; others stay.
        errors: "stop" at the first annotation or record that is at fault, or "record": leave it
            out, warn of it and count it; see `read_texts`.
        max_dropped: The most mentions that may be dropped: a share as "1%" or a number as "5". What
            is at fault counts.
        overlaps: Mentions that are no entity only since they overlap others do not count as
            dropped: a .spacy file holds them all the same, for a pipeline with ``overlaps``.
        docs_per_file: Write a folder of .spacy files of so many documents.
        report: A file for one JSON object per document (``"kind": "document"``), followed by one
            per mention of it (``"kind": "mention"``, the fields of `ConversionRow`) and one per
            fault (``"kind": "fault"``, with its ``message``).
        overwrite: Replace an existing output or report that no earlier conversion wrote. Of CoNLL
            and JSON lines nobody knows who wrote them. Not for a folder.
        advance: Called once a document.
        **settings: Those of the source's reader; see `read_texts`.

    Returns:
        What became of the documents and mentions.

    Raises:
        InputError: A file cannot be read or written, or an annotation is wrong; no output is left.
        ConfigError: A setting has no meaning, or the output's name does not determine its format.
        ConversionRefusedError: More is dropped than `max_dropped`, or no mention is left for a
            .spacy file. Only the report is written.
    """
    source, output = Path(source), Path(output)
    check_choice("to", to, ("auto", *WRITTEN))
    if docs_per_file is not None:
        check_number("docs_per_file", docs_per_file, least=1)
    files = [output] if report is None else [output, Path(report)]
    if to == "auto":
        named = format_of(output) if docs_per_file is None else "docbin"
        if named is None:
            raise ConfigError(
                f"{output}: the ending {output.suffix!r} does not determine the format to write. "
                "Name the format, or another ending."
            )
        to = named
    if docs_per_file is not None and to != "docbin":
        raise ConfigError(f"docs_per_file has no meaning for {to}, only for docbin. Omit it.")
    if max_dropped is not None:
        parse_limit(max_dropped)
    if overlaps and (max_dropped is None or to != "docbin"):
        raise ConfigError("overlaps has a meaning for max_dropped and docbin only. Omit it.")
    found = detect_format(source) if format == "auto" else format
    check_apart(source, found, *files)
    if report is not None and output.resolve() == Path(report).resolve():
        raise ConfigError(f"{output}: is the output and the report. Name another file for one.")
    if overwrite and (to == "brat" or docs_per_file is not None):
        raise ConfigError(
            f"{output}: overwrite has no meaning for a folder. Remove it, or omit it."
        )
    check_replaceable(output, own=is_written_by(output, "convert"), overwrite=overwrite)
    if report is not None:
        check_replaceable(Path(report), own=_is_report(Path(report)), overwrite=overwrite)
    documents = read_texts(source, format=found, errors=errors, **settings)
    refused: ConversionRefusedError | None = None
    with ExitStack() as stack:
        stack.enter_context(leaving_no_empty_folder(*files))
        # Renamed last, so that neither file is left if one of them cannot be written.
        write = None if report is None else stack.enter_context(_writing_report(Path(report)))
        conversion = _Conversion(source, label_map or {}, max_dropped, overlaps, write, advance)
        try:
            if to in FLAT:
                tokenizer = blank() if nlp is None else nlp
                docs = conversion.docs(documents, tokenizer, rules, trains=to == "docbin")
                write_docs(docs, output, to, docs_per_file=docs_per_file)
            else:
                write_texts(conversion.texts(documents), output, to)
        except ConversionRefusedError as error:
            refused = error
    if refused is not None:
        raise refused
    if not conversion.counts.documents:
        warnings.warn(f"{source}: holds no documents.", ClinicalNerWarning, stacklevel=2)
    if conversion.unknown:
        warnings.warn(
            f"{output}: of {conversion.unknown} documents the gold is unknown in places, which "
            "only .spacy files can say; here these places read as without entities.",
            ClinicalNerWarning,
            stacklevel=2,
        )
    return conversion.counts


def blank(lang: str = "en", tokenizer: str = "clinical") -> Language:
    """Make a pipeline of nothing but a tokenizer.

    Args:
        lang: The language, as in `spacy.blank`.
        tokenizer: "clinical", the language's tokenizer adapted to clinical text, or "language".

    Raises:
        ConfigError: spaCy has no such language, or its tokenizer needs a missing package.
    """
    try:
        nlp = spacy.blank(lang)
    except ImportError as error:
        # spaCy's own errors (no such language, or its tokenizer needs a package that is not
        # installed) name no module; one that does is a broken installation.
        if error.name is not None:
            raise
        raise ConfigError(" ".join(str(error).split())) from error
    if tokenizer == "clinical":
        nlp.tokenizer = registry.tokenizers.get(CLINICAL_TOKENIZER)()(nlp)
    return nlp


def parse_limit(text: str) -> Fraction | int:
    """Parse a limit of dropped mentions: "1%", a share in [0, 1], or "5", a number.

    Raises:
        ConfigError: It is neither.
    """
    if percentage := _PERCENTAGE.fullmatch(text):
        share = Fraction(percentage[1]) / 100
        if share <= 1:
            return share
    elif _COUNT.fullmatch(text):
        return int(text)
    raise ConfigError(f"{text!r} is neither a percentage as 1% nor a number as 5")


def keeps_to(limit: str | None, lost: int, wanted: int) -> bool:
    """Whether no more is dropped than a limit allows, of the mentions that somebody wanted."""
    if limit is None:
        return True
    most = parse_limit(limit)
    return lost <= (most * wanted if isinstance(most, Fraction) else most)


@dataclass
class _Conversion:
    """Turns what readers give into what writers take.

    Nothing is held but counts: a document is read when a writer asks for it. After the last one,
    ConversionRefusedError ends a conversion that is not to be used, before its writer is done.

    Attributes:
        source: what is read, for messages.
        report: gets a record for every document, then one for every mention of it; or None.
        advance: is called once a document.
        unknown: documents whose gold is unknown in places, of which only .spacy files can tell.
    """

    source: Path
    names: Names
    max_dropped: str | None
    overlaps: bool
    report: Callable[[dict[str, Any]], None] | None
    advance: Callable[[], object]
    counts: ConversionCounts = field(default_factory=ConversionCounts)
    unknown: int = 0

    def docs(
        self, documents: Iterable[AnnotatedText], nlp: Language, rules: FlatRules, *, trains: bool
    ) -> Iterator[Doc]:
        """Give Docs with flat entities and all mentions, without documents of only whitespace.
        If `trains`, the Docs are for training, which needs an entity.
        """
        for document, mentions in self._usable(documents):
            doc, rows = to_flat_doc(
                document.text,
                mentions,
                nlp,
                document=document.id,
                rules=rules,
                sentences=document.sentences,
                unknown=document.unknown,
            )
            is_empty = not document.text.strip()
            dropped = EMPTY_DOCUMENT if is_empty else None
            self._account(document, rows, dropped, tokens=len(doc), entities=len(doc.ents))
            if not is_empty:
                yield doc
        total = self.counts.total
        if trains and not self.counts.documents:
            message = f"{self.source}: holds no documents, and clinical-ner train needs some."
            raise ConversionRefusedError(message, self.counts)
        if trains and total.kept + total.changed == 0:
            message = (
                f"{self.source}: without entities, none of its {total.read} mentions can be used. "
                "Annotate at least one; clinical-ner train needs them."
            )
            raise ConversionRefusedError(message, self.counts)
        self._check_limit()

    def texts(self, documents: Iterable[AnnotatedText]) -> Iterator[AnnotatedText]:
        """Give texts with their mentions as they are."""
        for document, mentions in self._usable(documents):
            rows = [kept_row(document.id, mention) for mention in mentions]
            self._account(document, rows, entities=len(mentions))
            self.unknown += bool(document.unknown)
            yield replace(document, mentions=mentions)
        self._check_limit()

    def _usable(
        self, documents: Iterable[AnnotatedText]
    ) -> Iterator[tuple[AnnotatedText, tuple[Mention, ...]]]:
        """Give documents with their mentions under their new labels."""
        for document in documents:
            mentions = mapped(document.mentions, self.names)
            if document.unusable is None:
                yield document, mentions
                continue
            rows = [dropped_row(document.id, mention, document.unusable) for mention in mentions]
            self._account(document, rows, document.unusable)

    def _account(
        self,
        document: AnnotatedText,
        of_mapped: Sequence[ConversionRow],
        dropped: str | None = None,
        *,
        tokens: int | None = None,
        entities: int = 0,
    ) -> None:
        rows = read_rows(document.mentions, of_mapped, self.names, document=document.id)
        self.counts.documents[dropped or "kept"] += 1
        self.counts.other_lines.update(document.skipped)
        self.counts.faults += len(document.faults)
        for fault in document.faults:
            warnings.warn(f"left out: {fault}", ClinicalNerWarning, stacklevel=2)
        self.counts.add(rows)
        self.advance()
        if self.report is None:
            return
        id_ = shown(document.id)
        self.report(
            {
                "kind": "document",
                "document": id_,
                "action": "dropped" if dropped else "kept",
                "codes": [dropped] if dropped else [],
                "tokens": tokens,
                "mentions": len(document.mentions),
                "entities": entities,
                "other_lines": {shown(kind): number for kind, number in document.skipped.items()},
            }
        )
        for row in rows:
            # Not asdict(), whose deep copies take longer than the tokenizer.
            new_label = None if row.new_label is None else shown_label(row.new_label)
            names = {"document": id_, "annotation": shown(row.annotation), "new_label": new_label}
            names["label"] = shown_label(row.label)
            self.report({"kind": "mention", **vars(row), **names})
        for fault in document.faults:
            self.report({"kind": "fault", "document": id_, "message": str(fault)})

    def _check_limit(self) -> None:
        lost, wanted = self.counts.lost, self.counts.wanted
        if self.overlaps:
            lost = Counter({code: n for code, n in lost.items() if code not in OVERLAPPING})
        if keeps_to(self.max_dropped, lost.total(), wanted):
            return
        reasons = ", ".join(f"{code} {number}" for code, number in lost.most_common(3))
        message = (
            f"{self.source}: {lost.total()} of {wanted} mentions are dropped "
            f"({100 * lost.total() / wanted:.3g}%), more than {self.max_dropped}: {reasons}. "
            "Nothing was written but what --report names."
        )
        raise ConversionRefusedError(message, self.counts)


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_REPORT)) == _REPORT
    except OSError:
        return False


@contextmanager
def _writing_report(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that writes one record a line.

    Raises:
        InputError: out leaving a file, if it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf8") as file:

        def write(record: dict[str, Any]) -> None:
            try:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            except OSError as error:
                # Here, since the writer that asked for the record would take it for its own.
                raise cannot_be_written(path, error.strerror) from error

        yield write
