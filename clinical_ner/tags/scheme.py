"""The BIO scheme: tag names and legal transitions.

The tags of labels a, b, ... are O, B-a, I-a, B-b, I-b, ... in this order, so label j has the ids
2j + 1 (begin) and 2j + 2 (inside). Other modules rely on it through the functions below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Id of the tag O.
OUTSIDE = 0
#: Id of a token without a usable tag.
MASKED = -1


def tag_names(labels: Sequence[str]) -> list[str]:
    """Names of the K = 1 + 2 * len(labels) tags, in the order of their ids."""
    return ["O"] + [f"{prefix}-{label}" for label in labels for prefix in ("B", "I")]


def begin_id(label_index: int) -> int:
    """Id of the tag B of the label with this index."""
    return 2 * label_index + 1


def inside_id(label_index: int) -> int:
    """Id of the tag I of the label with this index."""
    return 2 * label_index + 2


def class_index(n_tags: int) -> NDArray[np.intp]:
    """Class of every tag: 0 for O, j + 1 for both tags of label j.

    Returns:
        *Shape:* ``(n_tags,)``.
    """
    return (np.arange(n_tags) + 1) // 2


def legal_transitions(n_tags: int) -> NDArray[np.bool_]:
    """Which tag may follow which: everything but an I that does not continue its own entity.

    Returns:
        [from, to] is True where legal. The last row stands for the start of the document, where no
        I may stand. *Shape:* ``(n_tags + 1, n_tags)``.
    """
    legal = np.ones((n_tags + 1, n_tags), dtype=bool)
    inside = np.arange(2, n_tags, 2)
    legal[:, inside] = False
    legal[inside, inside] = True
    legal[inside - 1, inside] = True
    return legal
