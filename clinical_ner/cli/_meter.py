"""How far a command is that reads notes."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Meter:
    """Notes and words per second, and the time left, on a terminal; nothing in a pipe."""

    def __init__(self, source: str) -> None:
        from ..annotate.notes import count_notes

        is_shown = sys.stderr.isatty()
        self._words = 0
        self._shown = Progress(
            TextColumn("{task.completed:.0f} notes"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not is_shown,
        )
        total = count_notes(source) if is_shown else None
        self._task = self._shown.add_task("", total=total, rate="")

    def __enter__(self) -> Meter:
        """Begin to show it."""
        self._shown.start()
        return self

    def __exit__(self, *args: Any) -> None:
        """Show it no more."""
        self._shown.stop()

    def add(self, notes: int, words: int) -> None:
        """Move on by some notes, of so many words."""
        self._words += words
        task = self._shown.tasks[self._task]
        seconds = max(task.elapsed or 0.0, 1e-9)
        done = task.completed + notes
        rate = f"{done / seconds:.1f} notes/s, {self._words / seconds:.0f} words/s"
        self._shown.update(self._task, advance=notes, rate=rate)
