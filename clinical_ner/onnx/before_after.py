"""A pipeline before and after its encoder was optimised: scores and speed on documents."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..evaluation.labelled_tokens import unannotated
from ..evaluation.one_pass_counts import evaluate_pipeline
from ..research.speed.speed import measure
from ..scoring.evaluation import evaluation_scores

#: Scores that are compared, None where the pipeline has none.
SCORES = ("ents_f", "ents_macro_f", "token_ece", "ents_ece", "token_nll")


@dataclass(frozen=True)
class Speed:
    """Speed of two pipelines, measured in rounds of changing order.

    before, after: median over the rounds, in words per second.
    ratio: median over the rounds of after to before: what slows the machine hits both of a round.
    """

    before: float
    after: float
    ratio: float


def scores_of(
    nlp: Language,
    references: Sequence[Doc],
    *,
    track: Callable[[Iterable[Doc]], Iterable[Doc]] = iter,
) -> dict[str, Any]:
    """What ``scoring.evaluation.evaluation_scores`` tells of a pipeline on annotated documents."""
    return evaluation_scores(evaluate_pipeline(nlp, references, track=track).counts)


def compare_speed(
    before: Language, after: Language, references: Sequence[Doc], *, rounds: int
) -> Speed:
    """Run two pipelines over the same texts in turn, in this process.

    Both should have run before, so that all is loaded.

    rounds: how often each runs; see `speed.measure`.
    """

    def reading(nlp: Language) -> Callable[[], None]:
        def run() -> None:
            for _ in nlp.pipe(unannotated(nlp, reference) for reference in references):
                pass

        return run

    runs = {"before": reading(before), "after": reading(after)}
    times = {name: taken.wall for name, taken in measure(runs, rounds=rounds, seed=0).items()}
    words = sum(map(len, references))
    pairs = zip(times["before"], times["after"], strict=True)
    return Speed(
        before=words / statistics.median(times["before"]),
        after=words / statistics.median(times["after"]),
        ratio=statistics.median(slow / fast for slow, fast in pairs),
    )
