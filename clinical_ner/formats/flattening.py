"""The choice of flat entities among mentions that overlap, lie in pieces, or cut tokens."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc

from ..errors import ClinicalNerError, Errors
from .mentions import Mention
from .offsets import written

Overlap = Literal["longest", "first", "priority"]
Discontinuous = Literal["merge-wrapped", "longest", "span", "drop"]
Misaligned = Literal["expand", "contract", "drop", "error"]

# What a row's codes may be: why a mention was changed (several at a time) or dropped (one).
CHANGES = {
    "joined": "only whitespace parts its fragments",
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
    "overlap": "shares a token with a preferred one",
}


@dataclass(frozen=True)
class FlatRules:
    """How entities, which neither overlap nor have gaps nor cut tokens, come from mentions.

    overlap: which mention is preferred among those that share a token. "longest": the longest in
        tokens, on ties the earlier start; "first": the earlier start, on ties the longest;
        "priority": the one whose label stands earlier in `priority`, then as "longest". On ties
        throughout, the order given.
    discontinuous: what becomes of several fragments. "merge-wrapped": they are joined where only
        whitespace parts them, as brat cuts a mention in two where the line ends; a mention still in
        pieces is dropped. "longest": joined likewise, then the longest piece, on ties the first.
        "span": from the first to the last, with all between. "drop": dropped, wrapped ones too.
    misaligned: what becomes of an edge inside a token. "expand": it moves out to the token's;
        "contract": in, and the mention is dropped if no whole token is left; "drop": the mention is
        dropped; "error": ClinicalNerError.
    priority: labels, most wanted first; all others follow together. Only with overlap "priority".
    Raises ClinicalNerError for a value that is none of these, or a setting without effect.
    """

    overlap: Overlap = "longest"
    discontinuous: Discontinuous = "longest"
    misaligned: Misaligned = "expand"
    priority: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the settings."""
        for setting, kind in (
            ("overlap", Overlap),
            ("discontinuous", Discontinuous),
            ("misaligned", Misaligned),
        ):
            value, known = getattr(self, setting), get_args(kind)
            if value not in known:
                raise ClinicalNerError(
                    Errors.E043.format(setting=setting, known=", ".join(known), value=value)
                )
        if bool(self.priority) != (self.overlap == "priority") or len(set(self.priority)) < len(
            self.priority
        ):
            raise ClinicalNerError(Errors.E128)


class Candidate(NamedTuple):
    """A mention on its way to an entity: its place in the file, its tokens, its changes so far."""

    index: int
    label: str
    start: int
    end: int
    codes: tuple[str, ...]


class TokenEdges:
    """Where tokens start and end in their text: Doc.char_span makes Tokens anew for every span."""

    def __init__(self, doc: Doc) -> None:
        starts, lengths = doc.to_array([IDX, LENGTH]).T
        self.starts: list[int] = starts.tolist()
        self.ends: list[int] = (starts + lengths).tolist()

    def around(self, start: int, end: int) -> tuple[int, int]:
        """Give the run of tokens that holds a run of characters with a token at either edge."""
        return bisect_right(self.starts, start) - 1, bisect_left(self.ends, end) + 1

    def characters(self, start: int, end: int) -> tuple[int, int]:
        """Give the run of characters that a run of tokens holds."""
        return self.starts[start], self.ends[end - 1]


def align(
    edges: TokenEdges, text: str, mention: Mention, index: int, rules: FlatRules, *, document: str
) -> Candidate | str:
    """Bring a mention to one run of whole tokens.

    edges, text: those of the document.
    document: the document's id, for the error of misaligned "error".
    Returns the candidate, or the key of DROPS that says why there is none.
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
        pieces = [max(pieces, key=lambda piece: len(text[slice(*piece)].strip()))]
        codes.append("discontinuous")
    kept = trimmed(text, *pieces[0])
    if kept != pieces[0]:
        codes.append("trimmed")
    # The edge characters are not whitespace, so neither are the tokens that hold them: an entity
    # with a whitespace edge would stop the training of spaCy's own ner (E024).
    tokens: tuple[int, int] | None = edges.around(*kept)
    if edges.characters(*tokens) == kept:
        return Candidate(index, mention.label, *tokens, tuple(codes))
    if rules.misaligned == "error":
        raise ClinicalNerError(
            Errors.E127.format(document=document, id=mention.id, offsets=written(mention.fragments))
        )
    if rules.misaligned == "drop":
        return "misaligned"
    if rules.misaligned == "expand":
        return Candidate(index, mention.label, *tokens, (*codes, "expanded"))
    tokens = _contracted(edges, text, kept, range(*tokens))
    if tokens is None:
        return "misaligned"
    return Candidate(index, mention.label, *tokens, (*codes, "contracted"))


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
    owners: dict[int, Candidate] = {}
    for candidate in sorted(candidates, key=_precedence(rules)):
        tokens = range(candidate.start, candidate.end)
        rival = next((owners[i] for i in tokens if i in owners), None)
        if rival is None:
            chosen[candidate.index] = candidate
            owners.update(dict.fromkeys(tokens, candidate))
        elif (rival.start, rival.end) != (candidate.start, candidate.end):
            dropped[candidate.index] = "overlap"
        else:
            dropped[candidate.index] = "duplicate" if rival.label == candidate.label else "conflict"
    return chosen, dropped


def has_text(text: str, mention: Mention) -> bool:
    """Whether a mention is more than whitespace; what stands in its gaps is no part of it."""
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


def _contracted(
    edges: TokenEdges, text: str, kept: tuple[int, int], tokens: Iterable[int]
) -> tuple[int, int] | None:
    """The tokens that lie wholly within offsets, without whitespace tokens at the edges."""
    inside = []
    for token in tokens:
        start, end = edges.characters(token, token + 1)
        if kept[0] <= start and end <= kept[1] and not text[start:end].isspace():
            inside.append(token)
    return (inside[0], inside[-1] + 1) if inside else None


def _precedence(rules: FlatRules) -> Callable[[Candidate], tuple[int, ...]]:
    ranks = {label: rank for rank, label in enumerate(rules.priority)}

    def key(candidate: Candidate) -> tuple[int, ...]:
        index, label, start, end, _ = candidate
        if rules.overlap == "first":
            return start, start - end, index
        return ranks.get(label, len(ranks)), start - end, start, index

    return key
