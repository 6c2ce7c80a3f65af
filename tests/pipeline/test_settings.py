"""The settings of the component: labels, decision, rates; their errors, and how they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Optimizer, fix_random_seed

from clinical_ner.errors import ClinicalNerError
from clinical_ner.losses.logit_adjusted import LogitAdjusted
from clinical_ner.pipeline.recognizer import ClinicalNer
from clinical_ner.pipeline.serialization import SETTINGS

from .examples import GOLD, KINDS, LABELS, TRAIN, make_examples, make_nlp, offsets, predicted, train

Saved = Callable[[str], tuple[Language, Path]]


class WithoutPosterior(LogitAdjusted):
    has_posterior = False


def make_recognizer(**settings: Any) -> ClinicalNer:
    nlp = spacy.blank("en")
    return nlp.add_pipe("clinical_ner", name="ner", config=settings)


def make_directly(loss: type[LogitAdjusted] = LogitAdjusted, **settings: Any) -> ClinicalNer:
    """Without a config, which takes neither NaN nor infinity."""
    nlp = spacy.blank("en")
    other = nlp.add_pipe("clinical_ner", name="ner")
    return ClinicalNer(nlp, other.model, loss=loss(), **settings)


# Labels


def test_labels_of_the_data_are_sorted_behind_those_added() -> None:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner")
    assert ner.add_label("Test") == 1
    assert ner.add_label("Drug") == 1
    assert ner.add_label("Drug") == 0
    nlp.initialize(lambda: make_examples(nlp))
    assert ner.labels == ("Test", "Drug", "Dose", "Sign")
    assert ner.model.get_ref("head").get_dim("nO") == 9


def test_a_label_after_initialization_is_an_error(saved: Saved) -> None:
    ner = spacy.load(saved("tok2vec")[1]).get_pipe("ner")
    assert ner.add_label("Drug") == 0
    with pytest.raises(
        ClinicalNerError, match="'ner'.*its labels are fixed, since the losses need"
    ):
        ner.add_label("Test")
    assert ner.labels == LABELS


@pytest.mark.parametrize(
    "label", ["", " ", " Sign", "Sign ", "a\ttab", "two\nlines", "two\u2028lines", None, 3]
)
def test_what_is_no_label_is_an_error(label: Any) -> None:
    with pytest.raises(ClinicalNerError, match=r"A label must be a string .* --label-map"):
        make_recognizer().add_label(label)


def test_labels_given_must_hold_every_label_of_the_data() -> None:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner")
    examples = make_examples(nlp)
    examples[1].reference.user_data["clinical_ner.id"] = "case-2"
    with pytest.raises(
        ClinicalNerError, match="'Drug'.*case-2.*'ner'.*Initialize the component with data, or a"
    ) as caught:
        ner.initialize(lambda: examples, nlp=nlp, labels=["Sign", "Dose"])
    assert "aspirin" not in str(caught.value)
    assert not ner.is_initialized


def test_a_label_given_that_the_data_lack_is_never_predicted() -> None:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner", config={"prior_strength": 0.0})
    ner.initialize(lambda: make_examples(nlp), nlp=nlp, labels=["Unseen", *LABELS])
    (log_probs,) = ner.predict([nlp.make_doc("cough and fever")])
    assert np.isneginf(log_probs[:, 1:3]).all()
    assert np.isfinite(log_probs[:, 0]).all()


def test_an_unknown_label_in_training_is_an_error(saved: Saved) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    batch = make_examples(nlp, [("cough and fever", [(0, 5, "Finding")])])
    with pytest.raises(
        ClinicalNerError, match="'Finding'.*Initialize the component with data, or a"
    ):
        nlp.update(batch)


def test_data_without_an_entity_are_an_error_after_which_others_can_be_used() -> None:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner")
    with pytest.raises(ClinicalNerError, match="'ner'.*annotate at least one, or check that the"):
        nlp.initialize(lambda: make_examples(nlp, [("cough and fever", [])]))
    assert not ner.is_initialized
    nlp.initialize(lambda: make_examples(nlp))
    assert ner.labels == LABELS


@pytest.mark.parametrize("kind", KINDS)
def test_an_uninitialized_component_says_so(kind: str, transformer: Path) -> None:
    ner = make_nlp(kind, transformer).get_pipe("ner")
    doc = Doc(ner.vocab, words=["fever"])
    with pytest.raises(ClinicalNerError, match="'ner'.*, or load a trained pipeline"):
        ner.predict([doc])
    with pytest.raises(ClinicalNerError, match="'ner'.*, or load a trained pipeline"):
        ner.update([Example(doc, doc.copy())])


def test_a_head_of_another_size_is_an_error(saved: Saved) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner", config={"model": {"nO": 5}})
    with pytest.raises(
        ClinicalNerError, match="5 tags.*7.*leave nO of the model unset, and start from"
    ):
        nlp.initialize(lambda: make_examples(nlp))
    trained = spacy.load(saved("tok2vec")[1])
    other = make_examples(trained, [("cough and fever", [(0, 5, "Finding")])])
    with pytest.raises(
        ClinicalNerError, match="7 tags.*9.*leave nO of the model unset, and start from"
    ):
        trained.initialize(lambda: other)


def test_masked_tokens_are_counted_in_a_warning() -> None:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner")
    examples = make_examples(nlp)
    # Three tokens of one document and the two of another; whitespace is masked, not missing.
    examples[0].reference.set_ents(
        [Span(examples[0].reference, 2, 3, "Sign")],
        missing=[Span(examples[0].reference, 4, 7)],
        default="outside",
    )
    unknown = Doc(nlp.vocab, words=["no", "\n", "gold"])
    examples.append(Example(Doc(nlp.vocab, words=["no", "\n", "gold"]), unknown))
    with pytest.warns(
        UserWarning,
        match=r"^5 tokens of 2 documents.*'ner'",
    ):
        ner.initialize(lambda: examples, nlp=nlp)
    assert ner.statistics.total == sum(len(eg.reference) for eg in examples) - 6


# Decision


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_prior_strength_outside_its_range_is_an_error(value: float) -> None:
    with pytest.raises(ClinicalNerError, match="prior_strength must be a number"):
        make_directly(prior_strength=value)
    ner = make_recognizer(prior_strength=0.5)
    with pytest.raises(ClinicalNerError, match="prior_strength must be a number"):
        ner.prior_strength = value
    assert ner.prior_strength == 0.5


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_prior_smoothing_outside_its_range_is_an_error(value: float) -> None:
    with pytest.raises(ClinicalNerError, match="prior_smoothing must be a number"):
        make_directly(prior_smoothing=value)
    ner = make_recognizer(prior_smoothing=2.0)
    with pytest.raises(ClinicalNerError, match="prior_smoothing must be a number"):
        ner.prior_smoothing = value
    assert ner.prior_smoothing == 2.0


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_learn_rate_factor_outside_its_range_is_an_error(value: float) -> None:
    with pytest.raises(ClinicalNerError, match="learn_rate_factor must be a number"):
        make_directly(learn_rate_factor=value)


@pytest.mark.parametrize(
    "settings", [{"prior_strength": 2.0}, {"prior_smoothing": -1.0}, {"learn_rate_factor": 0.0}]
)
def test_a_number_outside_its_range_in_a_config_is_an_error(settings: dict[str, float]) -> None:
    with pytest.raises(ClinicalNerError, match=f"{next(iter(settings))}.*must be a number"):
        make_recognizer(**settings)


def test_without_a_posterior_the_prior_cannot_be_taken_away() -> None:
    with pytest.raises(
        ClinicalNerError, match="WithoutPosterior.*' does not lead back to the empirical"
    ):
        make_directly(WithoutPosterior, prior_strength=0.5)
    ner = make_directly(WithoutPosterior)
    with pytest.raises(
        ClinicalNerError, match="WithoutPosterior.*' does not lead back to the empirical"
    ):
        ner.prior_strength = 0.5
    assert ner.prior_strength == 1.0


def test_without_a_posterior_the_softmax_of_the_logits_is_decoded() -> None:
    ner = make_directly(WithoutPosterior)
    nlp = spacy.blank("en")
    ner.initialize(lambda: make_examples(nlp), nlp=nlp)
    (log_probs,) = ner.predict([nlp.make_doc("cough and fever")])
    # The head starts at zero: all tags alike, but for I-Drug, which has no token.
    expected = [[1 / 6] * 4 + [0] + [1 / 6] * 2] * 3
    np.testing.assert_allclose(np.exp(log_probs), expected, rtol=1e-6)


def test_the_decision_survives_saving(saved: Saved, tmp_path: Path, transformer: Path) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    ner = nlp.get_pipe("ner")
    changed = {
        "prior_strength": 0.25,
        "prior_smoothing": 3.0,
        "transitions": 0.3,
        "threshold": 0.1,
        "thresholds": {"Sign": 0.2},
        "overwrite": True,
        "spans_key": "entities",
        "keep_transformer_output": True,
    }
    assert set(changed) == set(SETTINGS)
    for name, value in changed.items():
        assert getattr(ner, name) != value
        setattr(ner, name, value)
    nlp.to_disk(tmp_path / "model")
    from_disk = spacy.load(tmp_path / "model")
    from_bytes = make_nlp("tok2vec", transformer).from_bytes(nlp.to_bytes())
    from_disk.to_disk(tmp_path / "again")
    for loaded in (from_disk, from_bytes, spacy.load(tmp_path / "again")):
        found = loaded.get_pipe("ner")
        assert {name: getattr(found, name) for name in SETTINGS} == changed
        assert "entities" in loaded(TRAIN[0][0]).spans


def test_a_threshold_holds_for_the_labels_that_have_none_of_their_own(saved: Saved) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    ner = nlp.get_pipe("ner")
    docs = [text for text, _ in TRAIN]
    every = [(e.label_, e._.probability) for doc in nlp.pipe(docs) for e in doc.ents]
    middle = sorted(p for _, p in every)[len(every) // 2]
    numbers = {len(every)}
    for thresholds in ({}, {"Sign": 0.0}, {"Sign": 1.0}):
        ner.threshold, ner.thresholds = middle, thresholds
        found = [(e.label_, e._.probability) for doc in nlp.pipe(docs) for e in doc.ents]
        assert found == [(of, p) for of, p in every if p >= thresholds.get(of, middle)]
        numbers.add(len(found))
    assert len(numbers) >= 3
    for wrong in (-0.1, 1.1):
        with pytest.raises(ClinicalNerError, match="threshold must be a number in"):
            ner.threshold = wrong
    with pytest.raises(ClinicalNerError, match="table by label.*for all labels set threshold"):
        ner.thresholds = 0.9


def test_an_override_at_loading_wins_over_the_stored_attribute(
    saved: Saved, tmp_path: Path
) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    nlp.get_pipe("ner").prior_strength = 0.25
    nlp.get_pipe("ner").prior_smoothing = 3.0
    nlp.to_disk(tmp_path / "model")
    override = {"components": {"ner": {"prior_strength": 0.5}}}
    loaded = spacy.load(tmp_path / "model", config=override)
    assert loaded.get_pipe("ner").prior_strength == 0.5
    assert loaded.get_pipe("ner").prior_smoothing == 3.0
    loaded.to_disk(tmp_path / "again")
    assert spacy.load(tmp_path / "again").get_pipe("ner").prior_strength == 0.5


def test_a_lower_prior_strength_never_finds_fewer_entity_tokens() -> None:
    # Decoding maximises log p(tags) + (1 - s) g(tags), g being the sum of -log pi'. The g of the
    # maximum can only grow with 1 - s, as that of any sum f + t g does with t. Here every entity
    # has two tokens and one label, so that B and I have the same prior: g is then a constant plus
    # the number of entity tokens times log(pi'_O / pi'_B), which is positive.
    data = [
        ("patient has high fever and a dry cough", [(12, 22, "Sign"), (29, 38, "Sign")]),
        ("no pain in the left knee today at all", []),
        ("she took the pills after a long walk", []),
        ("chest pain since a week", [(0, 10, "Sign")]),
    ]
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner", config={"prior_smoothing": 0.0})
    fix_random_seed(0)
    examples = make_examples(nlp, data)
    optimizer = nlp.initialize(lambda: examples)
    assert ner.statistics.counts[1] == ner.statistics.counts[2] < ner.statistics.counts[0]
    for _ in range(3):
        nlp.update(examples, sgd=optimizer)
    numbers = []
    for strength in np.linspace(1.0, 0.0, 21):
        ner.prior_strength = float(strength)
        numbers.append(sum(len(ent) for text, _ in data for ent in nlp(text).ents))
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[-1]
    assert len(set(numbers)) > 2


def test_the_prior_strength_changes_no_probability(saved: Saved) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    doc = nlp.make_doc("cough and fever")
    ner = nlp.get_pipe("ner")
    (before,) = ner.predict([doc])
    ner.prior_strength = 0.0
    np.testing.assert_array_equal(ner.predict([doc])[0], before)
    np.testing.assert_allclose(np.exp(before).sum(axis=1), 1.0, rtol=1e-5)


# Entities that are there already


def with_entity(nlp: Language, text: str, start: int, end: int, label: str) -> Doc:
    doc = nlp.make_doc(text)
    doc.set_ents([Span(doc, start, end, label=label, kb_id="Q1")])
    return doc


@pytest.mark.parametrize("kind", KINDS)
def test_entities_there_already_stay_and_what_overlaps_them_is_left_out(
    saved: Saved, kind: str
) -> None:
    nlp = spacy.load(saved(kind)[1])
    # "fever and left" overlaps both entities of the text, "has" none.
    doc = nlp(with_entity(nlp, TRAIN[0][0], 2, 5, "Note"))
    assert offsets(doc) == [(12, 26, "Note")]
    doc = nlp(with_entity(nlp, TRAIN[0][0], 1, 2, "Note"))
    assert offsets(doc) == [(8, 11, "Note"), *GOLD[0]]
    assert doc.ents[0].kb_id_ == "Q1"
    assert [ent._.probability is None for ent in doc.ents] == [True, False, False]
    # The same entity is not doubled.
    doc = nlp(with_entity(nlp, TRAIN[2][0], 0, 1, "Sign"))
    assert offsets(doc) == GOLD[2]


@pytest.mark.parametrize("kind", KINDS)
def test_overwrite_replaces_entities_there_already(saved: Saved, kind: str) -> None:
    override = {"components": {"ner": {"overwrite": True}}}
    nlp = spacy.load(saved(kind)[1], config=override)
    for start, end in ((2, 5), (1, 2)):
        doc = nlp(with_entity(nlp, TRAIN[0][0], start, end, "Note"))
        assert offsets(doc) == GOLD[0]
        assert all(ent.kb_id_ == "" for ent in doc.ents)


# Rates


def first_step(factor: float) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """What one step of plain gradient descent adds to the head, and to the token vectors."""
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner", config={"learn_rate_factor": factor})
    fix_random_seed(0)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    head, tok2vec = ner.model.get_ref("head"), ner.model.get_ref("tok2vec")
    # At zero, where it starts, the head passes no gradient on.
    generator = np.random.default_rng(0)
    head.set_param("W", generator.normal(size=head.get_param("W").shape).astype("float32"))

    def values() -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        of_head = {name: head.get_param(name).copy() for name in head.param_names}
        nodes = [(node, name) for node in tok2vec.walk() for name in node.param_names]
        return of_head, [node.get_param(name).copy() for node, name in nodes]

    before = values()
    plain = Optimizer(
        1.0, beta1=0.0, beta2=0.0, L2=0.0, grad_clip=0.0, use_averages=False, use_radam=False
    )
    nlp.update(examples, sgd=plain)
    after = values()
    return (
        {name: after[0][name] - before[0][name] for name in before[0]},
        [new - old for old, new in zip(before[1], after[1], strict=True)],
    )


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_the_head_learns_at_its_multiple_of_the_rate(factor: float) -> None:
    head, tok2vec = first_step(factor)
    head_at_1, tok2vec_at_1 = first_step(1.0)
    assert sorted(head) == ["W", "b"]
    # b starts at 0, so its step is exact; that of W has the rounding of a float32 near 1.
    np.testing.assert_array_equal(head["b"], factor * head_at_1["b"])
    np.testing.assert_allclose(head["W"], factor * head_at_1["W"], rtol=1e-3, atol=1e-6)
    assert np.abs(head_at_1["W"]).max() > 1e-3
    assert max(np.abs(step).max() for step in tok2vec_at_1) > 1e-4
    for step, step_at_1 in zip(tok2vec, tok2vec_at_1, strict=True):
        np.testing.assert_array_equal(step, step_at_1)


def test_an_untrained_component_gives_the_prior() -> None:
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("clinical_ner", name="ner")
    nlp.initialize(lambda: make_examples(nlp))
    (log_probs,) = ner.predict([nlp.make_doc("cough and fever")])
    np.testing.assert_allclose(np.exp(log_probs), [ner.statistics.prior] * 3, rtol=1e-5)
    assert predicted(nlp) == [[] for _ in TRAIN]


def test_a_loss_that_does_not_fit_the_labels_leaves_the_component_uninitialized() -> None:
    nlp = spacy.blank("en")
    loss = {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": {"Drgu": 2.0}}
    ner = nlp.add_pipe("clinical_ner", name="ner", config={"loss": loss})
    with pytest.raises(ClinicalNerError, match="'Drgu', which the corpus lacks. Did you mean Drug"):
        nlp.initialize(lambda: make_examples(nlp))
    assert not ner.is_initialized
    with pytest.raises(ClinicalNerError, match=", or load a trained pipeline"):
        ner.predict([nlp.make_doc("x")])


def test_a_number_that_json_would_round_is_the_same_after_loading(
    transformer: Path, tmp_path: Path
) -> None:
    # 0.3 and 0.6 are among those that srsly reads back as their neighbour.
    settings = {"prior_strength": 0.3, "thresholds": {"Sign": 0.6}}
    nlp = train(make_nlp("tok2vec", transformer, **settings), steps=1)
    component: Any = nlp.get_pipe("ner")
    component.prior_strength, component.thresholds = 0.7, {"Drug": 0.6}
    nlp.to_disk(tmp_path)
    loaded: Any = spacy.load(tmp_path).get_pipe("ner")
    assert (loaded.prior_strength, dict(loaded.thresholds)) == (0.7, {"Drug": 0.6})
