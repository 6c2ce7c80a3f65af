"""Whole documents against lines: models of both, on the same documents, with paired intervals.

    python benchmarks/line_by_line.py cut corpus/train.spacy lines/train.spacy
    python benchmarks/line_by_line.py compare corpus/test.spacy --whole MODEL ... \
      --lines MODEL ... [--output FILE.json]

``cut`` makes a document of every line that is not empty, to train models on. ``compare`` lets
--whole models read whole documents and --lines models line by line, one of each for every seed. It
gives micro-F, in percent, and the mean over seeds of the difference, with the interval of 95 % over
10,000 resamples of the documents.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.tokens import Doc

from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.evaluation.runner import unannotated
from clinical_ner.scoring.bootstrap import percentile_interval, resample_weights

RESAMPLES = 10_000


def lines_of(doc: Doc) -> list[Doc]:
    """Every line that is not empty, as a document with its entities."""
    parts = []
    starts = [0, *(token.i + 1 for token in doc if "\n" in token.text), len(doc)]
    for start, end in zip(starts, starts[1:], strict=False):
        while end > start and doc[end - 1].is_space:
            end -= 1
        if end > start:
            parts.append(doc[start:end].as_doc())
    return parts


def right_and_all(model: str, path: Path, *, by_line: bool) -> NDArray[np.int64]:
    """Entities found and right, and entities found plus those of gold, of each document.

    *Shape of the result:* ``(documents, 2)``.
    """
    nlp = spacy.load(model)
    counts = []
    for doc in read_docbin(path, nlp.vocab):
        parts = lines_of(doc) if by_line else [doc]
        right = found_or_gold = 0
        for part, read in zip(parts, nlp.pipe([unannotated(nlp, p) for p in parts]), strict=True):
            found, gold = (
                {(ent.start, ent.end, ent.label_) for ent in each.ents} for each in (read, part)
            )
            right += len(found & gold)
            found_or_gold += len(found) + len(gold)
        counts.append((right, found_or_gold))
    return np.array(counts)


def micro_f(totals: NDArray[Any]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN), in percent, from totals in the last axis."""
    return 200 * totals[..., 0] / totals[..., 1]


def compare(path: Path, whole: Sequence[str], lines: Sequence[str]) -> dict[str, Any]:
    """Scores of all models, and the mean difference with its interval."""
    counts = [
        np.stack([right_and_all(model, path, by_line=by_line) for model in models])
        for models, by_line in ((whole, False), (lines, True))
    ]
    weights = resample_weights(counts[0].shape[1], resamples=RESAMPLES)
    # Of all seeds on one resample: (seeds, resamples).
    drawn = [micro_f(np.einsum("rd,sdk->srk", weights, each)) for each in counts]
    scores = [micro_f(each.sum(axis=1)) for each in counts]
    low, high = percentile_interval((drawn[0] - drawn[1]).mean(axis=0)) or (None, None)
    return {
        "documents": counts[0].shape[1],
        "whole": scores[0].round(2).tolist(),
        "lines": scores[1].round(2).tolist(),
        "difference": {"mean": float((scores[0] - scores[1]).mean()), "low": low, "high": high},
    }


def main() -> None:
    """Cut, or compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    cut = commands.add_parser("cut", help="make a document of every line")
    cut.add_argument("docs", type=Path)
    cut.add_argument("output", type=Path)
    both = commands.add_parser("compare", help="compare models of documents and of lines")
    both.add_argument("gold", type=Path)
    both.add_argument("--whole", nargs="+", required=True)
    both.add_argument("--lines", nargs="+", required=True)
    both.add_argument("--output", type=Path)
    args = parser.parse_args()
    if args.command == "cut":
        docs = read_docbin(args.docs, spacy.blank("en").vocab)
        write_docbin([line for doc in docs for line in lines_of(doc)], args.output)
        return
    if len(args.whole) != len(args.lines):
        parser.error("--whole and --lines need as many models each")
    text = json.dumps(compare(args.gold, args.whole, args.lines), indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
