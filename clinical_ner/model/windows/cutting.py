"""Windows of a long text: where to cut it, and which window a piece takes its vector from.

The pieces of a text are shared out among *cores*, which follow one another without a gap. A window
is a core and ``context`` pieces on both sides of it, as far as the text goes::

    text      ....................................................
    cores     |------ 0 ------|---- 1 ----|---------- 2 ----------|
    windows   |------ 0 ------+++
                           +++|---- 1 ----|+++
                                       +++|---------- 2 ----------|

So the core that holds a piece is that of the window in which the piece stands most central: in
every other one it is nearer to a cut. An end of the text is no cut, since nothing is missing there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: How good a place is to cut the text there: within a token, between two of them, at the end of a
#: line or a sentence, at an empty line.
INSIDE, BETWEEN, END, GAP = range(4)
#: Largest share of padding in a batch. More rows gain little once there are some hundred pieces:
#: on a CPU, batches of 16,000 wordpieces were 17 % padding and slower than those of 1,000.
MAX_PADDING = 0.05
#: What a call costs beyond its wordpieces, in wordpieces: 12 ms in prediction and 55 in training
#: where one takes 0.33 and 1.2 (all-MiniLM-L6-v2, one core). So much padding may save a call.
CALL_COST = 40


class Windows(NamedTuple):
    """The windows of a text, in its order. *Shape of each:* ``(w,)``.

    Attributes:
        starts: first piece of a window; `ends`, one past the last.
        core_starts: of its core, as `core_ends`; cores follow one another without a gap.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    core_starts: NDArray[np.int64]
    core_ends: NDArray[np.int64]


def cut_windows(cuts: NDArray[np.int8], size: int, context: int, *, first: int = 0) -> Windows:
    """Share out the pieces of a text among windows.

    A window ends at the latest empty line, or else the latest end of a line or sentence, in the
    last quarter of what fits; or else at the latest such end in its second half; or else between
    two tokens. A token that no core can hold is cut inside, into as many cores as it takes.

    Args:
        cuts: INSIDE, BETWEEN, END or GAP for the place before each piece, and for that after the
            last. *Shape:* ``(n + 1,)``.
        size: largest number of pieces in a window.
        context: pieces that a window shows on both sides of its core, 0 <= 2 * context < size.
        first: largest number of pieces in the first core, where it is to be smaller than what fits;
            at least ``context`` + 1. It moves all cuts that follow.

    Returns:
        No window for a text without pieces, one for a text that fits.
    """
    n = len(cuts) - 1
    edges = [0] if n else []
    start = 0
    while n:
        fits = size - (context if start else 0)
        if not start and first:
            fits = min(fits, first + context)
        if n - start <= fits:
            break
        # A first core within the context of the second would leave its window without a use.
        lowest = start + 1 if start else context + 1
        start = _cut(cuts, start, lowest, start + fits - context)
        edges.append(start)
    core_starts = np.array(edges, dtype=np.int64)
    core_ends = np.append(core_starts[1:], n) if n else core_starts
    return Windows(
        np.maximum(core_starts - context, 0),
        np.minimum(core_ends + context, n),
        core_starts,
        core_ends,
    )


def _cut(cuts: NDArray[np.int8], start: int, lowest: int, highest: int) -> int:
    """The place where a core that begins at ``start`` ends, of those from lowest to highest."""
    quarter = max(lowest, highest - (highest - start) // 4)
    best = int(cuts[quarter : highest + 1].max())
    if best >= END:
        return _latest(cuts, quarter, highest, best) or highest
    half = max(lowest, highest - (highest - start) // 2)
    return _latest(cuts, half, highest, END) or _latest(cuts, lowest, highest, BETWEEN) or highest


def _latest(cuts: NDArray[np.int8], lowest: int, highest: int, least: int) -> int | None:
    """The last place from lowest to highest that is at least so good."""
    found = np.flatnonzero(cuts[lowest : highest + 1] >= least)
    return lowest + int(found[-1]) if len(found) else None


def tokens_cut_inside(
    windows: Windows, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Indices of the tokens whose pieces, from starts to ends, lie in more than one core."""
    edges = windows.core_starts[1:]
    return np.flatnonzero(
        np.searchsorted(edges, starts, side="right") < np.searchsorted(edges, ends, side="left")
    )


def batches_by_length(lengths: NDArray[np.int64], max_items: int) -> list[NDArray[np.int64]]:
    """Put rows of similar length together.

    Args:
        lengths: of the rows. *Shape:* ``(rows,)``.
        max_items: largest number of rows times the length of the longest, where a row is not alone.

    Returns:
        Indices of the rows of each batch, from the longest to the shortest; of what a batch
        computes, at most MAX_PADDING is padding, or CALL_COST wordpieces.
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    while len(order):
        rows, longest = lengths[order], int(lengths[order[0]])
        padded = longest * np.arange(1, len(order) + 1)
        padding = padded - np.cumsum(rows)
        # The share of padding grows with every row, since rows get shorter.
        wasteful = padding > np.maximum(MAX_PADDING * padded, CALL_COST)
        too_large = (padded > max_items) | wasteful
        count = max(1, int(too_large.argmax()) if too_large.any() else len(order))
        batches.append(order[:count])
        order = order[count:]
    return batches
