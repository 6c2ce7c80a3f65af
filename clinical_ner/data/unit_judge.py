"""What the offsets of a corpus count, judged by where mentions begin and end."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

from ..errors import ClinicalNerWarning, InputError, shown
from .mentions import Place
from .offsets import Draft, QuotedMention, Unit, agrees, depends_on_unit, fits, in_code_points

#: Scripts that put no space between words, so that an edge between two letters says nothing: Thai,
#: Lao, Burmese, Khmer, Japanese, Chinese.
_NO_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


class UnitJudge:
    """Judges by a corpus what its offsets count, where neither format nor quotes say it.

    Mentions begin and end where words do, and hold no space at their edges: under the right unit
    few edges are elsewhere, under a wrong one most. Documents are shown one by one, then `decide`.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[Unit, ...], _Tally] = {}
        #: The units of drafts, and in what order they are to be tried.
        self.ranked: dict[tuple[Unit, ...], tuple[Unit, ...]] = {}

    def add(self, draft: Draft, place: Place) -> None:
        """Show a document."""
        if draft.unit is None and len(draft.units) > 1 and depends_on_unit(draft.text):
            self._tallies.setdefault(draft.units, _Tally(draft.units)).add(draft, place)

    def decide(self, source: Path) -> None:
        """Rank the units, and warn in one line which is taken and why, where it matters.

        Raises:
            InputError: it cannot be told: under two units edges are equally good, or nearly, and
                the mentions are different.
        """
        for units, tally in self._tallies.items():
            best = tally.best(source)
            self.ranked[units] = tuple(dict.fromkeys((best, *units)))


class _Tally:
    """Counts, over documents that may count any of some units, edges that are misplaced in each."""

    def __init__(self, units: tuple[Unit, ...]) -> None:
        self.units = units
        self.misplaced: Counter[Unit] = Counter()
        self.edges = 0
        #: The first document that needs the decision.
        self.first: tuple[Draft, Place] | None = None
        #: Units of one signature give the same mentions in all documents that need the decision.
        self.signatures: dict[Unit, int] = dict.fromkeys(units, 0)

    def add(self, draft: Draft, place: Place) -> None:
        readings = {
            unit: _placed(draft, in_code_points(draft.text, draft.mentions, unit))
            for unit in self.units
        }
        by_mention = list(zip(*readings.values(), strict=True))
        # What does not depend on the unit says nothing about it.
        open_ones = [number for number, found in enumerate(by_mention) if len(set(found)) > 1]
        if not open_ones:
            return
        for number in open_ones:
            has_quote = draft.mentions[number].quote is not None
            edges = 2 * len(draft.mentions[number].mention.fragments)
            self.edges += edges
            for unit, found in readings.items():
                fragments = found[number]
                if fragments is None:
                    self.misplaced[unit] += edges
                elif not has_quote:
                    self.misplaced[unit] += sum(misplaced(draft.text, *pair) for pair in fragments)
        quoted = [n for n in range(len(by_mention)) if draft.mentions[n].quote is not None]
        agreeing = {
            found for found in readings.values() if all(found[n] is not None for n in quoted)
        }
        if quoted and len(agreeing) < 2:
            return
        self.first = self.first or (draft, place)
        for unit, found in readings.items():
            self.signatures[unit] = hash((self.signatures[unit], found))

    def best(self, source: Path) -> Unit:
        """Choose a unit; see `UnitJudge.decide`."""
        # Of units that make no difference where it matters, the best.
        by_signature: dict[int, Unit] = {}
        for unit in sorted(self.units, key=lambda unit: self.misplaced[unit]):
            by_signature.setdefault(self.signatures[unit], unit)
        best, *rivals = by_signature.values()
        if self.first is None:
            return best
        counts = ", ".join(f"{self.misplaced[unit]} under {unit}" for unit in (best, *rivals))
        why = f"of {self.edges} edges of mentions, those that cut a word or hold a space: {counts}"
        # Twice as many, since some annotators do cut words.
        least = max(1, 2 * self.misplaced[best])
        if any(self.misplaced[unit] < least for unit in rivals):
            draft, place = self.first
            raise InputError(
                f"{source}: cannot tell what offsets count, first in document {shown(draft.id)} "
                f"({place}); {why}. Say it with --offsets (offsets=...)."
            )
        warnings.warn(
            f"{source}: offsets are taken to count {best}: {why}.", ClinicalNerWarning, stacklevel=2
        )
        return best


_Fragments = tuple[tuple[int, int], ...]


def _placed(draft: Draft, converted: list[QuotedMention]) -> tuple[_Fragments | None, ...]:
    """The fragments of each mention, None for one that does not fit the text or its quote."""
    return tuple(
        item.mention.fragments
        if fits(draft.text, item.mention.fragments)
        and (item.quote is None or agrees(draft.text, item.mention.fragments, item.quote))
        else None
        for item in converted
    )


def misplaced(text: str, start: int, end: int) -> int:
    """How many edges of a fragment, 0 to 2, are inside a word or beside a space that it holds."""
    if start == end:
        return 0
    return (text[start].isspace() or _in_word(text, start)) + (
        text[end - 1].isspace() or _in_word(text, end)
    )


def _in_word(text: str, position: int) -> bool:
    """Whether a position is between two letters, two digits, or before a combining character."""
    if not 0 < position < len(text):
        return False
    before, after = text[position - 1], text[position]
    if unicodedata.category(after).startswith("M"):
        return True
    if before.isdigit():
        return after.isdigit()
    return before.isalpha() and after.isalpha() and not _NO_SPACES.search(before + after)
