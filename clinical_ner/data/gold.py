"""All mentions of a Doc, those too that flat entities cannot hold: ``doc.spans["gold_all"]``.

A span is a run of tokens, so beside the spans the group keeps, in its attributes, each mention's id
and its exact offsets: what was read can be written again, to the character.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from spacy.tokens import Doc, SpanGroup
from spacy.vocab import Vocab

from ..errors import InputError
from ..files import corpus_files
from .flattening import has_text, trimmed
from .formats.docbin import DOCUMENT_ID, read_docbin
from .mentions import AnnotatedText, DocumentIds, Mention

SUFFIXES = (".spacy",)
GOLD_ALL = "gold_all"
"""Key of ``doc.spans`` under which all mentions are."""


def set_gold(doc: Doc, mentions: Sequence[Mention], *, text: str | None = None) -> None:
    """Put mentions into ``doc.spans["gold_all"]``, one span each, in the order given.

    A span holds every token that its mention touches, from the first fragment to the last, without
    whitespace at the edges; a mention that is nothing but whitespace has none, and is left out.
    The group's attributes are lists as long as the group: "ids" (str) and "fragments" (lists of
    [start, end] in code points, as read).

    Args:
        doc: the document.
        mentions: offsets are code points over ``doc.text`` and lie within it.
        text: that of the Doc, if it is at hand: a Doc puts it together again each time.
    """
    text = doc.text if text is None else text
    spans, ids, fragments = [], [], []
    for mention in mentions:
        if not has_text(text, mention):
            continue
        edges = trimmed(text, mention.start, mention.end)
        span = doc.char_span(*edges, mention.label, alignment_mode="expand")
        assert span is not None
        spans.append(span)
        ids.append(mention.id)
        fragments.append([list(fragment) for fragment in mention.fragments])
    doc.spans[GOLD_ALL] = SpanGroup(
        doc, name=GOLD_ALL, spans=spans, attrs={"ids": ids, "fragments": fragments}
    )


def get_gold(doc: Doc) -> tuple[Mention, ...]:
    """Give all mentions of a Doc.

    Those of ``doc.spans["gold_all"]``, with the ids and offsets of its attributes if it has any;
    if a Doc has no such group, its entities.

    Raises:
        ClinicalNerError: the attributes do not fit the group: spans were added or removed.
    """
    if GOLD_ALL not in doc.spans:
        return tuple(
            Mention(f"T{number}", entity.label_, ((entity.start_char, entity.end_char),))
            for number, entity in enumerate(doc.ents, start=1)
        )
    group = doc.spans[GOLD_ALL]
    spans = list(group)
    fragments = group.attrs.get("fragments")
    if fragments is None:
        fragments = [[(span.start_char, span.end_char)] for span in spans]
    ids = group.attrs.get("ids", [f"T{number}" for number in range(1, len(spans) + 1)])
    if not len(spans) == len(fragments) == len(ids):
        raise InputError(
            f"Document {doc.user_data.get(DOCUMENT_ID, '?')}: the attributes of its spans "
            f"'{GOLD_ALL}' do not fit them, since spans were added or removed. Write the "
            "attributes again, or omit them."
        )
    return tuple(
        Mention(id, span.label_, tuple((start, end) for start, end in pieces))
        for id, span, pieces in zip(ids, spans, fragments, strict=True)
    )


def read_docbin_texts(path: Path, vocab: Vocab) -> Iterator[AnnotatedText]:
    """Read .spacy files as texts with mentions; the Docs of one file are held in memory.

    A document's id is that of ``user_data["clinical_ner.id"]``, otherwise the file's name and the
    document's number, counted from 1.

    Args:
        path: a file, or a flat folder of files that end in .spacy.
        vocab: the strings of the files are added to it.

    Raises:
        ClinicalNerError: as read_docbin does, for two documents of one id, and for a group of
            mentions that does not hold together.
    """
    return _read(corpus_files(path, SUFFIXES), vocab)


def _read(files: Iterable[Path], vocab: Vocab) -> Iterator[AnnotatedText]:
    ids = DocumentIds()
    for file in files:
        for number, doc in enumerate(read_docbin(file, vocab), start=1):
            document = str(doc.user_data.get(DOCUMENT_ID, f"{file.stem}-{number}"))
            ids.add(document, f"{file}, document {number}")
            yield AnnotatedText(id=document, text=doc.text, mentions=get_gold(doc), path=file)
