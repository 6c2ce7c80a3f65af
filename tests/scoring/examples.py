"""Random pairs of predicted and gold documents."""

from __future__ import annotations

import numpy as np
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

LABELS = ["Age", "Disease_disorder", "Sign_symptom"]


def make_doc(vocab: Vocab, words: list[str], ents: list[tuple[int, int, str]]) -> Doc:
    doc = Doc(vocab, words=words)
    doc.set_ents([Span(doc, start, end, label) for start, end, label in ents], default="outside")
    return doc


def random_ents(rng: np.random.Generator, length: int) -> list[tuple[int, int, str]]:
    ents = []
    position = 0
    while (start := position + int(rng.integers(0, 3))) < length:
        end = min(length, start + int(rng.integers(1, 4)))
        ents.append((start, end, str(rng.choice(LABELS))))
        position = end
    return ents


def random_words(rng: np.random.Generator, chunks: int, *, merge: float) -> list[str]:
    """Cut the same text into words, each chunk as one word or as two."""
    words = []
    for i in range(chunks):
        left, right = f"{i % 7}a", f"b{i % 5}"
        words += [left + right] if rng.random() < merge else [left, right]
    return words


def random_example(rng: np.random.Generator, vocab: Vocab) -> Example:
    """A document whose prediction has another tokenization, and gold that may be incomplete."""
    chunks = int(rng.integers(1, 12))
    docs = []
    for _ in range(2):
        words = random_words(rng, chunks, merge=0.3)
        doc = Doc(vocab, words=words, spaces=[False] * len(words))
        spans = [Span(doc, start, end, label) for start, end, label in random_ents(rng, len(doc))]
        docs.append((doc, spans))
    (predicted, found), (gold, wanted) = docs
    predicted.set_ents(found, default="outside")
    kind = rng.random()
    if kind < 0.6:
        gold.set_ents(wanted, default="outside")
    elif kind < 0.8:
        unknown = [Span(gold, i, i + 1) for i in range(len(gold)) if rng.random() < 0.4]
        taken = {i for span in unknown for i in range(span.start, span.end)}
        kept = [span for span in wanted if not taken & set(range(span.start, span.end))]
        gold.set_ents(kept, missing=unknown, default="outside")
    elif kind < 0.9:
        gold.set_ents(wanted, default="missing")
    return Example(predicted, gold)
