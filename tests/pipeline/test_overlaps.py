"""The component with ``overlaps``: mentions of different types that share tokens."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from thinc.api import fix_random_seed

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.entity_step import EntityCalibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.data.gold import GOLD_ALL, set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError, ConfigError, InputError
from clinical_ner.pipeline.recognizer import ClinicalNer
from clinical_ner.training.batchers import configure_batch_by_entity

from .examples import TRAIN, make_examples
from .test_neighbours import make_neighbours

LABELS = ("Age", "Gender", "Sign", "Subject")
#: Mentions by their words; all of them are in the text once.
CORPUS: list[tuple[str, list[tuple[str, str]]]] = [
    (
        "a 34 year old woman has fever",
        [("34 year old", "Age"), ("woman", "Gender"), ("34 year old woman", "Subject")],
    ),
    (
        "the 60 year old man took aspirin",
        [("60 year old", "Age"), ("man", "Gender"), ("60 year old man", "Subject")],
    ),
    ("she had cough and fever today", [("cough", "Sign"), ("fever", "Sign")]),
    ("the man rests", [("man", "Gender"), ("man", "Subject")]),
    ("no complaints now", []),
]
CORPUS[0][1].append(("fever", "Sign"))
TEXT = CORPUS[0][0]
BTL = {"@losses": "clinical_ner.BinaryTokenLabels.v2"}


def make_nlp(**settings: Any) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner", config={"overlaps": True, "loss": BTL, **settings})
    return nlp


def recognizer(nlp: Language) -> ClinicalNer:
    component = nlp.get_pipe("ner")
    assert isinstance(component, ClinicalNer)
    return component


def make_gold(nlp: Language, text: str, mentions: list[tuple[str, str]]) -> Doc:
    """A gold document: the longest of overlapping mentions are entities, the group has all."""
    doc = nlp.make_doc(text)
    found = [
        Mention(f"T{i}", label, ((text.index(words), text.index(words) + len(words)),))
        for i, (words, label) in enumerate(mentions)
    ]
    spans = [doc.char_span(of.start, of.end, of.label) for of in found]
    doc.set_ents(spacy.util.filter_spans(spans), default="outside")
    set_gold(doc, found)
    return doc


def make_corpus(nlp: Language) -> list[Example]:
    docs = [make_gold(nlp, text, mentions) for text, mentions in CORPUS]
    return [Example(nlp.make_doc(doc.text), doc) for doc in docs]


def train(nlp: Language, *, steps: int = 40) -> Language:
    fix_random_seed(0)
    examples = make_corpus(nlp)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def trained() -> Language:
    """Not to be changed."""
    return train(make_nlp())


@pytest.fixture
def nlp(trained: Language) -> Language:
    return make_nlp().from_bytes(trained.to_bytes())


def some_calibration(component: ClinicalNer) -> Calibration:
    bias = (0.0, *np.linspace(-0.5, 0.5, 2 * len(component.labels)).round(3).tolist())
    return Calibration(
        TokenCalibration(1.5, bias, overlaps=component.overlaps), EntityCalibration(0.8, -0.1)
    )


def found(doc: Doc) -> set[tuple[str, str]]:
    return {(span.text, span.label_) for span in doc.spans["ner"]}


def summary(doc: Doc) -> list[tuple[int, int, str, float | None, bool]]:
    group = doc.spans["ner"]
    return [
        (span.start, span.end, span.label_, span._.probability, in_ents)
        for span, in_ents in zip(group, group.attrs["in_ents"], strict=True)
    ]


def enumerated(component: ClinicalNer, doc: Doc) -> dict[tuple[int, int, str], float]:
    """Probability of every span, from all sequences of the tags O, B, I of each type."""
    p = np.exp(component.predict([doc])[0].astype(np.float64))
    spans: dict[tuple[int, int, str], float] = {}
    for index, label in enumerate(component.labels):
        begin, inside = p[:, 1 + 2 * index], p[:, 2 + 2 * index]
        columns = np.stack((1 - begin - inside, begin, inside), axis=1)
        total, weights = 0.0, {}
        for tags in itertools.product(range(3), repeat=len(doc)):
            if any(tag == 2 and (i == 0 or not tags[i - 1]) for i, tag in enumerate(tags)):
                continue
            weight = float(np.prod(columns[np.arange(len(tags)), tags]))
            total += weight
            for start in (i for i, tag in enumerate(tags) if tag == 1):
                end = start + 1
                while end < len(tags) and tags[end] == 2:
                    end += 1
                weights[start, end, label] = weights.get((start, end, label), 0.0) + weight
        spans |= {span: weight / total for span, weight in weights.items()}
    return spans


# What is learned and found


def test_all_mentions_are_learned_and_the_entities_are_the_flat_choice(trained: Language) -> None:
    assert recognizer(trained).labels == LABELS
    for text, mentions in CORPUS:
        doc = trained(text)
        assert found(doc) == set(mentions)
        group = doc.spans["ner"]
        assert [span._.probability for span in group] == group.attrs["scores"]
        of_ents = [s for s, in_ents in zip(group, group.attrs["in_ents"], strict=True) if in_ents]
        assert of_ents == list(doc.ents)
        # Whatever was not chosen shares a token with what is as long, or longer.
        for span in set(group) - set(of_ents):
            rivals = [ent for ent in doc.ents if ent.start < span.end and span.start < ent.end]
            assert max(len(ent) for ent in rivals) >= len(span)


def test_two_mentions_of_the_same_words_have_a_probability_each(trained: Language) -> None:
    doc = trained("the man rests")
    gender, subject = sorted(doc.spans["ner"], key=lambda span: span.label_)
    assert (gender.start, gender.end) == (subject.start, subject.end)
    assert gender._.probability != subject._.probability
    assert len(doc.ents) == 1
    assert doc.ents[0]._.probability == max(gender._.probability, subject._.probability)


def test_probabilities_are_those_of_all_sequences_of_each_type() -> None:
    nlp = train(make_nlp(), steps=8)
    component = recognizer(nlp)
    for calibration in (None, some_calibration(component)):
        component.calibration = calibration
        doc = nlp("old man had fever")
        expected = enumerated(component, doc)
        for (start, end, label), probability in expected.items():
            assert component.span_probability(doc, start, end, label) == pytest.approx(
                probability, abs=2e-6
            )
        candidates = {tuple(c[:3]): c.probability for c in component.candidates(doc, 0.03)}
        assert candidates == pytest.approx(
            {span: p for span, p in expected.items() if p >= 0.03}, abs=2e-6
        )
        assert len(candidates) > 3


def test_the_log_probabilities_are_those_of_the_loss(trained: Language) -> None:
    component = recognizer(trained)
    doc = trained.make_doc(TEXT)
    (logits,) = component.model.predict([doc])
    (log_probs,) = component.predict([doc])
    np.testing.assert_array_equal(log_probs, component.loss.posterior_logits(logits))
    # A token of two types has more than a whole.
    assert np.exp(log_probs[1, 1:]).sum() > 1.5


def test_an_untrained_component_gives_the_shares_of_the_corpus() -> None:
    nlp = make_nlp()
    examples = make_corpus(nlp)
    nlp.initialize(lambda: examples)
    component = recognizer(nlp)
    (log_probs,) = component.predict([nlp.make_doc("the man")])
    tokens = sum(len(eg.reference) for eg in examples)
    spans = [span for eg in examples for span in eg.reference.spans[GOLD_ALL]]
    for index, label in enumerate(LABELS):
        lengths = [len(span) for span in spans if span.label_ == label]
        expected = np.array([len(lengths), sum(lengths) - len(lengths)]) / tokens
        of_type = np.exp(log_probs[:, 1 + 2 * index : 3 + 2 * index])
        np.testing.assert_allclose(of_type, [expected] * 2, rtol=1e-5)


@pytest.mark.parametrize("texts", [["", "the man rests", " "], ["", " \n "], []])
def test_odd_documents_are_predicted_and_do_no_harm_in_training(
    nlp: Language, texts: list[str]
) -> None:
    for doc, text in zip(nlp.pipe(texts), texts, strict=True):
        assert found(doc) == (set(CORPUS[3][1]) if text.strip() else set())
    golds = [make_gold(nlp, text, []) for text in texts]
    nlp.update([Example(nlp.make_doc(doc.text), doc) for doc in golds])
    # Without any mention, an empty document needs no group.
    nlp.update([Example(nlp.make_doc(""), Doc(nlp.vocab)), *make_corpus(nlp)])


def test_masked_tokens_are_counted_once_each() -> None:
    nlp = make_nlp()
    examples = make_corpus(nlp)
    reference = examples[0].reference
    reference.set_ents(list(reference.ents), missing=[reference[5:6]], default="outside")
    set_gold(reference, [])
    other = Doc(nlp.vocab, words=["no", "\n", "gold"])
    set_gold(other, [])
    examples.append(Example(Doc(nlp.vocab, words=["no", "\n", "gold"]), other))
    with pytest.warns(UserWarning, match=r"^3 tokens of 2 documents.*'ner'"):
        nlp.initialize(lambda: examples)
    statistics = recognizer(nlp).statistics
    assert statistics.total == sum(len(eg.reference) for eg in examples) - 4


def test_a_decision_keeps_probabilities_and_thresholds_hold_by_type(nlp: Language) -> None:
    component = recognizer(nlp)
    before = summary(nlp(TEXT))
    component.thresholds = {"Subject": 1.0}
    after = nlp(TEXT)
    assert [of[:4] for of in summary(after)] == [of[:4] for of in before if of[2] != "Subject"]
    assert [of.label_ for of in after.ents] == ["Age", "Gender", "Sign"]


# Documents


def test_entities_of_others_and_blocked_tokens_stay(nlp: Language) -> None:
    doc = nlp.make_doc(TEXT)
    doc.set_ents([Span(doc, 1, 2, "Other")], blocked=[doc[4:5]], default="outside")
    doc = nlp(doc)
    # Age, Gender and Subject are found, but have no room.
    assert found(doc) == set(CORPUS[0][1])
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("34", "Other"), ("fever", "Sign")]
    assert doc[4].ent_iob_ == "B" and not doc[4].ent_type
    component = recognizer(nlp)
    component.overwrite = True
    again = component(doc)
    assert {ent.label_ for ent in again.ents} == {"Age", "Sign"}
    assert sum(again.spans["ner"].attrs["in_ents"]) == 2


def test_a_second_run_replaces_the_first(nlp: Language) -> None:
    doc = nlp(TEXT)
    before = summary(doc), doc.ents
    doc = recognizer(nlp)(doc)
    assert (summary(doc), doc.ents) == before
    recognizer(nlp).threshold = 1.0
    doc = recognizer(nlp)(doc)
    assert doc.ents == () and len(doc.spans["ner"]) == 0
    assert not [key for key in doc.user_data if key[0] == "._."]


def test_probabilities_go_with_copies_and_changed_tokens(trained: Language) -> None:
    doc = trained(TEXT)
    expected = {(of.start_char, of.label_): of._.probability for of in doc.spans["ner"]}
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[2:4])
    copies = [
        doc,
        doc.copy(),
        Doc(doc.vocab).from_bytes(doc.to_bytes()),
        next(DocBin(docs=[doc]).get_docs(doc.vocab)),
        next(DocBin(docs=[doc], store_user_data=True).get_docs(doc.vocab)),
    ]
    for of in copies:
        group = of.spans["ner"]
        assert {(span.start_char, span.label_): span._.probability for span in group} == expected
        assert {span.text for span in group} == {words for words, _ in CORPUS[0][1]}


def test_probabilities_go_with_joined_documents_and_json(trained: Language) -> None:
    def probabilities(*docs: Doc) -> list[tuple[str, str, float | None]]:
        return [(of.text, of.label_, of._.probability) for doc in docs for of in doc.spans["ner"]]

    docs = [trained(TEXT), trained("the man rests")]
    assert probabilities(Doc.from_docs(docs)) == probabilities(*docs)
    data = docs[1].to_json(underscore=["probability"])
    assert probabilities(Doc(trained.vocab).from_json(data)) == probabilities(docs[1])


# Saving


def test_folder_bytes_and_copies_predict_the_same(trained: Language, tmp_path: Path) -> None:
    component = recognizer(trained)
    component.calibration = some_calibration(component)
    try:
        trained.to_disk(tmp_path / "model")
        copies = [
            spacy.load(tmp_path / "model"),
            make_nlp().from_bytes(trained.to_bytes()),
            copy.deepcopy(trained),
            pickle.loads(pickle.dumps(trained)),
        ]
        expected = [summary(trained(text)) for text, _ in CORPUS]
    finally:
        component.calibration = None
    for of in copies:
        assert recognizer(of).overlaps
        assert recognizer(of).calibration == some_calibration(component)
        assert [summary(doc) for doc in of.pipe(text for text, _ in CORPUS)] == [
            [(*span[:3], pytest.approx(span[3], abs=1e-5), span[4]) for span in doc]
            for doc in expected
        ]


def test_a_loaded_pipeline_can_be_trained_further(nlp: Language) -> None:
    optimizer = nlp.resume_training()
    nlp.update(make_corpus(nlp), sgd=optimizer)
    assert [found(nlp(text)) for text, _ in CORPUS] == [set(gold) for _, gold in CORPUS]


@pytest.mark.slow
def test_two_spawned_processes_give_the_same(trained: Language) -> None:
    texts = [text for text, _ in CORPUS]
    for doc, alone in zip(trained.pipe(texts, n_process=2), trained.pipe(texts), strict=True):
        assert summary(doc) == summary(alone)
        assert [ent.label_ for ent in doc.ents] == [ent.label_ for ent in alone.ents]


def test_an_untrained_pipeline_can_be_saved(tmp_path: Path) -> None:
    make_nlp().to_disk(tmp_path / "model")
    assert recognizer(train(spacy.load(tmp_path / "model"), steps=1)).overlaps


@pytest.mark.parametrize("overlaps", [True, False])
def test_it_cannot_be_changed_after_training(overlaps: bool, tmp_path: Path) -> None:
    nlp = make_nlp(overlaps=overlaps)
    train(nlp, steps=0).to_disk(tmp_path / "model")
    override = {"components": {"ner": {"overlaps": not overlaps}}}
    message = f"'ner' was trained with overlaps = {str(overlaps).lower()}, which cannot be changed"
    with pytest.raises(ConfigError, match=message):
        spacy.load(tmp_path / "model", config=override)
    with pytest.raises(ConfigError, match=message):
        make_nlp(overlaps=not overlaps).from_bytes(nlp.to_bytes())
    with pytest.raises(AttributeError):
        recognizer(nlp).overlaps = not overlaps  # type: ignore[misc]


# Scores


def test_all_mentions_are_scored_beside_the_entities(nlp: Language) -> None:
    examples = make_corpus(nlp)
    scores = nlp.evaluate(examples)
    assert [scores[f"spans_{of}"] for of in ("p", "r", "f", "macro_f")] == [1.0] * 4
    # No flat choice holds nested mentions.
    assert scores["ents_f"] < 1
    recognizer(nlp).thresholds = {"Gender": 1.0, "Age": 1.0}
    scores = nlp.evaluate(make_corpus(nlp))
    # 3 of 10 mentions are Genders, 2 Ages.
    number = sum(len(mentions) for _, mentions in CORPUS)
    assert scores["spans_p"] == 1.0
    assert scores["spans_r"] == pytest.approx((number - 5) / number)
    assert scores["spans_macro_f"] == pytest.approx(0.5)
    assert "spans_f" not in make_flat(nlp).evaluate(make_examples(nlp))


def make_flat(nlp: Language) -> Language:
    flat = spacy.blank("en")
    flat.add_pipe("clinical_ner", name="ner")
    flat.initialize(lambda: make_examples(flat))
    return flat


def test_other_scorers_can_be_used(trained: Language) -> None:
    nlp = make_nlp(scorer={"@scorers": "spacy.ner_scorer.v1"})
    nlp.from_bytes(trained.to_bytes())
    assert nlp.evaluate(make_corpus(nlp))["ents_f"] > 0


def test_a_document_without_all_its_mentions_cannot_be_scored(nlp: Language) -> None:
    with pytest.raises(InputError, match="Document of 7 tokens has no doc.spans"):
        nlp.evaluate(make_examples(nlp, TRAIN[:1]))
    with pytest.raises(InputError, match="has no entities of component 'ner': run the pipeline"):
        recognizer(nlp).score(make_corpus(nlp))


# Errors


@pytest.mark.parametrize(
    "loss",
    [
        {"@losses": "clinical_ner.LogitAdjusted.v1"},
        {**BTL, "problems": "batch"},
    ],
)
def test_it_needs_a_loss_of_independent_problems(loss: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"overlaps = true of component 'ner'.*BinaryTokenLabels"):
        make_nlp(loss=loss)


def test_gold_needs_all_mentions() -> None:
    nlp = make_nlp()
    examples = make_corpus(nlp)
    examples[2].reference.spans.clear()
    examples[2].reference.user_data["clinical_ner.id"] = "note-3"
    with pytest.raises(InputError, match=r"Document note-3 has no doc.spans\['gold_all'\].*conver"):
        nlp.initialize(lambda: examples)
    assert not recognizer(nlp).is_initialized
    with pytest.raises(InputError, match="overlaps = false"):
        train(nlp, steps=0).update(examples)


def test_entities_that_contradict_the_mentions_are_an_error(nlp: Language) -> None:
    changed = make_gold(nlp, *CORPUS[0])
    changed.ents = changed.ents[:1]
    example = Example(nlp.make_doc(changed.text), changed)
    for use in (nlp.update, nlp.evaluate):
        with pytest.raises(InputError, match="of 7 tokens: its entities were changed"):
            use([example])
    # Without entities each token would be masked, and nothing learned.
    mentions = {"spans": {GOLD_ALL: [(0, 5, "Sign")]}}
    with pytest.raises(InputError, match="of 2 tokens: .* but its entities are unknown"):
        nlp.update([Example.from_dict(nlp.make_doc("fever today"), mentions)])
    known = Example.from_dict(nlp.make_doc("fever today"), {**mentions, "entities": []})
    index = 2 * LABELS.index("Sign") + 1
    assert recognizer(nlp).gold_ids(known)[:, LABELS.index("Sign")].tolist() == [index, 0]


def test_a_label_that_was_not_initialized_is_an_error(nlp: Language) -> None:
    gold = make_gold(nlp, "took aspirin", [("aspirin", "Drug")])
    with pytest.raises(ClinicalNerError, match="Label 'Drug'.*is not among the labels"):
        nlp.update([Example(nlp.make_doc(gold.text), gold)])


def test_sampling_batchers_are_refused(nlp: Language) -> None:
    batch = next(configure_batch_by_entity(size=8)(make_corpus(nlp)))
    with pytest.raises(ConfigError, match=r"overlaps = true.*spacy\.batch_by_words\.v1"):
        nlp.update(batch)


def test_neighbours_are_refused(nlp: Language) -> None:
    flat = make_flat(nlp)
    with pytest.raises(ConfigError, match=r"'ner' has overlaps = true.*one tag per token"):
        recognizer(nlp).neighbours = make_neighbours(flat)


def test_a_calibration_must_be_of_the_same_kind(nlp: Language) -> None:
    component = recognizer(nlp)
    flat = TokenCalibration(1.5, some_calibration(component).tokens.bias)
    with pytest.raises(ClinicalNerError, match="was not fitted for overlaps = true: run clinical"):
        component.calibration = Calibration(flat)
    other = recognizer(make_flat(nlp))
    with pytest.raises(ClinicalNerError, match="was not fitted for overlaps = false"):
        other.calibration = Calibration(TokenCalibration(1.5, (0.0,) * 7, overlaps=True))
