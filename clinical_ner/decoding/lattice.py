"""The legal tag sequences of a text: the best of them, and the probability of every span.

Tokens are rows, tags are columns in the order of ``labels.scheme``. An I tag continues an entity of
its own type; everything else may follow anything, so a step needs one maximum (one sum) over all
tags and one comparison (one addition) per type, not K x K of them. With transitions, which weigh
every pair of neighbouring tags, it does: those recursions are in ``dense``.

A text may hold P problems side by side, each with the same K tags: its arrays have a last axis of
length P then, over which nothing is summed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tags.problems import BEGIN, INSIDE
from ..tags.scheme import OUTSIDE
from ..types import EntityOffsets, LogProbs, TokenMask, Transitions
from .dense import DenseLattice
from .packing import Packing


class Sums(NamedTuple):
    """Log masses of the tag sequences of a text of n tokens, for T types.

    Every array has one more axis for the problems of the text, where it has several.

    Attributes:
        begin: log p of B and of I. *Shape:* ``(n, T)``.
        inside: see `begin`.
        outside: log p of O, of the tokens in all. *Shape:* ``(n,)``.
        steps: mass of the first i + 1 tokens over that of the first i. Kept apart, since
            differences of their sums would lose digits in a long text. *Shape:* ``(n,)``.
        after_begin: by the type whose B is before, mass of the tokens from i on, if they begin with
            O or a B, over their mass in the whole (the total over the mass of the first i tokens).
            *Shape:* ``(n + 1, T)``.
        after_inside: the same behind an I.
        open_after_begin: the same as `after_begin`, where the entity may go on, too.
        open_after_inside: the same behind an I.
    """

    begin: NDArray[np.float64]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    steps: NDArray[np.float64]
    after_begin: NDArray[np.float64]
    after_inside: NDArray[np.float64]
    open_after_begin: NDArray[np.float64]
    open_after_inside: NDArray[np.float64]


class Lattice:
    """The distribution over the legal tag sequences of one text.

    A sequence has the product of its tokens' tag probabilities as its weight, and its weight over
    the sum of all of them as its probability. The forward-backward algorithm (Rabiner 1989, A
    Tutorial on Hidden Markov Models, section III.A) gives every sum over sequences in time linear
    in the tokens. A span is an entity of a type exactly if the tag at its start is B, those after
    it are I, and the one after its end is no I; the type alone tells the latter I from others. So
    all that a span's probability needs of the tokens outside is the mass before its start, and that
    after its end of sequences which begin with O or a B. Transitions are further factors of the
    weight, one for each pair of neighbouring tags.

    Attributes:
        sums: masses of the text's tokens; ``of`` and ``of_all`` compute them.
        log_total: log of the sum of the weights of all legal sequences; 0 without tokens.
        log_outside: log P(the token is in no entity | text). *Shape:* ``(n,)``.
    """

    def __init__(self, sums: Sums) -> None:
        self.log_total = float(sums.steps.sum())
        if self.log_total == -np.inf:
            # No legal sequence is possible, so no span has any mass.
            sums.begin[:], sums.outside[:], sums.steps[:] = -np.inf, -np.inf, 0.0
        self.log_outside = sums.outside
        self._begin, self._inside, self._steps = sums.begin, sums.inside, sums.steps
        self._after = sums.after_begin, sums.after_inside
        self._open_after = sums.open_after_begin, sums.open_after_inside

    @classmethod
    def of(cls, log_probs: LogProbs, transitions: Transitions | None = None) -> Lattice:
        """The lattice of one text; see ``of_all``."""
        return cls.of_all([log_probs], transitions)[0]

    @classmethod
    def of_all(
        cls, texts: Sequence[LogProbs], transitions: Transitions | None = None
    ) -> list[Lattice]:
        """The lattices of texts, computed side by side.

        Args:
            texts: log p(tag | text) of the tokens of each that carry a tag; -inf where it is
                impossible. *Shape of each:* ``(n, K)``, K = 2 T + 1 for T types.
            transitions: log weight of a tag behind another, [from, to], finite where that is legal;
                None for 0. *Shape:* ``(K, K)``.
        """
        made = _sums(texts) if transitions is None else _dense_sums(texts, transitions)
        return [cls(sums) for sums in made]

    @classmethod
    def of_all_problems(cls, texts: Sequence[LogProbs]) -> list[list[Lattice]]:
        """The lattices of the P problems of each text, computed side by side.

        Args:
            texts: see ``of_all``. *Shape of each:* ``(n, K, P)``.
        """
        return [
            [cls(Sums(*(mass[..., problem] for mass in sums))) for problem in range(text.shape[2])]
            for text, sums in zip(texts, _sums(texts), strict=True)
        ]

    def probability(self, start: int, end: int, type_index: int) -> float:
        """P(exactly this span is an entity of exactly this type | text).

        Args:
            start: first token and one past the last, 0 <= start < end <= n.
            end: see `start`.
            type_index: position of the type among the labels.
        """
        log_weight = self._begin[start, type_index] - self._steps[start]
        log_weight += (
            self._inside[start + 1 : end, type_index] - self._steps[start + 1 : end]
        ).sum()
        after = self._after[end - start > 1]
        # Rounding may put a sure span above 1.
        return math.exp(min(log_weight + after[end, type_index], 0.0))

    def expected_entities(self) -> NDArray[np.float64]:
        """Expected number of entities of each type, over all legal sequences. *Shape:* ``(T,)``.

        The sum over the tokens of P(an entity of the type begins here | text).
        """
        begins = self._begin - self._steps[:, None] + self._open_after[0][1:]
        found: NDArray[np.float64] = np.exp(np.minimum(begins, 0.0)).sum(axis=0)
        return found

    def candidates(self, min_probability: float) -> Iterator[tuple[int, int, int, float]]:
        """Every span and type with at least this probability.

        The probability that an entity of a type begins at a token and holds another one only falls
        with their distance, and bounds that of every longer span: the search ends there.

        Args:
            min_probability: above 0; at most 1 / min_probability spans of a token can reach it.

        Yields:
            Start, end, type index and probability, by start, then type, then end.
        """
        n = len(self._begin)
        log_weights = self._begin - self._steps[:, None]
        log_min = math.log(min_probability)
        for start, type_index in np.argwhere(
            log_weights + self._open_after[0][1:] >= log_min
        ).tolist():
            log_weight = log_weights[start, type_index]
            for end in range(start + 1, n + 1):
                after = self._after[end - start > 1]
                probability = math.exp(min(log_weight + after[end, type_index], 0.0))
                if probability >= min_probability:
                    yield start, end, type_index, probability
                if end == n:
                    break
                log_weight += self._inside[end, type_index] - self._steps[end]
                if log_weight + self._open_after[1][end + 1, type_index] < log_min:
                    break


def _sums(texts: Sequence[LogProbs]) -> list[Sums]:
    """The masses of texts, forward and then backward, with logarithms, which never underflow."""
    if not texts:
        return []
    packing = Packing([len(text) for text in texts])
    emissions = packing.pack(texts)
    n, n_types, problems = len(emissions), emissions.shape[1] // 2, emissions.shape[2:]
    # By type, and O in the last column, since numpy's calls are what a step of few texts costs.
    starting = np.concatenate((emissions[:, 1::2], emissions[:, [OUTSIDE]]), axis=1)
    going_on = np.full((n, n_types + 1, *problems), -np.inf)
    going_on[:, :-1] = emissions[:, 2::2]
    del emissions
    steps = np.empty((n, *problems))
    # By text: what is in an entity of a type so far, or in none.
    found_of_all = np.full((len(texts), n_types + 1, *problems), -np.inf)
    with np.errstate(invalid="ignore"):
        for width, rows in zip(packing.widths, packing.steps, strict=True):
            found = found_of_all[:width]
            np.add(found, going_on[rows], out=found)
            np.logaddexp(starting[rows], found, out=found)
            step = _log_sum(found, steps[rows])
            # No number from here on for a text that has become impossible.
            np.subtract(found, step[:, None], out=found)
    possible = np.isfinite(steps)
    steps[~possible] = -np.inf
    rescaled = np.where(possible, steps, 0.0)
    inside = going_on[:, :-1].copy()
    going_on -= rescaled[:, None]
    # By text, what may follow an entity that goes on, by type, and what may follow anything. It is
    # 0 at the end, where a shorter text comes in on the way back.
    follows_of_all = np.zeros((len(texts), n_types + 1, *problems))
    follows = np.empty((n, n_types + 1, *problems))
    for width, rows in zip(reversed(packing.widths), reversed(packing.steps), strict=True):
        found, after = found_of_all[:width], follows_of_all[:width]
        np.add(starting[rows], after, out=found)
        any_after = _log_sum(found)[:, None]
        any_after -= rescaled[rows, None]
        # The last column has no entity to go on with, so it becomes what follows anything.
        np.add(after, going_on[rows], out=after)
        np.logaddexp(after, any_after, out=after)
        follows[rows] = after
    del going_on, rescaled, possible
    columns = (packing.unpack(column) for column in (starting, inside, steps, follows))
    end = np.zeros((1, n_types + 1, *problems))
    made = []
    for text_starting, text_inside, text_steps, text_follows in zip(*columns, strict=True):
        follow = np.concatenate((text_follows, end))
        # The same for every tag of every type, without a copy for each.
        open_after = follow[:, :-1]
        after = np.broadcast_to(follow[:, -1:], open_after.shape)
        with np.errstate(invalid="ignore"):
            outside = text_starting[:, -1] - text_steps + after[1:, -1]
        made.append(
            Sums(
                *(text_starting[:, :-1], text_inside, outside, text_steps),
                *(after, after, open_after, open_after),
            )
        )
    return made


def _dense_sums(texts: Sequence[LogProbs], transitions: Transitions) -> list[Sums]:
    """The masses of texts whose pairs of neighbouring tags have a weight of their own."""
    if not texts:
        return []
    dense = DenseLattice(texts, transitions)
    steps, entering = dense.forward()
    finite = np.where(np.isfinite(steps), steps, 0.0)
    ended, any_after = dense.backward(finite)
    n_types = len(dense.first)
    # An entity of one token has no I. One that has starts with the first, whose weight may be
    # another than that of all further ones, which are counted for it: this corrects it.
    extra = dense.first - dense.further
    begins, insides = slice(1, n_types + 1), slice(n_types + 1, None)
    columns = (
        dense.emissions[:, begins] + entering[:, 1:],
        dense.emissions[:, insides] + dense.further,
        dense.emissions[:, OUTSIDE] + entering[:, OUTSIDE] - finite,
        steps,
        any_after[:, OUTSIDE],
        *(of[:, begins] for of in (ended, any_after)),
        *(of[:, insides] + extra for of in (ended, any_after)),
    )
    made = []
    for begin, inside, outside, step, after_o, *after in zip(
        *map(dense.packing.unpack, columns), strict=True
    ):
        (after_b, open_b), (after_i, open_i) = (
            [np.concatenate((of, end[None])) for of in after[i : i + 2]]
            for i, end in ((0, np.zeros(n_types)), (2, extra))
        )
        outside[:-1] += after_o[1:]
        made.append(Sums(begin, inside, outside, step, after_b, after_i, open_b, open_i))
    return made


def _log_sum(
    columns: NDArray[np.float64], out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """``logaddexp`` over the columns; of two, in one step and not in the two that reduce takes."""
    if columns.shape[1] == 2:
        return np.logaddexp(columns[:, 0], columns[:, 1], out=out)
    return np.logaddexp.reduce(columns, axis=1, out=out)


def best_sequence(scores: LogProbs, transitions: Transitions | None = None) -> NDArray[np.int64]:
    """Viterbi over the legal BIO sequences of one text; see ``best_sequences``."""
    return best_sequences([scores], transitions)[0]


def best_sequences(
    texts: Sequence[LogProbs], transitions: Transitions | None = None
) -> list[NDArray[np.int64]]:
    """Viterbi over the legal BIO sequences: of each text the one with the largest sum of scores.

    Ties go to the smaller tag id at the earliest position from the end, so the result is one and
    the same on every run.

    Args:
        texts: log scores of the tags of each text's tokens; -inf forbids a tag. *Shape of each:*
            ``(n, K)``.
        transitions: see ``Lattice.of_all``.

    Returns:
        Tag ids. *Shape of each:* ``(n,)``.
    """
    if not texts:
        return []
    if transitions is not None:
        return DenseLattice(texts, transitions).best_sequences()
    packing = Packing([len(text) for text in texts])
    origins, continues, last = _viterbi(packing, packing.pack(texts))
    return [
        _path(tag, *of_text)
        for tag, *of_text in zip(
            packing.unordered(last).tolist(),
            packing.unpack(origins),
            packing.unpack(continues),
            strict=True,
        )
    ]


def best_sequences_of_problems(texts: Sequence[LogProbs]) -> list[NDArray[np.int64]]:
    """The best legal sequences of the problems of each text, which have one type each.

    Args:
        texts: see ``best_sequences``. *Shape of each:* ``(n, 3, P)``.

    Returns:
        Tag ids. *Shape of each:* ``(n, P)``.
    """
    if not texts:
        return []
    packing = Packing([len(text) for text in texts])
    origins, continues, tags_of_all = _viterbi(packing, packing.pack(texts))
    for width, rows in zip(reversed(packing.widths), reversed(packing.steps), strict=True):
        tags = tags_of_all[:width]
        before = np.where(tags == INSIDE, BEGIN + continues[rows, 0], origins[rows])
        # The path takes the place of what led to it.
        origins[rows], tags[:] = tags, before
    return packing.unpack(origins)


def _viterbi(
    packing: Packing, emissions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """The forward recursion of Viterbi over packed texts.

    Returns:
        The best tag before each token; by type, whether an I before it beats a B; and, in the order
        of the packing, the last tag of each text's best sequence.
    """
    n, n_tags, *problems = emissions.shape
    n_texts = len(packing.lengths)
    origins = np.zeros((n, *problems), dtype=np.int64)
    continues = np.zeros((n, n_tags // 2, *problems), dtype=bool)
    # By text, the largest sum of a sequence that ends with a tag. Before the first token it is that
    # of O, from which no I follows.
    best_of_all = np.full((n_texts, n_tags, *problems), -np.inf)
    best_of_all[:, OUTSIDE] = 0.0
    for width, rows in zip(packing.widths, packing.steps, strict=True):
        best, arriving = best_of_all[:width], emissions[rows]
        # From the B or I of a type to its I ...
        from_begin, from_inside = best[:, 1::2], best[:, 2::2]
        np.greater(from_inside, from_begin, out=continues[rows])
        goes_on = np.maximum(from_begin, from_inside)
        goes_on += arriving[:, 2::2]
        # ... and from any tag to O and to every B.
        best.argmax(axis=1, out=origins[rows])
        np.add(arriving, np.maximum.reduce(best, axis=1, keepdims=True), out=best)
        best[:, 2::2] = goes_on
    return origins, continues, best_of_all.argmax(axis=1)


def _path(tag: int, origins: NDArray[np.int64], continues: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The way back from the tag of the last token. *Shape:* ``(n,)``."""
    path = np.empty(len(origins), dtype=np.int64)
    any_tag = origins.tolist()
    for i in range(len(path) - 1, -1, -1):
        path[i] = tag
        if tag == OUTSIDE or tag % 2:
            tag = any_tag[i]
        elif not continues[i, tag // 2 - 1]:
            tag -= 1
    return path


def entities_of(
    path: NDArray[np.int64], labels: Sequence[str], tokens: TokenMask
) -> list[EntityOffsets]:
    """Entities of a legal tag sequence over the taggable tokens of a document.

    An entity may hold whitespace tokens inside, never at an edge.

    Args:
        path: tag ids of the taggable tokens. *Shape:* ``(tokens.sum(),)``.
        labels: the entity types, in the order of their tags.
        tokens: True for the tokens that carry a tag. *Shape:* ``(n,)``.

    Returns:
        (first token, one past the last, label) in the order of the text.
    """
    entities: list[EntityOffsets] = []
    positions = np.flatnonzero(tokens)
    start, last, label = -1, -1, ""
    for position, tag in zip(positions.tolist(), path.tolist(), strict=True):
        continues = tag != OUTSIDE and tag % 2 == 0
        if start >= 0 and not continues:
            entities.append((start, last + 1, label))
            start = -1
        if tag != OUTSIDE and not continues:
            start, label = position, labels[(tag - 1) // 2]
        last = position
    if start >= 0:
        entities.append((start, last + 1, label))
    return entities


def entities_of_problems(
    paths: NDArray[np.int64], labels: Sequence[str], tokens: TokenMask
) -> list[EntityOffsets]:
    """Entities of the legal tag sequences of a document's problems, one for each type.

    Args:
        paths: tag ids of the taggable tokens. *Shape:* ``(tokens.sum(), M)``.
        labels: the entity types, in the order of their problems.
        tokens: see ``entities_of``.

    Returns:
        (first token, one past the last, label), by start, then end, then label.
    """
    positions = np.flatnonzero(tokens)
    goes_on = np.append(paths[1:] == INSIDE, np.zeros_like(paths[:1], dtype=bool), axis=0)
    # By type, then by position: each start has its end at the same place.
    types, starts = np.nonzero((paths == BEGIN).T)
    _, lasts = np.nonzero(((paths > OUTSIDE) & ~goes_on).T)
    return sorted(
        (start, last + 1, labels[type_index])
        for start, last, type_index in zip(
            positions[starts].tolist(), positions[lasts].tolist(), types.tolist(), strict=True
        )
    )
