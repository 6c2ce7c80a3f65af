"""Times of several ways to read the same notes, taken in rounds, and what follows from them."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Keys of the variants; see `speed_variants`.
BARE, SIDE_BY_SIDE, NO_CONTEXT = "bare", "bare_side_by_side", "bare_no_context"
OURS = "ours"
SPACY_NER, OPTIMIZED = "spacy_ner", "optimized"
HUGGING_FACE = "hugging_face"


def hugging_face_key(length: int, batch_size: int) -> str:
    """Key of Hugging Face's pipeline with chunks of some length in batches of some size."""
    return f"{HUGGING_FACE}_{length}x{batch_size}"


@dataclass(frozen=True)
class Times:
    """Seconds of each round.

    wall: by the clock.
    processor: of all threads of this process together. Less of it is lost to other processes.
    """

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Time of a run, by the clock and of the processor."""
    # What others left behind is not collected at this one's cost.
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    result = run()
    elapsed = time.perf_counter() - wall, time.process_time() - processor
    # Freed only now: `list(nlp.pipe(texts))` keeps its documents too.
    del result
    return elapsed


def measure(
    runs: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    seed: int,
    timed: Callable[[Callable[[], Any]], tuple[float, float]] = seconds,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Times]:
    """Run everything once per round, each round in another order.

    So whatever else the machine does hits all alike, and none always comes after the same other.

    seed: of the orders.
    timed: takes the time of a run.
    say: told of every round.
    """
    orders = random.Random(seed)
    times = {key: Times() for key in runs}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for key in orders.sample(list(runs), len(runs)):
            wall, processor = timed(runs[key])
            times[key].wall.append(wall)
            times[key].processor.append(processor)
    return times


def summarise(times: Mapping[str, Times], *, words: int) -> dict[str, dict[str, Any]]:
    """Speeds and ratios of the variants, by the clock (wall) and of the processor.

    words: read in each run.

    RETURNS: for each variant the ``seconds`` of the rounds, the median ``words_per_second``, the
        median ratio of its speed to that of the encoder alone (``of_bare``), and the ratio of the
        speed of ours to its own (``ours_over``: median, lowest and highest). Ratios are taken
        within rounds.
    """
    kinds = ("wall", "processor")
    rows: dict[str, dict[str, Any]] = {}
    for key, taken in times.items():
        row: dict[str, Any] = {
            name: {} for name in ("seconds", "words_per_second", "of_bare", "ours_over")
        }
        for kind in kinds:
            own = getattr(taken, kind)
            row["seconds"][kind] = own
            row["words_per_second"][kind] = statistics.median(words / s for s in own)
            of_bare = _ratios(getattr(times[BARE], kind), own)
            row["of_bare"][kind] = statistics.median(of_bare)
            ours = _ratios(own, getattr(times[OURS], kind))
            row["ours_over"][kind] = {
                "median": statistics.median(ours),
                "low": min(ours),
                "high": max(ours),
            }
        rows[key] = row
    return rows


def fastest_hugging_face(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Key of the fastest of Hugging Face's pipelines, by the clock."""
    keys = [key for key in rows if key.startswith(HUGGING_FACE)]
    return max(keys, key=lambda key: rows[key]["words_per_second"]["wall"])


def _ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    return [n / d for n, d in zip(numerators, denominators, strict=True)]
