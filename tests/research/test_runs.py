"""What a run of a comparison writes, and reads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from clinical_ner.evaluation.one_pass_counts import evaluate_pipeline
from clinical_ner.research.compare.runs import Run
from clinical_ner.scoring.scorers import entity_scores

from ..pipeline.test_overlaps import make_corpus, make_nlp, train


def test_every_decision_keeps_its_scores_over_all_mentions(tmp_path: Path) -> None:
    nlp = train(make_nlp(), steps=9)
    references = [example.reference for example in make_corpus(nlp)]
    evaluation = evaluate_pipeline(nlp, references, prior_strengths=[0.0])
    # The recipe has no part in this.
    run = Run(recipe=cast(Any, None), seed=0, folder=tmp_path, parts={})
    run.write_result("test", evaluation, {})
    own, decisions = run.read_counts("test")
    assert own == 1.0 and set(decisions) == {0.0, 1.0}
    expected = {1.0: evaluation.counts, 0.0: evaluation.decisions[0.0]}
    for strength, counts in expected.items():
        assert entity_scores(decisions[strength].entities) == entity_scores(counts.entities)
    recalls = {entity_scores(counts.entities)["spans_r"] for counts in decisions.values()}
    assert len(recalls) == 2
