"""All mentions of a Doc, those too that flat entities cannot hold: ``doc.spans["gold_all"]``.

A span is a run of tokens, so beside the spans the group keeps, in its attributes, each mention's id
and its exact offsets: what was read can be written again, to the character.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.vocab import Vocab

from ..errors import InputError, shown
from ..tags.encode import document_id
from .flattening import Candidate, FlatRules, align, choose_by_label, has_text, trimmed
from .formats.docbin import read_docbin
from .mentions import Mention

GOLD_ALL = "gold_all"
"""Key of ``doc.spans`` under which all mentions are."""


def set_gold(doc: Doc, mentions: Sequence[Mention], rules: FlatRules = FlatRules()) -> None:
    """Put mentions into ``doc.spans["gold_all"]``, one span each, in the order given.

    A span holds every token that its mention touches, from the first fragment to the last, without
    whitespace at the edges; a mention that is nothing but whitespace has none, and is left out.
    The group's attributes are lists as long as the group, "ids" (str) and "fragments" (lists of
    [start, end] in code points, as read), "rules", by which mentions are brought to whole tokens,
    and "entities", which tells whether ``doc.ents`` was changed afterwards.

    Args:
        doc: the document.
        mentions: offsets are code points over ``doc.text`` and lie within it.
        rules: those of the conversion.
    """
    text = doc.text
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
        doc,
        name=GOLD_ALL,
        spans=spans,
        attrs={
            "ids": ids,
            "fragments": fragments,
            "rules": {"discontinuous": rules.discontinuous, "misaligned": rules.misaligned},
            "entities": _digest(doc),
        },
    )


def has_gold(doc: Doc) -> bool:
    """Whether a Doc has all its mentions, and its entities are still those chosen from them."""
    if GOLD_ALL not in doc.spans:
        return False
    attrs = doc.spans[GOLD_ALL].attrs
    # Groups of earlier versions, and of others, do not tell.
    return bool(attrs.get("entities", _digest(doc)) == _digest(doc))


def get_gold(doc: Doc) -> tuple[Mention, ...]:
    """Give all mentions of a Doc.

    Those of ``doc.spans["gold_all"]``, with the ids and offsets of its attributes if it has any;
    if a Doc has no such group, or if its entities were changed since (`has_gold`), its entities.

    Raises:
        ClinicalNerError: the attributes do not fit the group: spans were added or removed.
    """
    spans, attrs = list(doc.ents), {}
    if has_gold(doc):
        spans, attrs = list(doc.spans[GOLD_ALL]), doc.spans[GOLD_ALL].attrs
    fragments = attrs.get("fragments", [[(span.start_char, span.end_char)] for span in spans])
    ids = attrs.get("ids", [f"T{number}" for number in range(1, len(spans) + 1)])
    text = doc.text
    try:
        return tuple(
            Mention(str(id), span.label_, _checked(pieces, len(text)))
            for id, span, pieces in zip(ids, spans, fragments, strict=True)
        )
    except (TypeError, ValueError):
        raise InputError(
            f"Document {document_id(doc)}: the attributes of its spans "
            f"'{GOLD_ALL}' do not fit them, since spans or text were changed. Write the "
            "attributes again, or omit them."
        ) from None


def _checked(pieces: Iterable[Sequence[int]], length: int) -> tuple[tuple[int, int], ...]:
    """Fragments as a file gives them; raises ValueError or TypeError if they are none."""
    found = tuple((start, end) for start, end in pieces)
    if not found or not all(
        type(start) is int and type(end) is int and 0 <= start <= end <= length
        for start, end in found
    ):
        raise ValueError
    return found


def overlapping_gold(doc: Doc) -> list[Span]:
    """The spans of a document that a pipeline with ``overlaps`` learns and is scored against.

    Those of all its mentions (``get_gold``), brought to whole tokens by the rules that it was
    converted with; of mentions of one label that share a token the longest is kept. Sorted by
    start, then end.

    Raises:
        ClinicalNerError: the document is not empty, and has no ``doc.spans["gold_all"]``, or one
            that its entities contradict: they were changed since, or never set.
    """
    if len(doc) == 0:
        return []
    if GOLD_ALL not in doc.spans:
        raise InputError(
            f"Document {document_id(doc)} has no doc.spans['{GOLD_ALL}'], which "
            "holds the mentions that overlap. Write the corpus again with clinical-ner convert, or "
            "set overlaps = false."
        )
    if not has_gold(doc):
        raise InputError(
            f"Document {document_id(doc)}: its entities were changed after its conversion, and "
            f"doc.spans['{GOLD_ALL}'] is that of before. Set this to a list of all its mentions "
            "too, or convert the document again from where it was annotated."
        )
    if doc.spans[GOLD_ALL] and not doc.has_annotation("ENT_IOB"):
        raise InputError(
            f"Document {document_id(doc)}: has mentions in doc.spans['{GOLD_ALL}'], but its "
            "entities are unknown, so that nothing would be learned from it or scored. Set "
            f"doc.ents too, for instance to spacy.util.filter_spans(doc.spans['{GOLD_ALL}'])."
        )
    rules = FlatRules(**doc.spans[GOLD_ALL].attrs.get("rules", {}))
    text, document = doc.text, document_id(doc)
    aligned = [
        align(doc, text, mention, index, rules, document=document)
        for index, mention in enumerate(get_gold(doc))
    ]
    chosen, _ = choose_by_label(item for item in aligned if isinstance(item, Candidate))
    spans = [candidate.span for candidate in chosen.values()]
    return sorted(spans, key=lambda span: (span.start, span.end, span.label_))


def unknown_gold(doc: Doc) -> tuple[tuple[int, int], ...]:
    """Where a Doc does not say whether there is an entity: (start, end) in code points."""
    return tuple((token.idx, token.idx + len(token)) for token in doc if not token.ent_iob)


def _digest(doc: Doc) -> int:
    """A number that differs where entities do."""
    entities = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
    return zlib.crc32(repr(entities).encode("utf-8"))


def read_gold(path: Path, vocab: Vocab) -> list[Doc]:
    """Read documents that hold an entity, at least one of them.

    Raises:
        ClinicalNerError: the file cannot be read, or holds none.
    """
    docs = read_docbin(path, vocab)
    check_entities(path, docs)
    return docs


def check_entities(path: Path, docs: Iterable[Doc]) -> None:
    """Raise InputError unless a document holds an entity; names the groups of other spans."""
    groups: Counter[str] = Counter()
    for doc in docs:
        if doc.ents:
            return
        groups.update({key: len(spans) for key, spans in doc.spans.items()})
    found = [key for key, number in groups.most_common() if number]
    if not found:
        hint = "Name a file with gold annotations."
    else:
        names = ", ".join(f"doc.spans['{shown(key)}'] ({groups[key]})" for key in found)
        hint = (
            f"Spans are in {names}: set doc.ents = spacy.util.filter_spans(doc.spans"
            f"['{shown(found[0])}']) in each document and write the file again; of those that "
            "overlap, "
            "this keeps the longest."
        )
    raise InputError(
        f"{path}: holds no entity in doc.ents, so there is nothing to learn or to score. {hint}"
    )


def read_gold_for(path: Path, nlp: Language) -> list[Doc]:
    """Read documents that a pipeline is to annotate.

    Raises:
        ClinicalNerError: see ``read_gold``, or a text is longer than the pipeline takes.
    """
    docs = read_gold(path, nlp.vocab)
    check_lengths(path, docs, nlp)
    return docs


def check_lengths(path: Path, docs: Iterable[Doc], nlp: Language) -> None:
    """Raise InputError for a text that is longer than a pipeline takes."""
    for number, doc in enumerate(docs, start=1):
        length = len(doc.text)
        if length > nlp.max_length and not doc.has_unknown_spaces:
            raise InputError(
                f"{path}: document {number} ({document_id(doc)}) has {length} characters, more "
                f"than the {nlp.max_length} that the pipeline takes. Divide the document, or raise "
                "max_length of clinical_ner.prepare_pipeline.v1 in the recipe."
            )
