"""Aliases and protocols that several modules share; each array's shape is said here once.

K is the number of tags, n a number of tokens, D a number of documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

# NumPy's arrays on a CPU, CuPy's on a GPU: no static type covers both.
#: Raw outputs of the head before any softmax. *Shape:* ``(n, K)``.
Logits: TypeAlias = Any
#: Log-probabilities p(tag | text), -inf where a tag is impossible. *Shape:* ``(n, K)``.
LogProbs: TypeAlias = Any
#: Gold tag ids, -1 where the gold tag is unknown (masked). *Shape:* ``(n,)``, or ``(n, K // 2)``
#: where a token may have tags of several types, a column for each.
TagIds: TypeAlias = Any
#: True where a token may carry a tag, that is, where it is not whitespace. *Shape:* ``(n,)``.
TokenMask: TypeAlias = Any
#: Log weight of a tag behind another, [from, to], -inf where illegal. *Shape:* ``(K, K)``.
Transitions: TypeAlias = Any
#: An entity of a decoded sequence: first token, one past the last token, label.
EntityOffsets: TypeAlias = tuple[int, int, str]

T = TypeVar("T")


class Track(Protocol):
    """Wraps an iteration to show its progress, as ``rich.progress.track`` does."""

    def __call__(self, items: Iterable[T], title: str, total: int, /) -> Iterable[T]:
        """Yield the items."""


def untracked(items: Iterable[T], title: str, total: int) -> Iterable[T]:
    """Show no progress."""
    return items


@runtime_checkable
class TagLoss(Protocol):
    """What the component asks of a loss. See ``losses.base.EntityLoss``."""

    has_posterior: bool

    def initialize(self, statistics: Any) -> None:
        """Bind the loss to the tag statistics of the training data."""

    def __call__(
        self, guesses: Logits, truths: TagIds, lengths: Any = None, batch: Any = None
    ) -> tuple[Logits, float]:
        """Return the gradient with respect to the logits, and the loss."""

    def posterior_logits(self, logits: Logits) -> Logits:
        """Undo what the loss did to the probabilities."""

    def training_odds(self) -> Any:
        """Shares of the tags that the loss saw in training, or None if those of the corpus."""
