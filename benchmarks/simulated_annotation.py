"""How many notes does the queue of ``clinical-ner review`` save? Annotation, simulated.

The notes of train and dev of a corpus are the pool; their gold is what annotators would say. It
starts with some notes drawn at random. A strategy chooses the next ones by what the model that was
trained on those so far says of the rest, and the recipe is trained again from its beginning: always
for as many passes, without dev. All models are scored on the documents of test. A step that is done
is kept in OUTPUT, so that the program goes on where it was stopped; further seeds, sizes and
strategies are added to what is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.vocab import Vocab

from clinical_ner.annotate.reviewer import Measured, Reviewer
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.evaluate import predict
from clinical_ner.files import write_text
from clinical_ner.scoring.prior import rarest_third
from clinical_ner.scoring.queue import expected_gain, queue
from clinical_ner.scoring.spans import macro_f, micro_scores
from clinical_ner.training.train import train

EXAMPLE = """example:
  OMP_NUM_THREADS=1 python benchmarks/simulated_annotation.py corpus --output simulated \\
    --seeds 0,1,2,3,4 --sizes 20,30,40,50,60,70,80,90 --epochs 10
"""
RANDOM = "random"
#: What the queue is held against: its parts, and notes as a whole in place of their words.
STRATEGIES = (RANDOM, "queue", "uncertainty", "rare", "alike", "per_note")
SCORES = ("micro_f", "macro_f", "macro_f_rare")
RESAMPLES = 2000


def main() -> None:
    """Parse the command line, do what is not done, and print what was saved."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", metavar="CORPUS", type=Path, help="with train, dev, test.spacy")
    parser.add_argument("--output", type=Path, required=True, help="folder of the steps")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--sizes", default="20,30,40,50,60,70,80,90", help="rising")
    parser.add_argument("--strategies", default="random,queue", help=", ".join(STRATEGIES))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--recipe", default="minilm")
    parser.add_argument("--reach", type=int, default=80, help="random notes whose F is reached")
    args = parser.parse_args()
    sizes = [int(of) for of in args.sizes.split(",")]
    seeds = [int(of) for of in args.seeds.split(",")]
    strategies = args.strategies.split(",")
    if unknown := set(strategies) - set(STRATEGIES):
        parser.error(f"--strategies: {', '.join(sorted(unknown))}")
    try:
        simulation = Simulation(args.corpus, args.output, args.recipe, args.epochs)
        # Seed by seed, so that what is there at any time is whole.
        steps = {
            (seed, strategy): simulation.run(seed, strategy, sizes)
            for seed in seeds
            for strategy in strategies
        }
    except ClinicalNerError as error:
        sys.exit(f"simulated_annotation: {error}")
    curves = {
        strategy: np.array(
            [[[of[score] for score in SCORES] for of in steps[seed, strategy]] for seed in seeds]
        )
        for strategy in strategies
    }
    found = {
        "sizes": sizes,
        "seeds": seeds,
        "epochs": args.epochs,
        "recipe": args.recipe,
        "rare_types": simulation.rare,
        "curves": {
            strategy: {
                **{score: of[:, :, i].tolist() for i, score in enumerate(SCORES)},
                "words": [[step["words"] for step in steps[seed, strategy]] for seed in seeds],
            }
            for strategy, of in curves.items()
        },
        "saved": {
            strategy: {
                score: saved(sizes, curves[RANDOM][:, :, i], of[:, :, i], args.reach)
                for i, score in enumerate(SCORES)
            }
            for strategy, of in curves.items()
            if RANDOM in curves and args.reach in sizes and strategy != RANDOM
        },
    }
    write_text(args.output / "simulated_annotation.json", json.dumps(found, indent=2) + "\n")
    for strategy, of in curves.items():
        for number, size in enumerate(sizes):
            values = " ".join(f"{100 * of[:, number, i].mean():5.1f}" for i in range(len(SCORES)))
            print(f"{strategy:12} {size:4} notes: {values}")
    for strategy, scores in found["saved"].items():
        for score, of in scores.items():
            print(f"{strategy:12} {score:12} saves {of['notes']} of {args.reach} {of['interval']}")


class Simulation:
    """The steps of a corpus and a recipe, each a file of a folder."""

    def __init__(self, corpus: Path, output: Path, recipe: str, epochs: int) -> None:
        vocab = Vocab()
        self._pool = [
            doc for part in ("train", "dev") for doc in read_docbin(corpus / f"{part}.spacy", vocab)
        ]
        self._test = corpus / "test.spacy"
        self._output, self._recipe, self._epochs = output, recipe, epochs
        mentions = _mentions(self._pool)
        in_test = _mentions(read_docbin(self._test, vocab))
        self.rare = list(rarest_third({of: mentions.get(of, 0) + 1 for of in in_test}))

    def run(self, seed: int, strategy: str, sizes: Sequence[int]) -> list[dict[str, Any]]:
        """The scores at all sizes; the notes of the first are the same for all strategies."""
        notes = np.random.default_rng(seed).permutation(len(self._pool))[: sizes[0]].tolist()
        steps = []
        for size, next_size in zip(sizes, [*sizes[1:], None], strict=True):
            name = "start" if size == sizes[0] else strategy
            step = self._step(seed, name, notes, (next_size or size + 10) - size)
            steps.append(step)
            if next_size is not None:
                notes = [*notes, *step["next"][strategy][: next_size - size]]
        return steps

    def _step(self, seed: int, name: str, notes: Sequence[int], more: int) -> dict[str, Any]:
        path = self._output / f"{name}-seed{seed}-notes{len(notes)}.json"
        settings = {"notes": list(notes), "epochs": self._epochs, "recipe": self._recipe}
        if path.is_file():
            step: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if {key: step[key] for key in settings} != settings:
                raise ClinicalNerError(f"{path}: is of other settings. Name another --output.")
            if all(
                len(of) >= min(more, len(self._pool) - len(notes)) for of in step["next"].values()
            ):
                return step
        print(path.name, file=sys.stderr, flush=True)
        self._output.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._output) as folder:
            data, output = Path(folder) / "train.spacy", Path(folder) / "run"
            write_docbin([self._pool[of] for of in sorted(notes)], data)
            train(
                self._recipe,
                output,
                train_path=data,
                dev_path=None,
                epochs=self._epochs,
                seed=seed,
            )
            model = output / "model-last"
            spans = predict(model, self._test).counts.entities.spans
            rest = [of for of in range(len(self._pool)) if of not in set(notes)]
            wanted = STRATEGIES if name == "start" else (name,)
            chosen = self._choose(model, rest, wanted, seed=seed + len(notes), more=more)
        totals = spans.totals()
        rare = totals[[spans.names.index(label) for label in self.rare]]
        step = {
            **settings,
            "words": sum(len(self._pool[of]) for of in notes),
            **dict(
                zip(
                    SCORES,
                    map(float, (micro_scores(totals)[2], macro_f(totals)[0], macro_f(rare)[0])),
                    strict=True,
                )
            ),
            "totals": dict(zip(spans.names, totals.astype(int).tolist(), strict=True)),
            "next": chosen,
        }
        write_text(path, json.dumps(step) + "\n")
        return step

    def _choose(
        self, model: Path, rest: Sequence[int], strategies: Sequence[str], *, seed: int, more: int
    ) -> dict[str, list[int]]:
        """The next notes by strategy."""
        drawn = np.random.default_rng(seed).permutation(rest).tolist()[:more]
        if tuple(strategies) == (RANDOM,):
            return dict.fromkeys(strategies, drawn)
        reviewer = Reviewer(model, keeps_classes=False)
        found = reviewer.annotate([self._pool[of].text for of in rest])
        measured: list[Measured] = [of.measured for of in found]
        uncertainty = np.array([of.uncertainty for of in measured])
        rare = np.array([sum(reviewer.expected_rare(of).values()) for of in measured])
        words = np.array([of.words for of in found], dtype=np.float64)
        vectors, apart = np.array([of.vector for of in measured]), np.eye(len(rest))
        gain, zeros = expected_gain(uncertainty, rare, words), np.zeros(len(rest))
        of_strategy = {
            "queue": (gain, vectors),
            "uncertainty": (expected_gain(uncertainty, zeros, words), apart),
            "rare": (expected_gain(zeros, rare, words), apart),
            "alike": (gain, apart),
            "per_note": (expected_gain(uncertainty, rare, np.ones(len(rest))), vectors),
        }
        queues = {
            strategy: [rest[place.note] for place in queue(*of_strategy[strategy], limit=more)]
            for strategy in strategies
            if strategy != RANDOM
        }
        return queues | ({RANDOM: drawn} if RANDOM in strategies else {})


def saved(
    sizes: Sequence[int], at_random: NDArray[Any], chosen: NDArray[Any], reach: int
) -> dict[str, Any]:
    """Notes saved to reach the mean score of so many random notes, with a 95 % interval.

    Between sizes the mean curve is linear; one that is not rising has reached what it had before.
    The bootstrap draws seeds, the same for both curves, which start with the same notes.

    Args:
        sizes: rising.
        at_random: scores of random notes. *Shape:* ``(seeds, sizes)``.
        chosen: of the others. *Shape:* ``(seeds, sizes)``.
        reach: one of the sizes.

    Returns:
        ``notes`` and ``interval``; None where the largest size does not reach it, or it is 0.
    """
    rng = np.random.default_rng(0)
    draws = [np.arange(len(chosen)), *rng.integers(len(chosen), size=(RESAMPLES, len(chosen)))]
    values = []
    for draw in draws:
        target = at_random[draw].mean(axis=0)[list(sizes).index(reach)]
        curve = np.maximum.accumulate(chosen[draw].mean(axis=0))
        number = int(np.searchsorted(curve, target))
        if number == len(sizes) or not target:
            values.append(-np.inf)
        elif number == 0:
            values.append(float(reach - sizes[0]))
        else:
            (low, high), (a, b) = sizes[number - 1 : number + 1], curve[number - 1 : number + 1]
            values.append(float(reach - low - (high - low) * (target - a) / (b - a)))
    ends = np.quantile(values[1:], [0.025, 0.975], method="inverted_cdf").tolist()
    notes, *interval = (of if np.isfinite(of) else None for of in (values[0], *ends))
    return {"notes": notes, "interval": interval}


def _mentions(docs: Sequence[Doc]) -> dict[str, int]:
    found: dict[str, int] = {}
    for doc in docs:
        for ent in doc.ents:
            found[ent.label_] = found.get(ent.label_, 0) + 1
    return found


if __name__ == "__main__":
    main()
