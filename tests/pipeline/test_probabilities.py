"""Probabilities of entities and spans: where they stand, what they are, and that they stay."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.entity_step import EntityCalibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.errors import ClinicalNerError
from clinical_ner.pipeline.recognizer import ClinicalNer

from .examples import KINDS, TRAIN, make_nlp, train

DICE = {"loss": {"@losses": "clinical_ner.SoftDice.v1"}}
TEXT = "patient took aspirin 40 mg for left knee pain"
#: Trained shortly, so that no probability is 0 or 1.
STEPS = 12


@pytest.fixture(params=KINDS)
def nlp(request: pytest.FixtureRequest, transformer: Path) -> Language:
    return train(make_nlp(request.param, transformer), steps=STEPS)


@pytest.fixture
def small(transformer: Path) -> Language:
    return train(make_nlp("tok2vec", transformer), steps=STEPS)


def recognizer(nlp: Language) -> ClinicalNer:
    component = nlp.get_pipe("ner")
    assert isinstance(component, ClinicalNer)
    return component


def some_calibration(component: ClinicalNer) -> Calibration:
    bias = (0.0, *np.linspace(-0.5, 0.5, len(component.statistics.tags) - 1).round(3).tolist())
    return Calibration(TokenCalibration(1.5, bias), EntityCalibration(0.8, -0.1))


def summary(doc: Doc, attribute: str = "probability") -> list[tuple[int, int, str, float]]:
    return [(ent.start, ent.end, ent.label_, getattr(ent._, attribute)) for ent in doc.ents]


def sequences(n: int, n_tags: int) -> Iterator[tuple[int, ...]]:
    """Every legal tag sequence."""
    for tags in itertools.product(range(n_tags), repeat=n):
        previous = (0, *tags[:-1])
        if all(
            tag == 0 or tag % 2 or before in (tag, tag - 1)
            for before, tag in zip(previous, tags, strict=True)
        ):
            yield tags


def enumerated(component: ClinicalNer, doc: Doc) -> dict[tuple[int, int, str], float]:
    """Probability of every span, by adding up whole sequences over the tokens but whitespace."""
    positions = [token.i for token in doc if not token.is_space]
    p = np.exp(np.asarray(component.predict([doc])[0], dtype=np.float64))[positions]
    total, spans = 0.0, {}
    for tags in sequences(len(positions), p.shape[1]):
        weight = float(np.prod(p[np.arange(len(tags)), tags]))
        total += weight
        for i, tag in enumerate(tags):
            if tag % 2:
                j = i + 1
                while j < len(tags) and tags[j] == tag + 1:
                    j += 1
                span = (positions[i], positions[j - 1] + 1, component.labels[tag // 2])
                spans[span] = spans.get(span, 0.0) + weight
    return {span: weight / total for span, weight in spans.items()}


def test_every_entity_has_the_probability_that_all_sequences_give_it(nlp: Language) -> None:
    component = recognizer(nlp)
    doc = nlp("took aspirin \n 40 mg")
    expected = enumerated(component, doc)
    for start, end, label, probability in summary(nlp(doc.text)):
        assert probability == pytest.approx(expected[start, end, label], abs=1e-9)
    for (start, end, label), probability in expected.items():
        found = component.span_probability(doc, start, end, label)
        assert found == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize("max_tokens", [1, 9, 1000])
def test_documents_decoded_together_are_those_decoded_alone(
    nlp: Language, monkeypatch: pytest.MonkeyPatch, max_tokens: int
) -> None:
    component = recognizer(nlp)
    component.thresholds = {"Sign": 0.3}
    texts = ["took aspirin \n 40 mg", "", TEXT, " ", "pain", TEXT + " " + TEXT]
    alone = [summary(nlp(text)) for text in texts]
    monkeypatch.setattr("clinical_ner.decoding.decode.MAX_TOKENS", max_tokens)
    together = [summary(doc) for doc in nlp.pipe(texts)]
    assert [[ent[:3] for ent in doc] for doc in together] == [
        [ent[:3] for ent in doc] for doc in alone
    ]
    assert sum(map(len, alone)) > 3
    for found, expected in zip(sum(together, []), sum(alone, []), strict=True):
        assert found[3] == pytest.approx(expected[3], abs=1e-5)
    assert list(component.decode_all([], [])) == []


def test_candidates_are_the_spans_above_the_limit(nlp: Language) -> None:
    component = recognizer(nlp)
    doc = nlp("took aspirin \n 40 mg")
    expected = {span: p for span, p in enumerated(component, doc).items() if p >= 0.03}
    found = {tuple(c[:3]): c.probability for c in component.candidates(doc, 0.03)}
    assert found == pytest.approx(expected, abs=1e-9)
    assert len(expected) > len(doc.ents)


def test_a_span_with_whitespace_at_an_edge_is_no_entity(small: Language) -> None:
    doc = small("aspirin \n 40 mg")
    assert doc[1].is_space
    assert recognizer(small).span_probability(doc, 0, 2, "Sign") == 0.0
    assert recognizer(small).span_probability(doc, 0, 3, "Sign") > 0.0


def test_the_group_holds_the_entities_and_their_probabilities(nlp: Language) -> None:
    doc = nlp(TEXT)
    group = doc.spans["ner"]
    assert [(s.start, s.end, s.label_) for s in group] == [s[:3] for s in summary(doc)]
    assert group.attrs["scores"] == [s[3] for s in summary(doc)]
    assert len(group) > 0
    assert group.attrs["calibrated"] is False


@pytest.mark.parametrize("text", ["", " \n ", "the"])
def test_a_document_without_entities_has_an_empty_group(small: Language, text: str) -> None:
    doc = small(text)
    assert len(doc.spans["ner"]) == 0
    assert doc.spans["ner"].attrs["scores"] == []
    assert all(not c.probability > 1 for c in recognizer(small).candidates(doc, 0.01))


def test_probabilities_survive_bytes_docbin_and_copies(nlp: Language) -> None:
    doc = nlp(TEXT)
    expected = summary(doc)
    copies = [
        Doc(nlp.vocab).from_bytes(doc.to_bytes()),
        next(DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(nlp.vocab)),
        next(DocBin().from_bytes(DocBin(docs=[nlp("")]).to_bytes()).get_docs(nlp.vocab)),
    ]
    assert summary(copies[0]) == expected
    assert summary(copies[1]) == expected
    assert copies[2].spans["ner"].attrs["scores"] == []


@pytest.mark.slow
def test_probabilities_come_back_from_other_processes(small: Language) -> None:
    expected = [summary(small(text)) for text, _ in TRAIN]
    found = [summary(doc) for doc in small.pipe((text for text, _ in TRAIN), n_process=2)]
    assert found == expected
    assert any(expected)


def test_a_span_that_is_no_entity_has_no_probability(small: Language) -> None:
    doc = small(TEXT)
    start, end, label, _ = summary(doc)[0]
    assert Span(doc, start, end, label=label)._.probability is not None
    assert Span(doc, start, end, label="Other")._.probability is None
    assert doc[0 : len(doc)]._.probability is None
    # A group that another component made, with scores of its own.
    doc.spans["sc"] = [Span(doc, 0, len(doc), label="Sign")]
    doc.spans["sc"].attrs["scores"] = [0.5]
    assert doc.spans["sc"][0]._.probability is None


def test_without_what_the_listener_needs_the_text_runs_again(nlp: Language) -> None:
    component = recognizer(nlp)
    doc = nlp(TEXT)
    expected = component.candidates(doc, 0.02)
    stored = next(DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(nlp.vocab))
    bare = Doc(nlp.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])
    assert expected
    for lost in (stored, bare):
        found = component.candidates(lost, 0.02)
        assert [c[:3] for c in found] == [c[:3] for c in expected]
        assert [c.probability for c in found] == pytest.approx([c.probability for c in expected])
        start, end, label, probability = expected[0]
        assert component.span_probability(lost, start, end, label) == pytest.approx(probability)


def test_it_says_so_where_the_text_cannot_run_again(transformer: Path) -> None:
    nlp = train(make_nlp("transformer", transformer), steps=1)
    component = recognizer(nlp)
    bare = nlp.make_doc(TEXT)
    with (
        nlp.select_pipes(disable=["transformer"]),
        pytest.raises(ClinicalNerError, match="(?i)ask with a Doc that went through the whole"),
    ):
        component.candidates(bare)
    with (
        nlp.select_pipes(disable=["ner"]),
        pytest.raises(ClinicalNerError, match="(?i)ask with a Doc that went through the whole"),
    ):
        component.candidates(bare)
    assert component.candidates(bare, 0.001)


def test_a_later_document_and_a_changed_one_are_not_mistaken(small: Language) -> None:
    component = recognizer(small)
    docs = [small(text) for text, _ in TRAIN]
    expected = [component.candidates(doc, 0.02) for doc in docs]
    assert expected[0] != expected[1]
    assert [component.candidates(doc, 0.02) for doc in docs] == expected
    doc = docs[0]
    before = component.candidates(doc, 0.02)
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    assert all(c.end <= len(doc) for c in component.candidates(doc, 0.02))
    assert component.candidates(docs[0], 0.02) != before


def test_what_was_kept_is_forgotten_when_probabilities_change(small: Language) -> None:
    component = recognizer(small)
    doc = small(TEXT)
    before = component.candidates(doc, 0.02)
    component.calibration = some_calibration(component)
    assert component.candidates(doc, 0.02) != before
    component.calibration = None
    assert component.candidates(doc, 0.02) == before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda nlp: pickle.loads(pickle.dumps(nlp))])
def test_a_copied_component_has_no_pipeline(small: Language, copied: Callable) -> None:
    access = recognizer(small)._access
    assert copied(access)._nlp() is None
    assert access._nlp() is small


def test_a_decision_changes_no_probability(nlp: Language) -> None:
    component = recognizer(nlp)
    every = {span[:3]: span[3] for span in summary(nlp(TEXT))}
    spans = component.candidates(nlp(TEXT), 0.01)
    middle = sorted(every.values())[len(every) // 2]
    for strength, thresholds in ((0.0, {}), (1.0, dict.fromkeys(component.labels, middle))):
        component.prior_strength = strength
        component.thresholds = thresholds
        doc = nlp(TEXT)
        assert component.candidates(doc, 0.01) == spans
        for start, end, label, probability in summary(doc):
            assert probability == every.get((start, end, label), probability)


def test_thresholds_drop_the_entities_below_them(small: Language) -> None:
    every = summary(small(TEXT))
    component = recognizer(small)
    limit = max(p for *_, label, p in every if label == "Sign")
    component.thresholds = {"Sign": limit}
    expected = [span for span in every if span[2] != "Sign" or span[3] >= limit]
    doc = small(TEXT)
    assert summary(doc) == expected
    assert doc.spans["ner"].attrs["scores"] == [span[3] for span in expected]
    component.thresholds = {"Sign": np.nextafter(limit, 1.0)}
    assert summary(small(TEXT)) == [span for span in every if span[2] != "Sign"]


@pytest.mark.parametrize(
    ("thresholds", "code"),
    [
        ({"Sign": 1.5}, "must be a number"),
        ({"Sign": -0.1}, "must be a number"),
        ({"Sign": float("nan")}, "must be a number"),
        ({"Sign": "0.5"}, "must be a number"),
        ({"Sing": 0.5}, "has no label 'Sing'. Did you mean Sign"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(
    small: Language, thresholds: dict[str, float], code: str
) -> None:
    component = recognizer(small)
    component.thresholds = {"Drug": 0.5}
    with pytest.raises(ClinicalNerError, match=code):
        component.thresholds = thresholds
    assert dict(component.thresholds) == {"Drug": 0.5}


def test_thresholds_cannot_be_changed_behind_the_component(small: Language) -> None:
    with pytest.raises(TypeError):
        recognizer(small).thresholds["Sign"] = 0.5  # type: ignore[index]


def test_a_threshold_of_the_config_must_be_for_a_label_of_the_data(transformer: Path) -> None:
    nlp = make_nlp("tok2vec", transformer, thresholds={"Sing": 0.5})
    with pytest.raises(ClinicalNerError, match="' has no label '"):
        train(nlp, steps=1)


def test_thresholds_are_stored_and_an_override_wins(small: Language, tmp_path: Path) -> None:
    recognizer(small).thresholds = {"Sign": 0.25}
    small.to_disk(tmp_path)
    assert dict(recognizer(spacy.load(tmp_path)).thresholds) == {"Sign": 0.25}
    override = {"components.ner.thresholds": {"Drug": 0.75}}
    loaded = recognizer(spacy.load(tmp_path, config=override))
    assert dict(loaded.thresholds) == {"Drug": 0.75}
    with pytest.raises(ClinicalNerError, match="' has no label '"):
        spacy.load(tmp_path, config={"components.ner.thresholds": {"Dru": 0.75}})


def test_calibration_is_the_last_step_to_every_probability(nlp: Language) -> None:
    component = recognizer(nlp)
    doc = nlp(TEXT)
    raw = np.asarray(component.predict([doc])[0], dtype=np.float64)
    calibration = some_calibration(component)
    component.calibration = calibration
    logits = raw / 1.5 + np.asarray(calibration.tokens.bias)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.exp(component.predict([doc])[0]) == pytest.approx(expected, abs=1e-6)
    spans = enumerated(component, small_doc := nlp("took aspirin 40 mg"))
    assert small_doc.spans["ner"].attrs["calibrated"] is True
    for start, end, label, probability in summary(small_doc):
        odds = spans[start, end, label] / (1 - spans[start, end, label])
        assert probability == pytest.approx(1 / (1 + odds**-0.8 * np.exp(0.1)), abs=1e-6)
        exact = component.span_probability(small_doc, start, end, label)
        assert exact == pytest.approx(spans[start, end, label], abs=1e-9)


def test_a_temperature_alone_is_not_called_calibrated(small: Language) -> None:
    component = recognizer(small)
    bias = (0.0,) * len(component.statistics.tags)
    component.calibration = Calibration(TokenCalibration(2.0, bias))
    assert small(TEXT).spans["ner"].attrs["calibrated"] is False


def test_calibration_is_stored(nlp: Language, tmp_path: Path) -> None:
    component = recognizer(nlp)
    component.calibration = some_calibration(component)
    expected = summary(nlp(TEXT))
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert recognizer(loaded).calibration == component.calibration
    assert summary(loaded(TEXT)) == expected
    other = make_nlp_like(nlp).from_bytes(nlp.to_bytes())
    assert recognizer(other).calibration == component.calibration
    component.calibration = None
    nlp.to_disk(tmp_path)
    assert recognizer(spacy.load(tmp_path)).calibration is None


def make_nlp_like(nlp: Language) -> Language:
    return spacy.util.load_model_from_config(nlp.config, auto_fill=True)


def test_training_drops_the_calibration(small: Language) -> None:
    from .examples import make_examples

    component = recognizer(small)
    component.calibration = some_calibration(component)
    small.meta["calibration"] = {"ner": {"method": "made up"}, "other": {}}
    with pytest.warns(UserWarning, match="its calibration is that of other"):
        small.update(make_examples(small), sgd=small.create_optimizer())
    assert component.calibration is None
    # What is known of it goes too.
    assert small.meta["calibration"] == {"other": {}}


@pytest.mark.parametrize("drop", ["set", "initialize"])
def test_the_meta_forgets_a_calibration_that_is_dropped(small: Language, drop: str) -> None:
    from .examples import make_examples

    nlp = make_nlp_like(small)
    nlp.initialize(lambda: make_examples(nlp))
    component = recognizer(nlp)
    component.calibration = some_calibration(component)
    nlp.meta["calibration"] = {"ner": {"method": "made up"}}
    if drop == "set":
        component.calibration = None
    else:
        nlp.initialize(lambda: make_examples(nlp))
    assert "calibration" not in nlp.meta


def test_a_calibration_of_other_tags_is_refused(small: Language) -> None:
    with pytest.raises(ClinicalNerError, match="run clinical-ner calibrate on this pipeline"):
        recognizer(small).calibration = Calibration(TokenCalibration(1.0, (0.0,) * 3))


def test_a_loss_without_posterior_has_no_probability(transformer: Path) -> None:
    nlp = train(make_nlp("tok2vec", transformer, **DICE), steps=STEPS)
    component = recognizer(nlp)
    doc = nlp(TEXT)
    assert doc.ents
    assert len(doc.spans["ner"]) == len(doc.ents)
    assert "scores" not in doc.spans["ner"].attrs
    assert doc.ents[0]._.probability is None
    for use in (
        lambda: component.candidates(doc),
        lambda: component.span_probability(doc, 0, 1, "Sign"),
        lambda: setattr(component, "thresholds", {"Sign": 0.5}),
        lambda: setattr(component, "calibration", some_calibration(component)),
    ):
        with pytest.raises(
            ClinicalNerError, match="SoftDice.*' does not lead back to the empirical"
        ):
            use()


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (0, 10), (2, 2), (3, 2)])
def test_a_span_outside_the_document_is_refused(small: Language, start: int, end: int) -> None:
    with pytest.raises(ClinicalNerError, match="are not a span of a document of"):
        recognizer(small).span_probability(small(TEXT), start, end, "Sign")


def test_an_unknown_label_or_limit_is_refused(small: Language) -> None:
    component, doc = recognizer(small), small(TEXT)
    with pytest.raises(ClinicalNerError, match="' has no label '"):
        component.span_probability(doc, 0, 1, "Sing")
    for limit in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(ClinicalNerError, match="must be a number"):
            component.candidates(doc, limit)


def test_key_and_attribute_have_other_names_on_request(transformer: Path) -> None:
    nlp = train(
        make_nlp("tok2vec", transformer, spans_key="clinical", probability_attribute="sureness"),
        steps=STEPS,
    )
    doc = nlp(TEXT)
    assert "ner" not in doc.spans
    assert doc.spans["clinical"].attrs["scores"] == [s[3] for s in summary(doc, "sureness")]
    assert doc.ents[0]._.sureness is not None


def test_an_attribute_that_is_taken_is_refused(transformer: Path) -> None:
    Span.set_extension("taken", default=0.5)
    try:
        with pytest.raises(ClinicalNerError, match="is taken by something else"):
            make_nlp("tok2vec", transformer, probability_attribute="taken")
    finally:
        Span.remove_extension("taken")


def test_entities_of_others_stay_and_the_group_holds_what_has_no_room(small: Language) -> None:
    expected = summary(small(TEXT))
    start, end, _, _ = expected[0]
    doc = small.make_doc(TEXT)
    doc.set_ents([Span(doc, start, end, label="Other")])
    doc = small(doc)
    assert summary(doc) == [(start, end, "Other", None), *expected[1:]]
    group = doc.spans["ner"]
    assert [(s.start, s.end, s.label_, s._.probability) for s in group] == expected
    assert group.attrs["scores"] == [of[3] for of in expected]
    assert group.attrs["in_ents"] == [False] + [True] * (len(expected) - 1)


def test_a_second_run_replaces_what_the_first_made(small: Language) -> None:
    doc = small(TEXT)
    expected = summary(doc)
    assert summary(recognizer(small)(doc)) == expected
    recognizer(small).thresholds = dict.fromkeys(recognizer(small).labels, 1.0)
    assert summary(recognizer(small)(doc)) == [s for s in expected if s[3] >= 1.0]
