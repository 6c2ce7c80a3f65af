"""Places that look unlabelled (C052), made unknown: neither trained as ``O`` nor scored."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from spacy.tokens import Doc, SpanGroup
from spacy.vocab import Vocab

from ..data.formats.docbin import docbin_id, read_docbin, write_docbin
from ..data.gold import GOLD_ALL
from ..errors import shown
from ..files import check_not_read
from .findings import Finding, Place

#: The finding whose places are masked: texts that mostly have a label.
UNLABELLED = "C052"


def write_masked(source: Path, output: Path, findings: Iterable[Finding]) -> dict[str, int]:
    """Copy a corpus, with the tokens at its C052 places set to "missing", as spaCy calls it.

    Nothing else changes: entities, ``doc.spans`` and user data stay. Tokens that belong to a
    mention as well are left as they are.

    Args:
        source: the .spacy file that was checked, alone: labels of other parts, such as test, are
            not to decide what is learned from.
        output: the .spacy file to write.
        findings: of the check of `source`.

    Returns:
        Masked places by the label that their text usually has, the most frequent first.

    Raises:
        InputError: the file cannot be read or written, or is both.
    """
    check_not_read(output, source)
    places: dict[str | None, list[Place]] = defaultdict(list)
    for finding in findings:
        for place in finding.places if finding.code == UNLABELLED else ():
            places[place.document].append(place)
    docs = read_docbin(source, Vocab())
    masked: Counter[str] = Counter()
    for number, doc in enumerate(docs, start=1):
        masked += _mask(doc, places[shown(docbin_id(doc, source, number))])
    write_docbin(docs, output, command="check")
    return dict(sorted(masked.items(), key=lambda item: (-item[1], item[0])))


def _mask(doc: Doc, places: Iterable[Place]) -> Counter[str]:
    mentions = [*doc.ents, *doc.spans.get(GOLD_ALL, SpanGroup(doc))]
    labelled = {index for span in mentions for index in range(span.start, span.end)}
    missing, masked = [], Counter[str]()
    for place in places:
        assert place.start is not None and place.end is not None and place.label is not None
        # A token may be longer than the place: what the tokenizer does not cut.
        span = doc.char_span(place.start, place.end, alignment_mode="expand")
        assert span is not None
        tokens = [doc[token.i : token.i + 1] for token in span if token.i not in labelled]
        masked[place.label] += bool(tokens)
        missing += tokens
    doc.set_ents([], missing=missing, default="unmodified")
    return +masked
