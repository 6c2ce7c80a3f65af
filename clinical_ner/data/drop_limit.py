"""How many mentions a conversion may drop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from .conversion import ConversionCounts

_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_COUNT = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class DropLimit:
    """The most mentions that may be dropped, of those that somebody wanted (counts.wanted).

    text: as the user wrote it.
    share: of the mentions, in [0, 1]; or else `count`: their number.
    """

    text: str
    share: Fraction | None = None
    count: int | None = None

    def allows(self, counts: ConversionCounts) -> bool:
        """Whether a conversion keeps to the limit."""
        if self.share is not None:
            return counts.lost.total() <= self.share * counts.wanted
        return self.count is None or counts.lost.total() <= self.count

    def message(self, counts: ConversionCounts, source: Path) -> str:
        """Say that a conversion does not, with the three most common reasons."""
        lost = counts.lost
        dropped = lost.total()
        return (
            "{path}: {dropped} of {read} mentions are dropped ({share}), more than {limit}: "
            "{reasons}. Nothing was written but what --report names."
        ).format(
            path=source,
            dropped=dropped,
            read=counts.wanted,
            share=f"{100 * dropped / counts.wanted:.3g}%",
            limit=self.text,
            reasons=", ".join(f"{code} {number}" for code, number in lost.most_common(3)),
        )


def parse_limit(text: str) -> DropLimit | None:
    """Parse "1%" or "5"; None if it is neither."""
    if percentage := _PERCENTAGE.fullmatch(text):
        share = Fraction(percentage[1]) / 100
        return DropLimit(text, share=share) if share <= 1 else None
    return DropLimit(text, count=int(text)) if _COUNT.fullmatch(text) else None
