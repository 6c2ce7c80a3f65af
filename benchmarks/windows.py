"""Speed of prediction with several windows of wordpieces, and where its time goes.

`python -m benchmarks.speed` compares a pipeline, as it is, with others. This script gives the same
weights other windows; each is measured beside the bare encoder over the same windows.

    python benchmarks/windows.py MODEL NOTES [--limit 100] [--rounds 5] [--windows 254,32 510,64]
                                 [--batch-items 4096] [--profile]

MODEL is the folder of a trained pipeline of a windowed transformer and ``ner``; NOTES a folder of
.txt files or a .spacy file. --profile runs the first windows once, under the profiler.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from speed import (
    BARE,
    OURS,
    bare_forward,
    encoder_batches,
    measure,
    pieces_of,
    read_notes,
    summarise,
)


def windowed(path: Path, size: int, context: int, batch_items: int) -> Language:
    """The trained pipeline with other windows."""
    settings = {
        "max_wordpieces": size,
        "context": context,
        "training_context": context,
        "max_batch_items": batch_items,
    }
    overrides = {f"components.transformer.model.{key}": value for key, value in settings.items()}
    return spacy.load(path, config=overrides)


def runs_of(nlp: Language, texts: list[str]) -> dict[str, Callable[[], Any]]:
    """The bare encoder over the windows of a pipeline, and the pipeline."""
    model: Any = nlp.get_pipe("transformer").model
    batches = encoder_batches(nlp, model, texts, context=model.settings.context)
    return {BARE: bare_forward(model, batches), OURS: lambda: list(nlp.pipe(texts))}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", nargs="+", default=["254,32"])
    parser.add_argument("--batch-items", type=int, default=4096)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    texts = read_notes(args.notes, limit=args.limit)
    runs: dict[str, Callable[[], Any]] = {}
    words = 0
    for windows in args.windows:
        nlp = windowed(args.model, *map(int, windows.split(",")), args.batch_items)
        words = words or len(pieces_of(nlp, texts))
        runs |= {f"{key} {windows}": run for key, run in runs_of(nlp, texts).items()}
    if args.profile:
        profile = cProfile.Profile()
        profile.runcall(runs[f"{OURS} {args.windows[0]}"])
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    times = measure(runs, rounds=args.rounds)
    print(f"{len(texts)} notes, {words} words, {torch.get_num_threads()} threads")
    print(f"{'':36}{'words/s':>10}{'by CPU':>10}{'of bare':>10}{'by CPU':>10}")
    for windows in args.windows:
        pair = {key: times[f"{key} {windows}"] for key in (BARE, OURS)}
        for key, row in summarise(pair, words=words).items():
            speed, share = row["words_per_second"], row["of_bare"]
            print(
                f"{key + ' ' + windows:36}{speed['wall']:10.0f}{speed['processor']:10.0f}"
                f"{share['wall']:10.3f}{share['processor']:10.3f}"
            )


if __name__ == "__main__":
    main()
