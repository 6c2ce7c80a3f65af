"""A pipeline before and after its encoder was optimised: scores and speed on documents."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..pipeline.labelled_tokens import unannotated
from ..scoring.evaluation import evaluation_scores
from .prediction import evaluate_pipeline

#: Scores that are compared, None where the pipeline has none.
SCORES = ("ents_f", "ents_macro_f", "token_ece", "ents_ece", "token_nll")


@dataclass(frozen=True)
class Speed:
    """Speed of two pipelines, measured in alternating rounds.

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

    Each begins every other round. Both should have run before, so that all is loaded.

    rounds: how often each runs.
    """
    words = sum(map(len, references))
    times: dict[Language, list[float]] = {before: [], after: []}
    for number in range(rounds):
        for nlp in (before, after) if number % 2 else (after, before):
            start = time.perf_counter()
            for _ in nlp.pipe(unannotated(nlp, reference) for reference in references):
                pass
            times[nlp].append(time.perf_counter() - start)
    pairs = zip(times[before], times[after], strict=True)
    return Speed(
        before=words / statistics.median(times[before]),
        after=words / statistics.median(times[after]),
        ratio=statistics.median(slow / fast for slow, fast in pairs),
    )
