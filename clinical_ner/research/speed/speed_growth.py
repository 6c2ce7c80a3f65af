"""Memory of each variant, and what becomes of speed and memory as notes get many or long.

Every measurement is made by a process of its own, see `speed_child`; one that fails is told with
its reason, and the others go on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .speed import OURS

#: Words of each of many notes.
WORDS_PER_NOTE = 150
NOTES = (10, 100, 1_000, 10_000)
WORDS = (100, 1_000, 10_000, 100_000)
#: Most notes, and most words of one note, that others than ours are given: they take too long, or
#: too much memory, for more.
OTHERS_NOTES = 1_000
OTHERS_WORDS = 10_000

CHILD = (sys.executable, "-m", "clinical_ner.research.speed.speed_child")


@dataclass(frozen=True)
class Point:
    """What one process reads.

    variant: its key.
    kind: "notes" where their number grows, "words" where one note does.
    notes: number of notes.
    words: of each.
    """

    variant: str
    kind: str
    notes: int
    words: int


def plan(
    variants: Iterable[str], *, notes: Sequence[int] = NOTES, words: Sequence[int] = WORDS
) -> list[Point]:
    """All points, ours with every size, others with those that they are given.

    variants: keys of the variants that read notes.
    notes: numbers of notes of WORDS_PER_NOTE words.
    words: numbers of words of one note.
    """
    points = []
    for key in variants:
        points += [
            Point(key, "notes", number, WORDS_PER_NOTE)
            for number in notes
            if key == OURS or number <= OTHERS_NOTES
        ]
        points += [
            Point(key, "words", 1, number)
            for number in words
            if key == OURS or number <= OTHERS_WORDS
        ]
    return points


def grow(
    points: Sequence[Point],
    pieces: Sequence[str],
    ask: Callable[..., dict[str, Any]],
    *,
    say: Callable[[str], None] = lambda message: None,
) -> list[dict[str, Any]]:
    """Measure points.

    pieces: what notes are made of; see `speed_notes.pieces_of`.
    ask: gives the answer to a request, of which these are the arguments; see `ask_child`.
    say: told of every point.

    RETURNS: a row for each point: what it is; and either the answer, with ``words_per_second``, or
        the ``reason`` why there is none.
    """
    rows = []
    for number, point in enumerate(points, start=1):
        say(f"growth {number} of {len(points)}: {point.variant}, {point.notes} x {point.words}")
        size = {"notes": point.notes, "words": point.words}
        told = ask(variant=point.variant, pieces=list(pieces), **size)
        if "reason" not in told:
            told["words_per_second"] = point.notes * point.words / told["seconds"]
        rows.append({**asdict(point), **told})
    return rows


def ask_child(*, command: Sequence[str] = CHILD, **request: Any) -> dict[str, Any]:
    """Give a request to a process of its own and wait for the answer.

    request: see `speed_child.answer`.

    RETURNS: the answer; or ``reason``, why there is none.
    """
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode < 0:
        number = -done.returncode
        name = signal.strsignal(number) or f"signal {number}"
        hint = ", as happens when memory runs out" if number == signal.SIGKILL else ""
        return {"reason": f"ended by the system: {name}{hint}"}
    # Its stderr may quote a note.
    if done.returncode:
        return {"reason": f"ended with exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])
