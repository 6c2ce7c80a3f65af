"""Randomised data: texts that say nothing about the type of an entity.

Three designs. In random text, words and labels are drawn without regard to each other; in random
text with overlaps each type is drawn by itself, so that a token may have several. In a permuted
corpus, the mentions of real documents exchange their labels and move to random places. Had they
kept their places, the text would still tell mentions from O; see ``move_mentions``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from ...data.gold import GOLD_ALL
from ...errors import ConfigError, InputError
from .words import WORDS

#: Words of a random document, and the most that a passage of a corpus has beyond its last mention.
#: Short windows cost a transformer less per word.
WORDS_PER_TEXT = 100
#: Words of fresh text per word of training.
FRESH_SHARE = 0.2


@dataclass(frozen=True)
class Text:
    """A document without a vocabulary, so that every pipeline can have a Doc of its own.

    It exists because a sampling batcher writes into the Docs that it is given, and the next loss
    must not find that there.

    Attributes:
        words: the tokens.
        spaces: whether a space follows each token.
        mentions: first token, one past the last token, and label of each.
        unknown: tokens whose annotation is missing.
        overlaps: whether mentions of different labels may share tokens. Gold is then in
            ``doc.spans["gold_all"]``; else none overlaps another, and gold is ``doc.ents``.
    """

    words: tuple[str, ...]
    spaces: tuple[bool, ...]
    mentions: tuple[tuple[int, int, str], ...]
    unknown: frozenset[int] = frozenset()
    overlaps: bool = False

    def to_doc(self, vocab: Vocab) -> Doc:
        """The annotated document."""
        doc = self.to_plain_doc(vocab)
        spans = [Span(doc, *mention) for mention in self.mentions]
        if self.overlaps:
            doc.spans[GOLD_ALL] = spans
        doc.set_ents(
            [] if self.overlaps else spans,
            missing=[doc[i : i + 1] for i in sorted(self.unknown)],
            default="outside",
        )
        return doc

    def to_plain_doc(self, vocab: Vocab) -> Doc:
        """The document without annotation, as a pipeline is given it."""
        return Doc(vocab, words=list(self.words), spaces=list(self.spaces))


@dataclass(frozen=True)
class RandomisedData:
    """Texts to train on, and fresh ones of the same kind to measure on."""

    train: tuple[Text, ...]
    fresh: tuple[Text, ...]

    @property
    def labels(self) -> list[str]:
        """Entity types in the training texts, sorted."""
        return sorted({label for text in self.train for *_, label in text.mentions})

    @property
    def overlaps(self) -> bool:
        """Whether tokens may have tags of several types."""
        return self.train[0].overlaps

    @property
    def words(self) -> int:
        """Words of the training texts."""
        return sum(len(text.words) for text in self.train)


def check_shares(shares: Sequence[float]) -> None:
    """Check the shares of random text.

    Args:
        shares: of O, then of each type.

    Raises:
        ClinicalNerError: fewer than two, one that is not above 0, or a sum other than 1.
    """
    if len(shares) < 2:
        raise ConfigError(f"Shares must be at least two, that of O first, got {len(shares)}.")
    for share in shares:
        if not (math.isfinite(share) and share > 0):
            raise ConfigError(f"A share must be above 0, got {share!r}.")
    if abs(math.fsum(shares) - 1.0) > 1e-6:
        raise ConfigError(f"Shares must sum to 1, got {f'{math.fsum(shares):.7g}'}.")


def check_type_shares(shares: Sequence[float]) -> None:
    """Check the shares of random text with overlaps.

    Args:
        shares: of each type, in the tokens; O has no share of its own.

    Raises:
        ClinicalNerError: none, or one that is not between 0 and 1.
    """
    if not shares:
        raise ConfigError("Give the share of at least one type.")
    for share in shares:
        if not 0 < share < 1:
            raise ConfigError(f"A type's share must be above 0 and below 1, got {share!r}.")


def random_text(shares: Sequence[float], *, words: int, seed: int) -> RandomisedData:
    """Draw words from a list and, independently, the label of every token.

    Every drawn label but O is a mention of one token, so that of a type's tags only B occurs.

    Args:
        shares: of O, then of the types L1, L2, ...
        words: words to train on; fresh texts have ``FRESH_SHARE`` of that.
        seed: of the drawing; equal arguments give equal texts.

    Raises:
        ClinicalNerError: see ``check_shares``; or a type was not drawn at all.
    """
    check_shares(shares)
    of_all = np.asarray(shares) / sum(shares)

    def draw(generator: np.random.Generator, length: int) -> Iterator[tuple[int, int]]:
        classes = generator.choice(len(shares), size=length, p=of_all)
        return ((i, c) for i, c in enumerate(classes.tolist()) if c)

    return _drawn(draw, shares[1:], words=words, seed=seed, overlaps=False)


def overlapping_text(shares: Sequence[float], *, words: int, seed: int) -> RandomisedData:
    """Draw words from a list and, for each type by itself, the tokens that are a mention of it.

    Args:
        shares: of the types L1, L2, ... in the tokens.
        words: see ``random_text``.
        seed: see ``random_text``.

    Raises:
        ClinicalNerError: see ``check_type_shares``; or a type was not drawn at all.
    """
    check_type_shares(shares)

    def draw(generator: np.random.Generator, length: int) -> Iterator[tuple[int, int]]:
        is_of = generator.random((length, len(shares))) < np.asarray(shares)
        return ((i, c + 1) for i, c in np.argwhere(is_of).tolist())

    return _drawn(draw, shares, words=words, seed=seed, overlaps=True)


def permuted_corpus(docs: Sequence[Doc], *, words: int, seed: int, source: str) -> RandomisedData:
    """Permute labels, move mentions, then divide the documents into training and fresh ones.

    Documents come in random order, first the fresh ones, and are cut into passages of about
    ``WORDS_PER_TEXT`` words, never inside a mention.

    Args:
        docs: annotated documents.
        words: words to train on; all there are where the corpus has fewer. The last document is
            used whole, so that there may be more.
        seed: of the permutation, the places and the order.
        source: the corpus, for the message of an error.

    Raises:
        ClinicalNerError: fewer than two documents with tokens, or training documents whose mentions
            have fewer than two labels.
    """
    texts = [_from_doc(doc) for doc in docs if len(doc)]
    if len(texts) < 2:
        raise InputError(
            f"{source}: {len(texts)} documents with tokens are too few, since some are for "
            "training and others for measuring. Give at least 2."
        )
    generator = np.random.default_rng(seed)
    texts = [move_mentions(text, generator) for text in permute_labels(texts, generator)]
    texts = [texts[i] for i in generator.permutation(len(texts))]
    available = sum(len(text.words) for text in texts)
    # At least one document on either side, however few there are.
    wanted = FRESH_SHARE * min(words, available / (1 + FRESH_SHARE))
    fresh = _take(texts[:-1], wanted)
    train = _take(texts[len(fresh) :], words)
    data = RandomisedData(
        tuple(part for text in train for part in passages(text)),
        tuple(part for text in fresh for part in passages(text)),
    )
    if len(data.labels) < 2:
        raise InputError(
            f"{source}: {len(data.labels)} labels in the training documents are too few: "
            "permuting them changes nothing. Give more documents or more words (--words), or use "
            "--shares."
        )
    return data


def permute_labels(texts: Sequence[Text], generator: np.random.Generator) -> list[Text]:
    """The same texts and spans, with the labels of all mentions in random order."""
    labels = [label for text in texts for *_, label in text.mentions]
    permuted = iter([labels[i] for i in generator.permutation(len(labels))])
    return [
        replace(
            text,
            mentions=tuple((start, end, next(permuted)) for start, end, _ in text.mentions),
        )
        for text in texts
    ]


def move_mentions(text: Text, generator: np.random.Generator) -> Text:
    """The same mentions in another order, at random places of the text.

    The mean of what is predicted is the share of a tag only where the text says nothing of it, or
    where the training has come to its end. A training of one pass finds out that a word is a
    mention, but not how surely; and a loss under which mentions weigh more stops at another mean
    than that of the tokens. Tried, with mentions that kept their places: under inverse weights
    words with .93 mentions got .68, those with .03 got .10, and .87 of the mentions were predicted.

    Mentions between two tokens without annotation stay between them.
    """
    moved = []
    for before, after in pairwise((-1, *sorted(text.unknown), len(text.words))):
        units: list[tuple[int, str | None]] = [
            (end - start, label) for start, end, label in text.mentions if before < start < after
        ]
        units += [(1, None)] * (after - before - 1 - sum(length for length, _ in units))
        start = before + 1
        for i in generator.permutation(len(units)):
            length, label = units[i]
            if label is not None:
                moved.append((start, start + length, label))
            start += length
    return replace(text, mentions=tuple(moved))


def passages(text: Text) -> Iterator[Text]:
    """Cut a text after every ``WORDS_PER_TEXT`` words, or where the mention there ends."""
    start = 0
    while start < len(text.words):
        end = min(start + WORDS_PER_TEXT, len(text.words))
        end = max([end, *(last for first, last, _ in text.mentions if first < end < last)])
        yield Text(
            text.words[start:end],
            text.spaces[start:end],
            tuple(
                (first - start, last - start, label)
                for first, last, label in text.mentions
                if start <= first < end
            ),
            frozenset(i - start for i in text.unknown if start <= i < end),
        )
        start = end


def _drawn(
    draw: Callable[[np.random.Generator, int], Iterator[tuple[int, int]]],
    shares: Sequence[float],
    *,
    words: int,
    seed: int,
    overlaps: bool,
) -> RandomisedData:
    """Random texts whose mentions of one token, as token and number of the type, are drawn."""
    generator = np.random.default_rng(seed)

    def texts(words: int) -> Iterator[Text]:
        for start in range(0, words, WORDS_PER_TEXT):
            length = min(WORDS_PER_TEXT, words - start)
            drawn = generator.integers(len(WORDS), size=length)
            yield Text(
                tuple(WORDS[i] for i in drawn),
                (True,) * length,
                tuple((i, i + 1, f"L{number}") for i, number in draw(generator, length)),
                overlaps=overlaps,
            )

    data = RandomisedData(tuple(texts(words)), tuple(texts(math.ceil(FRESH_SHARE * words))))
    for number, share in enumerate(shares, 1):
        if f"L{number}" not in data.labels:
            raise InputError(
                f"Among {words} words no {f'L{number}'}, with a share of {share:g}, was drawn: "
                "give more words (--words) or a larger share."
            )
    return data


def _from_doc(doc: Doc) -> Text:
    return Text(
        tuple(token.text for token in doc),
        tuple(bool(token.whitespace_) for token in doc),
        tuple((ent.start, ent.end, ent.label_) for ent in doc.ents),
        frozenset(token.i for token in doc if not token.ent_iob),
    )


def _take(texts: Sequence[Text], words: float) -> list[Text]:
    """The first texts, until they have as many words; at least one."""
    taken: list[Text] = []
    total = 0
    for text in texts:
        if taken and total >= words:
            break
        taken.append(text)
        total += len(text.words)
    return taken
