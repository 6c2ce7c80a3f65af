"""The wordpieces of documents, and what the tokens of spaCy have to do with them.

The whole text is tokenized at once: a fast tokenizer says from which characters each wordpiece
comes, and a Doc where its tokens stand, so two sorted searches align them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from .cutting import BETWEEN, END, GAP, INSIDE

NEWLINE = ord("\n")
SENTENCE_ENDS = np.array([ord(char) for char in ".!?"], dtype=np.uint32)
LOWER_CASE = (ord("a"), ord("z"))
SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)


class Wordpieces(NamedTuple):
    """The wordpieces of a document, without special tokens.

    Attributes:
        ids: of each wordpiece, n of them, as `strings`.
        starts: first wordpiece of each token; `ends`, one past the last. They are equal for a
            token without any (whitespace, or characters that the tokenizer drops). *Shape:*
            ``(tokens,)``.
        cuts: how good it is to cut before each wordpiece; see ``windows.cut_windows``. *Shape:*
            ``(n + 1,)``.
    """

    ids: NDArray[np.int64]
    strings: list[str]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    cuts: NDArray[np.int8]


def wordpieces_of(tokenizer: Any, docs: Sequence[Doc]) -> list[Wordpieces]:
    """Tokenize documents with a fast tokenizer of transformers."""
    encoded = tokenizer(
        [doc.text for doc in docs],
        add_special_tokens=False,
        padding=False,
        truncation=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        # Else it warns of every text that is longer than a window.
        verbose=False,
    )
    return [
        _align(
            doc,
            np.array(encoded["input_ids"][i], dtype=np.int64),
            encoded.encodings[i].tokens,
            np.array(encoded["offset_mapping"][i], dtype=np.int64).reshape(-1, 2),
        )
        for i, doc in enumerate(docs)
    ]


def _align(
    doc: Doc, ids: NDArray[np.int64], strings: list[str], offsets: NDArray[np.int64]
) -> Wordpieces:
    # Wordpieces of one character, such as those of its bytes, share its offsets; none goes back.
    piece_starts = np.maximum.accumulate(offsets[:, 0])
    piece_ends = np.maximum.accumulate(offsets[:, 1])
    spans = doc.to_array(["IDX", "LENGTH"]).astype(np.int64).reshape(-1, 2)
    starts = np.searchsorted(piece_ends, spans[:, 0], side="right")
    ends = np.searchsorted(piece_starts, spans[:, 0] + spans[:, 1], side="left")
    cuts = _cuts(doc, piece_starts, piece_ends, starts, ends)
    return Wordpieces(ids, strings, starts, ends, cuts)


def _cuts(
    doc: Doc,
    piece_starts: NDArray[np.int64],
    piece_ends: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Rate the places between wordpieces.

    Lines end at a newline. Sentences end where the document says so; where it does not, at one of
    ``.!?`` that whitespace, and then no lower-case letter, follows. A false end does no harm: it is
    but a place to cut, with context on both sides.
    """
    n = len(piece_starts)
    cuts = np.full(n + 1, BETWEEN, dtype=np.int8)
    if n < 2:
        return cuts
    text = np.frombuffer(doc.text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    solid = np.flatnonzero(~np.isin(text, SPACES))
    # The last character before a place, and the first after it, that are no whitespace. Some
    # tokenizers have wordpieces of whitespace, or that begin with it.
    found = np.searchsorted(solid, piece_starts[1:])
    padded = np.concatenate([[-1], solid, [len(text)]])
    before, after = padded[found], padded[found + 1]
    newlines = np.append(0, np.cumsum(text == NEWLINE))
    lines = newlines[after] - newlines[before + 1]
    within = cuts[1:-1]
    if doc.has_annotation("SENT_START"):
        begins = doc.to_array(["SENT_START"]).astype(np.int64).ravel() == 1
        cuts[starts[begins]] = END
    else:
        following = text[np.minimum(after, len(text) - 1)]
        within[
            (after - before > 1)
            & np.isin(text[before], SENTENCE_ENDS)
            & ~((following >= LOWER_CASE[0]) & (following <= LOWER_CASE[1]))
        ] = END
    within[lines == 1] = END
    within[lines > 1] = GAP
    # One more where a token goes on after its first wordpiece, one less where it ends.
    long = ends - starts > 1
    going_on = np.zeros(n + 2, dtype=np.int64)
    np.add.at(going_on, starts[long] + 1, 1)
    np.add.at(going_on, ends[long], -1)
    cuts[np.cumsum(going_on)[: n + 1] > 0] = INSIDE
    return cuts
