"""Does a promised precision hold? Random divisions of the documents of a folder of folds.

In each division, the out-of-fold predictions of one part of the documents are calibrated (fold by
fold) and give thresholds with a promise, as ``clinical-ner tune FOLDS --confidence`` does. The
precision and recall of the other part, which is calibrated by the first, are counted. A promise is
about all documents like these; that of a part may fall below it by chance, the more often the
smaller the part.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.decisions import own_decision, search_decisions
from clinical_ner.fitting.fit_calibration import fit_calibration
from clinical_ner.fitting.held_out import cross_fitted, out_of_fold_documents
from clinical_ner.fitting.out_of_fold import read_out_of_fold
from clinical_ner.fitting.promise import check_confidence
from clinical_ner.fitting.thresholds import Objective
from clinical_ner.pipeline.loading import load_pipeline, only_recognizer

EXAMPLE = """example:
  python benchmarks/promise.py training/folds --precision 0.9 --confidence 0.9 --json promise.json
"""


def main() -> None:
    """Parse the command line, divide, and print a line for every group of labels."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folds", metavar="FOLDS", type=Path, help="what clinical-ner folds wrote")
    parser.add_argument("--precision", type=float, default=0.9, help="that is promised")
    parser.add_argument("--confidence", type=float, default=0.9, help="of all promises at once")
    parser.add_argument("--share", type=float, default=0.5, help="of the first part")
    parser.add_argument("--divisions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the divisions")
    parser.add_argument("--json", type=Path, help="file for the numbers of every division")
    args = parser.parse_args()
    try:
        found = measure(
            args.folds,
            Objective(args.precision),
            confidence=args.confidence,
            share=args.share,
            divisions=args.divisions,
            seed=args.seed,
        )
    except ClinicalNerError as error:
        sys.exit(f"promise: {error}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for group, rows in found.items():
        held = sum(row["precision"] >= args.precision for row in rows)
        means = (np.mean([row[key] for row in rows]) for key in ("precision", "recall", "kept"))
        precision, recall, kept = means
        print(
            f"{group}: promised in {len(rows)} of {args.divisions} divisions, held in {held}; "
            f"mean precision {precision:.3f}, recall {recall:.3f}, {kept:.0f} kept"
        )


def measure(
    folder: Path,
    objective: Objective,
    *,
    confidence: float,
    share: float,
    divisions: int,
    seed: int,
) -> dict[str, list[dict[str, Any]]]:
    """What the other part keeps and finds, by group of labels and of all promised ones together."""
    check_confidence(confidence, objective)
    store = read_out_of_fold(folder)
    nlp = load_pipeline(store.models()[0])
    name, component = only_recognizer(nlp, folder)
    documents = out_of_fold_documents(nlp, name, store)
    rng = np.random.default_rng(seed)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for division in range(divisions):
        order = rng.permutation(len(documents))
        parts = np.split(order, [round(share * len(order))])
        first, second = ([documents[i] for i in part] for part in parts)
        (decision,) = search_decisions(
            component,
            cross_fitted(first, replace(store, fold_of=store.fold_of[parts[0]])),
            [component.prior_strength],
            objective=objective,
            min_support=10,
            confidence=confidence,
        )
        calibration = fit_calibration(
            first, component.statistics.counts, transitions=component.transitions is None
        ).calibration
        entities = own_decision(component, [of.predicted(calibration) for of in second]).entities
        sums = np.zeros(3)
        for promise in (of for of in decision.promises if of.threshold is not None):
            counts = np.zeros(3)
            for of in (entities[label] for label in promise.labels):
                kept = of.scores >= promise.threshold
                counts += kept.sum(), (kept & of.right).sum(), of.support
            sums += counts
            found[", ".join(promise.labels)].append(_row(division, counts))
        if sums[0]:
            found["all promised groups"].append(_row(division, sums))
    return found


def _row(division: int, counts: Any) -> dict[str, Any]:
    kept, right, gold = counts.astype(int).tolist()
    # Of nothing that is kept, nothing is wrong.
    precision = right / kept if kept else 1.0
    return {
        "division": division,
        "kept": kept,
        "precision": precision,
        "recall": right / max(gold, 1),
    }


if __name__ == "__main__":
    main()
