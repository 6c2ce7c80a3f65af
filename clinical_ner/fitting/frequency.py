"""Groups of tags or types that are about as common in training, for what one alone cannot carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

#: Training counts at which the next commoner group begins: a group spans one power of ten.
BOUNDS = (10.0, 100.0, 1000.0)


def frequency_groups(
    counts: Mapping[str, float], *, bounds: Sequence[float] = BOUNDS
) -> list[tuple[str, ...]]:
    """Divide names by their training counts: below 10, 10 to 99, 100 to 999, 1000 or more.

    What a shared number stands for changes with the order of magnitude of the count (a tag seen
    5 times is another thing than one seen 500 times), so the bounds are fixed powers of ten, not
    shares of the names, and mean the same for every corpus.

    Args:
        counts: training tokens of each tag, or training mentions of each type, by name.
        bounds: where the next commoner group begins, rising.

    Returns:
        The groups that hold a name, the rarest first; the names of a group in the order of
        ``counts``.
    """
    names = list(counts)
    group = np.searchsorted(np.asarray(bounds), [counts[name] for name in names], side="right")
    found = [
        tuple(name for name, of in zip(names, group.tolist(), strict=True) if of == number)
        for number in range(len(bounds) + 1)
    ]
    return [members for members in found if members]


def merge_small_groups(
    groups: Sequence[Sequence[str]], support: Mapping[str, float], *, min_support: float
) -> list[tuple[str, ...]]:
    """Merge every group of too little support with the next commoner one.

    The commonest has none beyond it and is merged with the next rarer, so nothing stays alone
    unless all together have too little.

    Args:
        groups: from ``frequency_groups``, the rarest first.
        support: held-out tokens, or mentions, by name; a name that is not in it has none.
        min_support: what a group needs.

    Returns:
        The groups, the rarest first; empty if all together have less than ``min_support``.
    """
    merged: list[tuple[str, ...]] = []
    open_: tuple[str, ...] = ()
    for members in groups:
        open_ = (*open_, *members)
        if sum(support.get(name, 0.0) for name in open_) >= min_support:
            merged.append(open_)
            open_ = ()
    if open_ and merged:
        merged[-1] = (*merged[-1], *open_)
    return merged
