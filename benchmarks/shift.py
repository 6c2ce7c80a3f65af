"""Does ``clinical-ner review --against`` tell other notes, and does it estimate types' shares?

1. The tokens of TEST are drawn again so that types are more or less frequent, each at odds drawn at
   random, and so are its documents: the shares counted (mean p) and estimated (EM) are held against
   those of gold.
2. The notes of TEST, of HELD_OUT, of other corpora and of files of texts: how well the values that
   are compared tell a note from those of TEST (area under the ROC curve), and how often sets of ten
   of them raise the alarm, drawn without replacement; of TEST, that is a false one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.annotate.notes import read_notes
from clinical_ner.annotate.reviewer import Measured, Reviewer, class_probabilities
from clinical_ner.annotate.shift import TYPES, UNCERTAINTY, UNSEEN, Reference
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.membership import auc
from clinical_ner.evaluation.runner import Runner
from clinical_ner.files import write_text
from clinical_ner.scoring.bootstrap import percentile_interval, resample_weights
from clinical_ner.scoring.shift import estimate_shares

EXAMPLE = """example:
  python benchmarks/shift.py model corpus/train.spacy corpus/dev.spacy corpus/test.spacy \\
    --notes other=other/test.spacy --notes telegraphic=benchmarks/telegraphic.jsonl --json OUT.json
"""
#: Standard deviation of the log odds by which a type is drawn more or less often.
SPREAD = 1.0
SET = 10

Notes = Sequence[tuple[str, Measured]]


def main() -> None:
    """Parse the command line, measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL")
    for name in ("train", "held_out", "test"):
        parser.add_argument(name, metavar=f"{name.upper()}.spacy", type=Path)
    parser.add_argument("--notes", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--draws", type=int, default=100, help="of tokens, documents and sets")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    try:
        reviewer = Reviewer(args.model, keeps_classes=True)
        found = {
            "shares": shares(reviewer, args.test, draws=args.draws),
            "alarm": alarms(
                *(reviewer, args.train, args.held_out, args.test),
                others=dict(of.split("=", 1) for of in args.notes),
                draws=args.draws,
            ),
        }
    except ClinicalNerError as error:
        sys.exit(f"shift: {error}")
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def shares(reviewer: Reviewer, test: Path, *, draws: int) -> dict[str, Any]:
    """Total variation between shares counted or estimated, and those of gold, in percent."""
    component, runner = reviewer.component, Runner(reviewer.nlp)
    documents = []
    for reference, _, recognized in runner.run(list(read_docbin(test, reviewer.nlp.vocab))):
        assert recognized is not None
        gold = component.gold_ids(Example(recognized.doc, reference))
        kept = gold >= 0
        documents.append(((gold[kept] + 1) // 2, class_probabilities(recognized.log_probs[kept])))
    prior = component.statistics.class_counts / component.statistics.class_counts.sum()
    gold, classes = (np.concatenate([of[i] for of in documents]) for i in (0, 1))
    rng = np.random.default_rng(0)
    rows: dict[str, list[tuple[float, float, float]]] = {"tokens": [], "documents": []}
    for _ in range(draws):
        odds = np.exp(rng.normal(scale=SPREAD, size=len(prior)))[gold]
        chosen = rng.choice(len(gold), size=len(gold), p=odds / odds.sum())
        rows["tokens"].append(_errors(gold[chosen], classes[chosen], prior))
        # A quarter of the documents, those with a type drawn at random the likelier.
        type_ = rng.integers(1, len(prior))
        weights = np.array([np.exp(20 * (of == type_).mean()) for of, _ in documents])
        size = max(1, len(documents) // 4)
        drawn = rng.choice(len(documents), size=size, p=weights / weights.sum(), replace=False)
        of_drawn = (np.concatenate([documents[of][i] for of in drawn]) for i in (0, 1))
        rows["documents"].append(_errors(*of_drawn, prior))
    return {
        name: {
            **dict(
                zip(
                    ("changed", "counted", "estimated"),
                    (100 * np.mean(of, axis=0)).tolist(),
                    strict=True,
                )
            ),
            "estimate_is_nearer": float(np.mean([row[2] < row[1] for row in of])),
            "difference_interval": [
                100 * end
                for end in percentile_interval(
                    resample_weights(len(of), seed=1) @ [r[2] - r[1] for r in of] / len(of)
                )
                or ()
            ],
        }
        for name, of in rows.items()
    }


def _errors(
    gold: NDArray[Any], classes: NDArray[Any], prior: NDArray[Any]
) -> tuple[float, float, float]:
    """Total variation from the truth: of training's shares, of those counted and estimated."""
    truth = np.bincount(gold, minlength=len(prior)) / len(gold)
    counted = classes.mean(axis=0, dtype=np.float64)
    estimated = estimate_shares(classes, prior).shares
    first, second, third = (
        float(np.abs(of - truth).sum() / 2) for of in (prior, counted, estimated)
    )
    return first, second, third


def alarms(
    reviewer: Reviewer,
    train: Path,
    held_out: Path,
    test: Path,
    *,
    others: dict[str, str],
    draws: int,
) -> dict[str, Any]:
    """By group of notes, the AUC of each value against TEST, and the rate of alarms."""
    reference = Reference.read(reviewer, train, held_out)
    groups = {"test": _measured(reviewer, test), "held out": _measured(reviewer, held_out)}
    groups |= {name: _measured(reviewer, Path(path)) for name, path in others.items()}
    values = {name: _scores(reference, of, groups["test"]) for name, of in groups.items()}
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for name, notes in groups.items():
        found[name] = {"notes": len(notes), "tokens": sum(len(of.tokens) for _, of in notes)}
        if name != "test":
            found[name]["auc"] = {
                value: _auc(of, values["test"][value]) for value, of in values[name].items()
            }
        if name == "held out":
            # They are what others are held against.
            continue
        sets = [rng.choice(len(notes), size=min(SET, len(notes)), replace=False)]
        if len(notes) > SET:
            sets += [rng.choice(len(notes), size=SET, replace=False) for _ in range(draws - 1)]
        made = [reference.compare([notes[of] for of in chosen]) for chosen in sets]
        found[name]["sets"] = len(made)
        found[name]["alarms"] = float(np.mean([of["alarm"] for of in made]))
        found[name]["median_p"] = {
            test: float(np.median([of["tests"][test]["p"] for of in made]))
            for test in made[0]["tests"]
        }
    return found


def _measured(reviewer: Reviewer, path: Path) -> Notes:
    if path.suffix == ".spacy":
        texts = [doc.text for doc in read_docbin(path, Vocab())]
    else:
        texts = [str(note.text) for note in read_notes(path)]
    found = zip(texts, reviewer.annotate(texts), strict=True)
    return [(text, of.measured) for text, of in found if of.measured is not None]


def _scores(reference: Reference, notes: Notes, test: Notes) -> dict[str, NDArray[np.float64]]:
    """By value, larger for other notes; and the mean of those, in deviations of TEST from it."""
    of_notes, of_test = (reference.measure(of) for of in (notes, test))
    centre = of_test[TYPES].mean(axis=0)
    found, base = (
        {
            UNSEEN: of[UNSEEN][:, 0],
            UNCERTAINTY: of[UNCERTAINTY][:, 0],
            TYPES: np.abs(of[TYPES] - centre).sum(axis=1) / 2,
        }
        for of in (of_notes, of_test)
    )
    standard = [(of - base[name].mean()) / base[name].std() for name, of in found.items()]
    return {**found, "all": np.mean(standard, axis=0)}


def _auc(of: NDArray[np.float64], others: NDArray[np.float64]) -> dict[str, Any]:
    once = [np.ones((1, len(values))) for values in (of, others)]
    drawn = [resample_weights(len(values), seed=i) for i, values in enumerate((of, others))]
    return {
        "value": float(auc(of, others, *once)[0]),
        "interval": percentile_interval(auc(of, others, *drawn)),
    }


if __name__ == "__main__":
    main()
