"""The choice of flat entities among mentions that overlap, lie in pieces, or cut tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spacy.tokens import Doc, Span

from ..errors import InputError, check_choice, shown
from .mentions import Mention
from .offsets import written

Overlap = Literal["longest", "first", "priority"]
Discontinuous = Literal["merge-wrapped", "longest", "span", "drop"]
Misaligned = Literal["expand", "contract", "drop", "error"]

# What a row's codes may be: why a mention was changed (several at a time) or dropped (one).
CHANGES = {
    "joined": "only whitespace separates its fragments",
    "discontinuous": "its longest fragment is kept",
    "bridged": "gaps between its fragments are filled",
    "trimmed": "whitespace at its edges is cut off",
    "expanded": "its edges are moved out to tokens'",
    "contracted": "its edges are moved in to tokens'",
}
DROPS = {
    "empty": "nothing but whitespace",
    "fragments": "in several fragments",
    "misaligned": "its edges lie inside tokens",
    "duplicate": "same span, same label as an earlier",
    "conflict": "same span, other label than an earlier",
    "same_label": "overlaps a longer one of its label",
    "overlap": "shares a token with a preferred one",
}


@dataclass(frozen=True)
class FlatRules:
    """How entities, which neither overlap nor have gaps nor cut tokens, come from mentions.

    Raises ClinicalNerError for a value that is none of these, or a setting without effect.

    Attributes:
        overlap: which mention is preferred among those that share a token. "longest": the longest
            in tokens, on ties the earlier start; "first": the earlier start, on ties the longest;
            "priority": the one whose label is earlier in `priority`, then as "longest". On ties
            throughout, the order given.
        discontinuous: what becomes of several fragments. "merge-wrapped": they are joined where
            only whitespace separates them, as brat cuts a mention in two where the line ends; one
            still in pieces is dropped. "longest": joined likewise, then the longest piece, on ties
            the first. "span": from the first to the last, with all between. "drop": dropped,
            wrapped ones too.
        misaligned: what becomes of an edge inside a token. "expand": it moves out to the token's;
            "contract": in, and the mention is dropped if no whole token is left; "drop": the
            mention is dropped; "error": ClinicalNerError.
        priority: labels, most wanted first; all others follow together. Only with overlap
            "priority".
    """

    overlap: Overlap = "longest"
    discontinuous: Discontinuous = "longest"
    misaligned: Misaligned = "expand"
    priority: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the settings."""
        check_choice("overlap", self.overlap, get_args(Overlap))
        check_choice("discontinuous", self.discontinuous, get_args(Discontinuous))
        check_choice("misaligned", self.misaligned, get_args(Misaligned))
        has_repeats = len(set(self.priority)) < len(self.priority)
        if bool(self.priority) != (self.overlap == "priority") or has_repeats:
            raise InputError(
                "Overlaps settled by priority need a list of labels, each once; a list of labels "
                "needs overlaps settled by priority."
            )


@dataclass(frozen=True)
class Candidate:
    """A mention on its way to an entity: its place in the file, its tokens, its changes so far."""

    index: int
    span: Span
    codes: tuple[str, ...]


def align(
    doc: Doc, text: str, mention: Mention, index: int, rules: FlatRules, *, document: str
) -> Candidate | str:
    """Bring a mention to one run of whole tokens.

    Returns the candidate, or the key of DROPS that says why there is none.

    Args:
        doc: the document.
        text: that of the Doc, which would put it together again for every mention.
        mention: what is aligned.
        index: of the mention in its document.
        rules: how flat entities are chosen.
        document: the document's id, for the error of misaligned "error".
    """
    codes = []
    if not has_text(text, mention):
        return "empty"
    if len(mention.fragments) > 1 and rules.discontinuous == "drop":
        return "fragments"
    pieces = joined(text, mention.fragments)
    if len(pieces) == 1:
        if len(mention.fragments) > 1:
            codes.append("joined")
    elif rules.discontinuous == "merge-wrapped":
        return "fragments"
    elif rules.discontinuous == "span":
        pieces = [(pieces[0][0], max(end for _, end in pieces))]
        codes.append("bridged")
    else:
        codes.append("discontinuous")
    cut = [trimmed(text, *piece) for piece in pieces]
    kept = max(cut, key=lambda piece: piece[1] - piece[0])
    if kept not in pieces:
        codes.append("trimmed")
    # The edge characters are not whitespace, so neither are the tokens that hold them: an entity
    # with a whitespace edge would stop the training of spaCy's own ner (E024).
    span = doc.char_span(*kept, mention.label, alignment_mode="expand")
    assert span is not None
    if (span.start_char, span.end_char) == kept:
        return Candidate(index, span, tuple(codes))
    if rules.misaligned == "error":
        raise InputError(
            f"Document {shown(document)}: the edges of {shown(mention.id)} "
            f"({written(mention.fragments)}) lie "
            "inside tokens. Fix its offsets, or let such mentions be expanded, contracted or "
            "dropped."
        )
    if rules.misaligned == "drop":
        return "misaligned"
    if rules.misaligned == "contract":
        contracted = _contracted(span, *kept)
        # Of a bridged mention the gap alone may be left.
        if contracted is None or not _holds_any(contracted, text, mention.fragments):
            return "misaligned"
        return Candidate(index, contracted, (*codes, "contracted"))
    return Candidate(index, span, (*codes, "expanded"))


def choose(
    candidates: Iterable[Candidate], rules: FlatRules
) -> tuple[dict[int, Candidate], dict[int, str]]:
    """Choose candidates that share no token.

    Candidates are taken in the order that the rules prefer; each is chosen unless it shares a token
    with one chosen before it.
    Returns those chosen, and for each of the others a key of DROPS, by their index.
    """
    chosen: dict[int, Candidate] = {}
    dropped: dict[int, str] = {}
    owners: dict[int, Span] = {}
    for candidate in sorted(candidates, key=lambda candidate: _precedence(candidate, rules)):
        span = candidate.span
        rival = next((owners[i] for i in range(span.start, span.end) if i in owners), None)
        if rival is None:
            chosen[candidate.index] = candidate
            owners.update(dict.fromkeys(range(span.start, span.end), span))
        elif (rival.start, rival.end) != (span.start, span.end):
            dropped[candidate.index] = "overlap"
        else:
            dropped[candidate.index] = "duplicate" if rival.label == span.label else "conflict"
    return chosen, dropped


def choose_by_label(
    candidates: Iterable[Candidate],
) -> tuple[dict[int, Candidate], dict[int, str]]:
    """Choose candidates of which no two of one label share a token; the longest are preferred.

    Returns those chosen, and "duplicate" or "same_label" for each of the others, by their index.
    """
    of_labels: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        of_labels[candidate.span.label].append(candidate)
    chosen: dict[int, Candidate] = {}
    dropped: dict[int, str] = {}
    for of_label in of_labels.values():
        longest, others = choose(of_label, FlatRules())
        chosen |= longest
        dropped |= {i: "same_label" if of == "overlap" else of for i, of in others.items()}
    return chosen, dropped


def has_text(text: str, mention: Mention) -> bool:
    """Whether a mention is more than whitespace; what is in its gaps does not belong to it."""
    return any(text[start:end].strip() for start, end in mention.fragments)


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Offsets without the whitespace at their edges; equal ones if nothing else is there."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def joined(text: str, fragments: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort fragments, and join neighbours that have only whitespace between them.

    They are one mention in every sense: brat itself cuts a mention in two where the line ends.
    """
    ordered = sorted(fragments)
    pieces = [ordered[0]]
    for start, end in ordered[1:]:
        last_start, last_end = pieces[-1]
        if not text[last_end:start].strip():
            pieces[-1] = (last_start, max(last_end, end))
        else:
            pieces.append((start, end))
    return pieces


def _contracted(span: Span, start: int, end: int) -> Span | None:
    """The tokens of a span that lie wholly within offsets, without whitespace tokens at edges."""
    inside = [
        token.i
        for token in span
        if start <= token.idx and token.idx + len(token) <= end and not token.text.isspace()
    ]
    if not inside:
        return None
    return Span(span.doc, inside[0], inside[-1] + 1, label=span.label)


def _holds_any(span: Span, text: str, fragments: Iterable[tuple[int, int]]) -> bool:
    """Whether a span has a part of a fragment in it that is not whitespace."""
    return any(
        text[max(start, span.start_char) : min(end, span.end_char)].strip()
        for start, end in fragments
    )


def _precedence(candidate: Candidate, rules: FlatRules) -> tuple[int, ...]:
    span, labels = candidate.span, rules.priority
    if rules.overlap == "first":
        return span.start, span.start - span.end, candidate.index
    rank = labels.index(span.label_) if span.label_ in labels else len(labels)
    return rank, span.start - span.end, span.start, candidate.index
