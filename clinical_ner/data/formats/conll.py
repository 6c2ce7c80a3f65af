"""CoNLL columns: a word a line with its tag, empty lines between sentences.

Documents begin with a line -DOCSTART- or a comment "# newdoc". A file without either holds a
document for every few sentences, as spaCy's converter has it, unless it says a text.
Columns have no place for the spaces of a text: words are separated by a space, sentences by a line
break. What is written says the text itself in a comment, so that it can be read back as it was:

    -DOCSTART-  O

    # newdoc id = note-7
    # document_text = "Severe\\tchest pain"
    Severe  B-Severity
    chest   B-Sign
    pain    I-Sign
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc

from ...errors import ClinicalNerError, ClinicalNerWarning, shown_label
from ...files import read_lines, replacing
from ..mentions import FAULTY, AnnotatedText, Mention, Place, cannot_hold
from .column_tags import (
    Scheme,
    TagFaultError,
    chunks,
    detect_scheme,
    is_bare,
    lenient_scheme,
    located,
    parse_tag,
)
from .docbin import DOCUMENT_ID

DOCSTART = "-DOCSTART-"
#: Sentences of a document in a file without marks of documents, as spaCy's converter has it.
N_SENTS = 10

#: What to do with words and labels of several words.
_TABS = "Separate all columns by tabs if words or labels hold spaces"
#: The numbers of words, with that of the sentence before them or not, and the first ones.
_NUMBER = re.compile(r"\d+(-\d+)?")
_FIRST = ("0", "1", "1-1")
_NEWDOC = re.compile(r"#\s*newdoc(?:\s+id\s*=\s*(\S.*?))?\s*")
_TEXT = re.compile(r"#\s*document_text\s*=\s*(\".*\")\s*")


class _Word(NamedTuple):
    """A line of columns."""

    line: int
    word: str
    prefix: str
    label: str


class _Start(NamedTuple):
    """A line with which a document begins, or, before its first word, another that names it."""

    id: str | None = None


#: A line: a str is the document's text as it was before it was separated into words, None the end
#: of a sentence.
_Line = _Word | _Start | str | None


@dataclass
class _Document:
    """A document while it is read."""

    line: int
    id: str | None = None
    text: str | None = None
    sentences: list[list[_Word]] = field(default_factory=lambda: [[]])


def looks_like_columns(lines: Sequence[str]) -> bool:
    """Whether lines, the first of a file, are words with a tag in their last column."""
    filled = [line.strip(" ") for line in lines if line.strip()]
    rows = [
        _separator(line).split(line)
        for line in filled
        if not line.startswith("#") and line.split()[0] != DOCSTART
    ]
    if not rows:
        return any(line.split()[0] == DOCSTART or _NEWDOC.fullmatch(line) for line in filled)
    # Of a label with spaces in columns separated by spaces, the beginning is a tag: the reader says
    # what is wrong with it.
    last = min(map(len, rows)) - 1
    return last > 0 and all(parse_tag(row[-1], label="") or parse_tag(row[last]) for row in rows)


def read_conll(
    path: Path,
    *,
    label_column: int = -1,
    word_column: int = 0,
    scheme: Scheme | None = None,
    n_sents: int | None = None,
    label: str | None = None,
) -> Iterator[tuple[Place, AnnotatedText]]:
    """Read a file, its columns separated by tabs if its first line has one, otherwise by spaces.

    A document's id is that of its comment "# newdoc id = ...", otherwise the file's name, with the
    document's number if the file begins several. Other comments (lines that start with # and are no
    words) are ignored. A file is read twice, one document being held at a time.
    """
    found, has_marks, numbered = _survey(_parsed(path, word_column, label_column, label))
    if numbered is not None:
        raise Place(path, numbered).fault(
            "the word column holds numbers only", "Name the column of the words with --word-column"
        )
    most = 0 if has_marks else N_SENTS if n_sents is None else n_sents
    documents = _documents(_parsed(path, word_column, label_column, label), most)
    begun = list(islice(documents, 2))
    if n_sents and has_marks:
        warnings.warn(
            "the files mark their documents, so that --n-sents has no effect.",
            ClinicalNerWarning,
            stacklevel=2,
        )
    if n_sents is None and most and len(begun) > 1:
        warnings.warn(
            f"no document markers: every {most} sentences of a file are one document. --n-sents N "
            "sets the number, 0 keeps a file as one.",
            ClinicalNerWarning,
            stacklevel=2,
        )
    for number, document in enumerate(chain(begun, documents), start=1):
        # A lone document has its file's name; numbers are for those that share it.
        id = path.stem if len(begun) < 2 else f"{path.stem}-{number}"
        id = id if document.id is None else document.id
        try:
            annotated = _annotated(document, id, scheme or found, path)
        except ClinicalNerError as error:
            annotated = AnnotatedText(id, "", (), unusable=FAULTY, faults=(error,))
        if scheme == "lenient" and (faults := _faults(document, found)):
            annotated = replace(annotated, skipped={"sentence_with_tag_fault": faults})
        yield Place(path, document.line), annotated


def _survey(lines: Iterable[tuple[int, _Line]]) -> tuple[Scheme, bool, int | None]:
    """Detect the scheme of a file's tags, and whether it marks its documents or says their text.

    The third is where the words begin that are only the numbers of words, as in CoNLL-U.
    """
    has_marks = False
    first: _Word | None = None
    numbered = 0

    def tags() -> Iterator[tuple[str, str] | None]:
        nonlocal has_marks, first, numbered
        for _, line in lines:
            has_marks = has_marks or isinstance(line, _Start | str)
            if isinstance(line, _Word):
                first = first or line
                is_number = first.word in _FIRST and _NUMBER.fullmatch(line.word) is not None
                numbered = numbered + 1 if is_number and numbered >= 0 else -1
            yield (line.prefix, line.label) if isinstance(line, _Word) else None

    scheme = detect_scheme(tags())
    return scheme, has_marks, first.line if first is not None and numbered > 1 else None


def _documents(lines: Iterator[tuple[int, _Line]], most: int) -> Iterator[_Document]:
    """Give the documents of a file; one of `most` sentences ends, if that is not 0."""
    document: _Document | None = None
    for number, line in lines:
        if document is not None and isinstance(line, _Start):
            # A line -DOCSTART- and a comment may announce the same document, in either order.
            named_twice = document.id is not None and line.id is not None
            if any(document.sentences) or named_twice:
                yield document
                document = None
        is_full = document is not None and 0 < most < len(document.sentences)
        if document is not None and is_full and isinstance(line, _Word):
            yield document
            document = None
        if document is None:
            if line is None:
                continue
            document = _Document(number)
        if line is None:
            if document.sentences[-1]:
                document.sentences.append([])
        elif isinstance(line, _Start):
            document.id = line.id if line.id is not None else document.id
        elif isinstance(line, str):
            document.text = line
        else:
            document.sentences[-1].append(line)
    if document is not None:
        yield document


def _parsed(
    path: Path, word_column: int, label_column: int, label: str | None
) -> Iterator[tuple[int, _Line]]:
    """Parse the lines of a file."""
    separator: re.Pattern[str] | None = None
    count = first = number = 0

    def fault(problem: str, hint: str) -> ClinicalNerError:
        return Place(path, number).fault(problem, hint)

    for number, line in read_lines(path):
        if not line.strip():
            yield number, None
            continue
        if line.split()[0] == DOCSTART:
            yield number, _Start()
            continue
        parts = (separator or _separator(line)).split(line.strip(" "))
        if line.startswith("#") and not _is_word(line, parts, count, label_column, label):
            if newdoc := _NEWDOC.fullmatch(line):
                yield number, _Start(newdoc[1])
            elif (text := _document_text(line)) is not None:
                yield number, text
            continue
        if separator is None:
            separator, count, first = _separator(line), len(parts), number
        if len(parts) != count:
            hint = "Separate columns alike on all lines, by tabs or by spaces"
            if len(parts) > count and "\t" not in line:
                hint = _TABS
            raise fault(f"{len(parts)} columns, where line {first} has {count}", hint)
        for column in (word_column, label_column):
            if not -count <= column < count:
                raise fault(f"no column {column} among {count}", "Name another column")
        tag = parse_tag(parts[label_column], label)
        if tag is None and is_bare(parts[label_column]):
            raise fault(
                "the label column holds a tag without a type",
                "Name the type with --label; or name another column",
            )
        if tag is None:
            hint = (
                "Write O, or a prefix, a hyphen and a label, as in B-Drug; or name another column"
            )
            if "\t" not in line and any(map(parse_tag, parts)):
                hint += f". {_TABS}"
            raise fault("the label column holds no tag", hint)
        if not parts[word_column].strip():
            raise fault("the word column is empty", "Fix or remove the line")
        yield number, _Word(number, parts[word_column], *tag)


def _separator(line: str) -> re.Pattern[str]:
    # Not any whitespace: a no-break space may be part of a word.
    return re.compile("\t") if "\t" in line else re.compile(" +")


def _is_word(line: str, parts: list[str], count: int, label_column: int, label: str | None) -> bool:
    """Whether a line that starts with # is a word all the same: it has the columns of one."""
    if count == 0:
        count = len(parts) if "\t" in line else 2
    fits = len(parts) == count >= 2 and -count <= label_column < count
    return fits and parse_tag(parts[label_column], label) is not None


def _document_text(line: str) -> str | None:
    matched = _TEXT.fullmatch(line)
    try:
        return json.loads(matched[1]) if matched else None
    except ValueError:
        return None


def _annotated(document: _Document, id: str, scheme: Scheme, path: Path) -> AnnotatedText:
    text, offsets = _placed(document, path)
    mentions: list[Mention] = []
    for sentence in document.sentences:
        try:
            found = chunks([(word.prefix, word.label) for word in sentence], scheme)
        except TagFaultError as error:
            word = sentence[error.index]
            other = lenient_scheme(scheme, word.prefix)
            hint = f"Fix the tag, or read leniently with --scheme {other}"
            raise Place(path, word.line).fault(f"{error} ({scheme})", hint) from None
        for first, last, label in found:
            start, end = offsets[sentence[first].line][0], offsets[sentence[last - 1].line][1]
            mentions.append(Mention(f"T{len(mentions) + 1}", label, ((start, end),)))
    starts = tuple(offsets[sentence[0].line][0] for sentence in document.sentences if sentence)
    return AnnotatedText(id, text, tuple(mentions), sentences=starts)


def _faults(document: _Document, scheme: Scheme) -> int:
    """Count the sentences whose tags the scheme does not allow."""
    number = 0
    for sentence in document.sentences:
        try:
            chunks([(word.prefix, word.label) for word in sentence], scheme)
        except TagFaultError:
            number += 1
    return number


def _placed(document: _Document, path: Path) -> tuple[str, dict[int, tuple[int, int]]]:
    """Give a document's text, and where the word of each line is in it."""
    words = list(chain.from_iterable(document.sentences))
    text = document.text
    if text is None:
        text = "\n".join(
            " ".join(word.word for word in sentence)
            for sentence in filter(None, document.sentences)
        )
    offsets = located([word.word for word in words], text)
    if len(offsets) < len(words) or text[offsets[-1][1] if offsets else 0 :].strip():
        lines = [word.line for word in words] or [document.line]
        raise Place(path, lines[min(len(offsets), len(lines) - 1)]).fault(
            "the word is not what follows in the text that the file gives",
            "Remove the line '# document_text', or fix it",
        )
    return text, {word.line: pair for word, pair in zip(words, offsets, strict=True)}


def write_conll(docs: Iterable[Doc], path: Path) -> None:
    """Write the entities of Docs in IOB2, in two columns separated by tabs.

    Whitespace tokens have no line; one with a line break outside of entities ends a sentence, as
    does the end of a sentence that the Doc knows of.

    Args:
        docs: they may come from a generator, one being held at a time; a Doc's id is that of
            ``user_data["clinical_ner.id"]``, otherwise its number, counted from 1.
        path: the file to write; an existing one is replaced.

    Raises:
        ClinicalNerError: out leaving a file, if it cannot be written, for two Docs of one id, and
            for what columns cannot hold: an id, a word or a label with tabs or line breaks, an
            entity of nothing but whitespace, a token of which it is unknown whether it is in an
            entity.
    """
    seen: set[str] = set()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for number, doc in enumerate(docs, start=1):
            id = str(doc.user_data.get(DOCUMENT_ID, number))
            if id in seen:
                raise cannot_hold(path, id, "another has its id", "Give it its own id.")
            seen.add(id)
            file.writelines(f"{line}\n" for line in _lines(doc, id, path))


def _lines(doc: Doc, id: str, path: Path) -> Iterator[str]:
    if id.split() != [id]:
        raise cannot_hold(path, id, "its id is empty or holds whitespace", "Give it another id.")
    tags = _tags(doc, id, path)
    yield f"{DOCSTART}\tO"
    yield ""
    yield f"# newdoc id = {id}"
    yield f"# document_text = {json.dumps(doc.text, ensure_ascii=False)}"
    knows_sentences = doc.has_annotation("SENT_START")
    is_open = False
    for token in doc:
        is_space = token.text.isspace()
        ends = "\n" in token.text if is_space else knows_sentences and token.is_sent_start
        if ends and is_open and token.ent_iob_ != "I":
            yield ""
            is_open = False
        if not is_space:
            yield f"{token.text}\t{tags[token.i]}"
            is_open = True
    yield ""


def _tags(doc: Doc, id: str, path: Path) -> list[str]:
    fault = partial(cannot_hold, path, id)
    tags = ["O"] * len(doc)
    # By the text, since a token's own is_space says no if the vocabulary has no language.
    for token in doc:
        if token.text.isspace():
            continue
        if token.ent_iob_ == "":
            raise fault(f"token {token.i} may be in an entity or not", "Annotate it.")
        if re.search(r"[\t\r\n]", token.text) or token.text == DOCSTART:
            raise fault(f"token {token.i} is not a word", "Choose another tokenizer.")
    for entity in doc.ents:
        label = entity.label_
        if parse_tag(f"B-{label}") is None or re.search(r"[\t\r\n]", label):
            raise fault(
                f"the label '{shown_label(label)}' is empty or has a tab, a line break or "
                "whitespace at an edge",
                "Rename it with --label-map.",
            )
        words = [token.i for token in entity if not token.text.isspace()]
        if not words:
            raise fault(f"the entity of token {entity.start} is whitespace", "Remove it.")
        tags[words[0]] = f"B-{label}"
        for index in words[1:]:
            tags[index] = f"I-{label}"
    return tags
