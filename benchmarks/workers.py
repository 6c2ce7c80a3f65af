"""Speed of `nlp.pipe` with worker processes, one thread in each.

    python benchmarks/workers.py MODEL NOTES [--limit 64] [--processes 1 2]

NOTES is a folder of .txt files. Seconds from the first note to the last, the start of the workers
included, one run for each number of processes; the entities must be the same in all.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import spacy
import torch

#: Documents that a worker is given at a time: few, so that all have work to the end.
BATCH = 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("notes", type=Path)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    files = sorted(args.notes.glob("*.txt"))[: args.limit]
    if not files:
        parser.error("NOTES has no .txt file")
    texts = [file.read_text(encoding="utf-8") for file in files]
    torch.set_num_threads(1)
    nlp = spacy.load(args.model)
    # What is made when something is first used is not timed.
    nlp(texts[0])
    expected = None
    for processes in args.processes:
        start = time.perf_counter()
        docs = list(nlp.pipe(texts, n_process=processes, batch_size=BATCH))
        taken = time.perf_counter() - start
        found = [[(ent.start, ent.end, ent.label) for ent in doc.ents] for doc in docs]
        expected = found if expected is None else expected
        same = "the same entities" if found == expected else "OTHER ENTITIES"
        words = sum(map(len, docs))
        speed = f"{words} words in {taken:.1f} s, {words / taken:.0f}/s"
        print(f"{processes} processes: {speed}, {same}")


if __name__ == "__main__":
    main()
