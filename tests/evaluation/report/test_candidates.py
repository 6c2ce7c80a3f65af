"""What a page decides from is what the component would decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

from clinical_ner.evaluation.one_pass_counts import evaluate_pipeline
from clinical_ner.evaluation.report.candidates import STRENGTHS, Candidates, Document

from ...pipeline.test_overlaps import make_corpus
from ...pipeline.test_overlaps import make_nlp as make_overlapping
from ...pipeline.test_overlaps import train as train_overlapping
from .examples import HOSTILE, make_gold, make_pipeline

THRESHOLDS = {"Sign": 0.5, "Drug": 0.05, HOSTILE: 0.3, "Age": 0.6}


@pytest.fixture(scope="module")
def trained() -> bytes:
    return make_pipeline().to_bytes()


@pytest.fixture
def nlp(trained: bytes) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner")
    return nlp.from_bytes(trained)


def taken(nlp: Language, references: Sequence[Doc]) -> Candidates:
    candidates = Candidates(nlp)
    evaluate_pipeline(nlp, references, watch=candidates.take)
    return candidates


def counted(
    documents: Sequence[Document], strength: int, thresholds: Mapping[str, float]
) -> dict[str, list[int]]:
    """Right, wrong and missed spans by label under a decision, without types that have none."""
    counts: dict[str, list[int]] = {}
    for document in documents:
        wrong, missed = document.errors(strength, thresholds)
        made = [of for of in document.made(strength, thresholds) if of.gold is not None]
        for place, spans in enumerate((made, wrong, missed)):
            for of in spans:
                counts.setdefault(of.label, [0, 0, 0])[place] += 1
    return {label: [made - wrong, wrong, missed] for label, (made, wrong, missed) in counts.items()}


def check_all_decisions(nlp: Language, references: Sequence[Doc]) -> None:
    """Hold the counts of the candidates against those of the pipeline under the same decision."""
    candidates = taken(nlp, references)
    component: Any = nlp.get_pipe("ner")
    own = (component.prior_strength, component.thresholds)
    assert candidates.strengths[candidates.own] == own[0] and candidates.thresholds == own[1]
    seen = set()
    for number in (0, 7, candidates.own, len(candidates.strengths) - 1):
        other = {label: least for label, least in THRESHOLDS.items() if label in component.labels}
        for thresholds in ({}, own[1], other):
            component.prior_strength = candidates.strengths[number]
            component.thresholds = thresholds
            counts = evaluate_pipeline(nlp, references).counts.entities
            spans = counts.mentions if component.overlaps else counts.spans
            assert spans is not None
            totals = dict(zip(spans.names, spans.totals().astype(int).tolist(), strict=True))
            expected = {label: of for label, of in totals.items() if any(of)}
            assert counted(candidates.documents, number, thresholds) == expected
            seen.add(str(expected))
    assert len(seen) > 2


def test_decisions_are_those_of_the_component(nlp: Language) -> None:
    check_all_decisions(nlp, make_gold(nlp))


@pytest.mark.parametrize("overwrite", [False, True])
def test_entities_of_an_earlier_component_stay(nlp: Language, overwrite: bool) -> None:
    ruler: Any = nlp.add_pipe("entity_ruler", before="ner")
    patterns = [("Drug", "aspirin"), ("Finding", "fever"), ("Sign", "left")]
    ruler.add_patterns([{"label": label, "pattern": words} for label, words in patterns])
    component: Any = nlp.get_pipe("ner")
    component.overwrite = overwrite
    check_all_decisions(nlp, make_gold(nlp))
    found = [of for document in taken(nlp, make_gold(nlp)).documents for of in document.candidates]
    # No threshold applies to what another component made.
    of_ruler = {of.label for of in found if of.probability is None}
    assert of_ruler == (set() if overwrite else {"Drug", "Finding", "Sign"})


def test_gold_of_other_tokens_and_of_unknown_status(nlp: Language) -> None:
    words = ["patient", "took", "asp", "irin", "40", "mg"]
    cut = Doc(nlp.vocab, words=words, spaces=[True, True, False, True, True, False])
    cut.set_ents([Span(cut, 2, 3, "Drug"), Span(cut, 4, 6, HOSTILE)], default="outside")
    unknown = Doc(nlp.vocab, words=["cough", "and", "fever"])
    unknown.set_ents([Span(unknown, 0, 1, "Sign")], missing=[unknown[2:3]], default="outside")
    silent = Doc(nlp.vocab, words=["cough", "and", "fever"])
    check_all_decisions(nlp, [cut, unknown, silent])


def test_spans_that_overlap() -> None:
    nlp = train_overlapping(make_overlapping(), steps=15)
    component: Any = nlp.get_pipe("ner")
    component.thresholds = {"Gender": 0.3}
    check_all_decisions(nlp, [example.reference for example in make_corpus(nlp)])


def test_probabilities_are_those_of_the_entities(nlp: Language) -> None:
    candidates = taken(nlp, make_gold(nlp))
    found = 0
    for reference, document in zip(make_gold(nlp), candidates.documents, strict=True):
        doc = nlp(reference.text)
        made = list(document.made(candidates.own, candidates.thresholds))
        assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == [
            (of.start, of.end, of.label) for of in made
        ]
        assert [of.probability for of in made] == pytest.approx(
            [ent._.probability for ent in doc.ents]
        )
        component: Any = nlp.get_pipe("ner")
        for of in document.gold:
            span = reference.char_span(of.start, of.end, label=of.label)
            assert span is not None and of.probability == pytest.approx(
                component.span_probability(doc, span.start, span.end, of.label)
            )
        found += len(made)
    assert found > 3


@pytest.mark.parametrize("later", [True, False])
def test_what_cannot_be_decided_again_is_as_the_pipeline_has_it(nlp: Language, later: bool) -> None:
    if later:
        ruler: Any = nlp.add_pipe("entity_ruler", config={"overwrite_ents": True})
    else:
        nlp.remove_pipe("ner")
        ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "Finding", "pattern": "fever"}])
    references = make_gold(nlp)
    candidates = taken(nlp, references)
    assert candidates.component is None and len(candidates.strengths) == 1
    assert ("'entity_ruler' sets doc.ents after 'ner'" in str(candidates.why_not)) is later
    counts = evaluate_pipeline(nlp, references).counts.entities.spans
    totals = dict(zip(counts.names, counts.totals().astype(int).tolist(), strict=True))
    assert counted(candidates.documents, 0, {}) == totals
    scored = {of.label for doc in candidates.documents for of in doc.candidates if of.probability}
    assert bool(scored) is later and "Finding" not in scored


def test_the_grid_has_the_ends_and_the_pipelines_own(nlp: Language) -> None:
    assert Candidates(nlp).strengths == sorted([*STRENGTHS, 0.4321])
    assert (STRENGTHS[0], STRENGTHS[-1]) == (0, 1)
