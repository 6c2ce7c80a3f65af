"""What probabilities cost: prediction as it is, beside the same pipeline decoding by Viterbi alone.

Both run over the same documents in one process, in turn, and in the other order every second round,
so that what else the machine does falls on both. Each round gives the ratio of their times; of the
ratios, the median and the spread are told. Processor time is told too: on a machine that others
use, it is the steadier one. Then the lattice by itself, on texts of three lengths made of the
documents' own probabilities.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from clinical_ner.data.gold import read_gold_for
from clinical_ner.decoding.decision import Decoded, decision_scores
from clinical_ner.decoding.lattice import Lattice, best_sequence, best_sequences, entities_of
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.runner import recognizer_of, unannotated
from clinical_ner.files import replacing
from clinical_ner.fitting.decisions import predict
from clinical_ner.pipeline.loading import load_pipeline
from clinical_ner.pipeline.recognizer import ClinicalNer
from clinical_ner.tags.encode import taggable
from clinical_ner.types import LogProbs

LENGTHS = (1_000, 10_000, 100_000)
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
EXAMPLE = """example:
  python benchmarks/lattice.py training/model-final corpus/test.spacy --rounds 11 \\
    --output benchmarks/results/lattice.json
"""


def main() -> None:
    """Parse the command line, measure, write the JSON file if asked, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a pipeline's folder or package")
    parser.add_argument("data", metavar="DATA.spacy", type=Path, help="gold documents")
    parser.add_argument("--rounds", type=int, default=11, help="paired measurements, at least 2")
    parser.add_argument("--repeats", type=int, default=3, help="of the lattice; the best counts")
    parser.add_argument("--output", type=Path, help="JSON file for the measurements")
    args = parser.parse_args()
    if args.rounds < 2 or args.repeats < 1:
        parser.error("--rounds must be at least 2, --repeats at least 1")
    try:
        result = measure(args.model, args.data, rounds=args.rounds, repeats=args.repeats)
        if args.output is not None:
            text = json.dumps(result, indent=2, sort_keys=True, allow_nan=False) + "\n"
            with replacing(args.output) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except ClinicalNerError as error:
        sys.exit(f"lattice.py: {error}")
    print(summary(result))


def measure(model: str, data: Path, *, rounds: int, repeats: int) -> dict[str, Any]:
    """Measure prediction with and without probabilities, then the lattice.

    RETURNS: seconds of every round by variant and clock; their ``ratios``, with over without; the
        ``lattice`` by number of tokens; and the sizes.
    RAISES ClinicalNerError: the pipeline or the documents cannot be read, or the pipeline has no
        probabilities.
    """
    nlp = load_pipeline(model)
    found = recognizer_of(nlp)
    if found is None:
        raise ClinicalNerError(f"{model}: has not one clinical_ner component with probabilities.")
    name, component = found
    references = read_gold_for(data, nlp)
    seconds: dict[str, dict[str, list[float]]] = {
        variant: {clock: [] for clock in CLOCKS} for variant in ("with", "without")
    }
    # Once before it counts, so that neither pays for what is done the first time only.
    rows = np.concatenate([of.log_probs for of in predict(nlp, name, references)])
    for number in range(rounds):
        order = ("with", "without") if number % 2 == 0 else ("without", "with")
        for variant in order:
            for clock, spent in _time(nlp, component, references, variant).items():
                seconds[variant][clock].append(spent)
    return {
        "model": model,
        "data": str(data),
        "documents": len(references),
        "tokens": len(rows),
        "types": len(component.labels),
        "rounds": rounds,
        "seconds": seconds,
        "ratios": {
            clock: _spread(
                [
                    with_ / without
                    for with_, without in zip(
                        seconds["with"][clock], seconds["without"][clock], strict=True
                    )
                ]
            )
            for clock in CLOCKS
        },
        "lattice": {str(length): _lattice(rows, length, repeats) for length in LENGTHS},
    }


def _time(
    nlp: Language, component: ClinicalNer, references: Sequence[Doc], variant: str
) -> dict[str, float]:
    """Seconds from texts to entities, by clock."""
    docs = [unannotated(nlp, reference) for reference in references]
    with _viterbi_alone(component, variant == "without"):
        started = {clock: read() for clock, read in CLOCKS.items()}
        for _ in nlp.pipe(docs):
            pass
        return {clock: read() - started[clock] for clock, read in CLOCKS.items()}


@contextmanager
def _viterbi_alone(component: ClinicalNer, active: bool) -> Iterator[None]:
    """Let a component decode as if its loss had no posterior, so that no lattice is made."""
    if not active:
        yield
        return

    def decode_all(docs: Sequence[Doc], log_probs: Sequence[LogProbs]) -> Iterator[Decoded]:
        tokens = [taggable(doc) for doc in docs]
        scores = [
            decision_scores(
                component.model.ops.to_numpy(rows)[of_doc],
                component.decision,
            )
            for rows, of_doc in zip(log_probs, tokens, strict=True)
        ]
        for path, of_doc in zip(best_sequences(scores), tokens, strict=True):
            yield Decoded(entities_of(path, list(component.labels), of_doc), None)

    patched: Any = component
    patched.decode_all = decode_all
    try:
        yield
    finally:
        del patched.decode_all


def _lattice(rows: NDArray[np.floating], length: int, repeats: int) -> dict[str, float]:
    """Processor seconds of a lattice, of the best sequence, and of its entities' probabilities."""
    text = rows[np.arange(length) % len(rows)]
    labels = [str(number) for number in range(text.shape[1] // 2)]
    best: dict[str, float] = {}
    for _ in range(repeats):
        times = [time.process_time()]
        lattice = Lattice.of(text)
        times.append(time.process_time())
        path = best_sequence(text)
        times.append(time.process_time())
        entities = entities_of(path, labels, np.ones(length, dtype=bool))
        for start, end, label in entities:
            lattice.probability(start, end, int(label))
        times.append(time.process_time())
        spent = np.diff(times).tolist()
        for part, value in zip(("lattice", "viterbi", "entities"), spent, strict=True):
            best[part] = min(value, best.get(part, value))
    return best


def _spread(ratios: list[float]) -> dict[str, Any]:
    low, median, high = statistics.quantiles(ratios, n=4)
    return {
        "median": median,
        "quartiles": [low, high],
        "range": [min(ratios), max(ratios)],
        "each": ratios,
    }


def summary(result: dict[str, Any]) -> str:
    """The result in a line."""
    ratios = "; ".join(
        f"{clock} time {of['median']:.3f} (quartiles {of['quartiles'][0]:.3f} to "
        f"{of['quartiles'][1]:.3f}, range {of['range'][0]:.3f} to {of['range'][1]:.3f})"
        for clock, of in result["ratios"].items()
    )
    lattice = ", ".join(
        f"{of['lattice'] + of['entities']:.3f} s for {int(length):,} tokens"
        for length, of in result["lattice"].items()
    )
    return (
        f"Prediction with probabilities over Viterbi alone, {result['rounds']} rounds over "
        f"{result['documents']} documents, {result['tokens']} tokens: {ratios}. "
        f"Lattice, {result['types']} types: {lattice}."
    )


if __name__ == "__main__":
    main()
