"""Where the time of a prediction goes, stage by stage.

    python benchmarks/stages.py MODEL NOTES [--limit 100] [--rounds 3] [--output FILE.json]

MODEL is a trained pipeline with the components `transformer` and `ner`, of whatever windows. NOTES
is a folder of .txt files. Nothing of the package is imported, so that earlier versions of it can be
measured too. One thread, since a stage is what that one is in. Seconds of processor time for 1,000
words, medians over the rounds:

tokenizer    from text to tokens of spaCy
encoder      the transformer's own arithmetic
around it    wordpieces, alignment, windows, batches, and putting the vectors together
kept         what the component leaves on documents, and the listeners' vectors
ner          head, probabilities, decoding
annotation   entities and their probabilities
rest         what spaCy does between them
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language

STAGES = ("tokenizer", "encoder", "around it", "kept", "ner", "annotation", "rest")


class Clock:
    """Processor time by stage; what a stage calls of another counts for that one alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.0

    def enter(self, stage: str) -> None:
        """Go on with a stage within the one that runs."""
        self._charge()
        self._stack.append(stage)

    def leave(self) -> None:
        """Go back to the stage before."""
        self._charge()
        self._stack.pop()

    def _charge(self) -> None:
        now = time.process_time()
        if self._stack:
            self.spent[self._stack[-1]] += now - self._since
        self._since = now

    def timed(self, stage: str, function: Callable) -> Callable:
        """The function, with its time charged to a stage."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self.enter(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return run


def instrument(nlp: Language, clock: Clock) -> None:
    """Charge the parts of a pipeline to their stages."""
    transformer: Any = nlp.get_pipe("transformer")
    recognizer: Any = nlp.get_pipe("ner")
    nlp.make_doc = clock.timed("tokenizer", nlp.make_doc)  # type: ignore[method-assign]
    encoder = transformer.model.transformer
    encoder.forward = clock.timed("encoder", encoder.forward)
    transformer.predict = clock.timed("around it", transformer.predict)
    transformer.set_annotations = clock.timed("kept", transformer.set_annotations)
    recognizer.predict = clock.timed("ner", recognizer.predict)
    recognizer.set_annotations = clock.timed("annotation", recognizer.set_annotations)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    files = sorted(args.notes.glob("*.txt"))[: args.limit]
    texts = [file.read_text(encoding="utf-8") for file in files]
    torch.set_num_threads(1)
    nlp = spacy.load(args.model)
    words = sum(len(nlp.make_doc(text)) for text in texts)
    clock = Clock()
    instrument(nlp, clock)
    found: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for _ in range(args.rounds + 1):
        clock.spent.clear()
        clock.enter("rest")
        for _doc in nlp.pipe(texts):
            pass
        clock.leave()
        for stage in STAGES:
            found[stage].append(1000 * clock.spent[stage] / words)
    # The first round warms up.
    medians = {stage: round(statistics.median(found[stage][1:]), 4) for stage in STAGES}
    total = sum(medians.values())
    print(f"{len(texts)} notes, {words} words, {torch.get_num_threads()} threads")
    for stage, seconds in medians.items():
        print(f"{stage:12}{seconds:9.4f} s{100 * seconds / total:7.1f} %")
    print(f"{'all':12}{total:9.4f} s")
    if args.output:
        record = {"notes": len(texts), "words": words, "seconds_per_1000_words": medians}
        args.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
