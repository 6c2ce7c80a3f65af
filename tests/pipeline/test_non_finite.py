"""A number that is none stops an update before it moves a weight, and an entity from being made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spacy.language import Language
from spacy.training import Example
from thinc.api import Optimizer

from clinical_ner.errors import ClinicalNerError

from .examples import KINDS, TRAIN, make_examples, make_nlp

#: How many updates succeed before one fails.
BEFORE = 2


def weights(nlp: Language) -> list[np.ndarray]:
    """Copies of all parameters of a pipeline, those of PyTorch too."""
    found = []
    for _, component in nlp.pipeline:
        for node in component.model.walk():
            found += [node.get_param(name).copy() for name in node.param_names]
            for shim in node.shims:
                parameters = shim._model.parameters()
                found += [values.detach().numpy().copy() for values in parameters]
    assert len(found) > 4
    return found


def gradients(nlp: Language) -> list[np.ndarray]:
    """What a later step would apply."""
    found = []
    for _, component in nlp.pipeline:
        for node in component.model.walk():
            found += [node.get_grad(name) for name in node.param_names if node.has_grad(name)]
            for shim in node.shims:
                parameters = shim._model.parameters()
                found += [values.grad.numpy() for values in parameters if values.grad is not None]
    return found


def assert_untouched(nlp: Language, before: list[np.ndarray]) -> None:
    """Neither was a weight moved nor anything back-propagated."""
    for now, then in zip(weights(nlp), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert not any(values.any() for values in gradients(nlp))


def named_examples(nlp: Language) -> list[Example]:
    examples = make_examples(nlp)
    for number, example in enumerate(examples):
        # Only the text's own document has an id; spaCy copies the predicted one for an update.
        example.reference.user_data["clinical_ner.id"] = f"note-{number}"
        example.predicted.user_data["clinical_ner.id"] = f"note-{number}"
    return examples


Started = tuple[Language, list[Example], Optimizer]


@pytest.fixture(params=KINDS)
def initialized(request: pytest.FixtureRequest, transformer: Path) -> Started:
    nlp = make_nlp(request.param, transformer)
    examples = named_examples(nlp)
    return nlp, examples, nlp.initialize(lambda: examples)


@pytest.fixture
def started(initialized: Started) -> Started:
    """A pipeline that has learned for some steps, in the way of spaCy's loop."""
    nlp, examples, sgd = initialized
    for _ in range(BEFORE):
        nlp.update(examples, sgd=False)
        finish(nlp, sgd)
    return initialized


def finish(nlp: Language, sgd: Optimizer) -> None:
    for _, component in nlp.pipeline:
        component.finish_update(sgd)


def break_loss(monkeypatch: pytest.MonkeyPatch, nlp: Language, **broken: float) -> None:
    """Put a number into the loss, or into the gradient of the last token."""
    loss: Any = nlp.get_pipe("ner").loss

    class Broken(type(loss)):
        def __call__(self, *args: Any) -> tuple[np.ndarray, float]:
            gradient, value = super().__call__(*args)
            if "gradient" in broken:
                gradient[-1, 0] = broken["gradient"]
            return gradient, broken.get("loss", value)

    monkeypatch.setattr(loss, "__class__", Broken)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_no_weight_moves(
    started: Started, monkeypatch: pytest.MonkeyPatch, what: str, value: float
) -> None:
    nlp, examples, _ = started
    before = weights(nlp)
    break_loss(monkeypatch, nlp, **{what: value})
    losses: dict[str, float] = {}
    with pytest.raises(
        ClinicalNerError,
        match=f"the {what} is not finite, so nothing was learned from it",
    ):
        nlp.update(examples, sgd=False, losses=losses)
    assert_untouched(nlp, before)
    assert losses["ner"] == 0.0


def test_no_weight_moves_in_an_update_with_an_optimizer(
    initialized: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the first one: of a later one, spaCy applies the gradients of the update before to the
    # transformer already when it has run.
    nlp, examples, sgd = initialized
    before = weights(nlp)
    break_loss(monkeypatch, nlp, gradient=np.nan)
    with pytest.raises(ClinicalNerError, match="not finite, so nothing was learned from it"):
        nlp.update(examples, sgd=sgd)
    assert_untouched(nlp, before)


def test_training_goes_on_after_a_failed_update(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp, examples, sgd = started
    before = weights(nlp)
    with monkeypatch.context() as patch:
        break_loss(patch, nlp, loss=np.nan)
        with pytest.raises(ClinicalNerError):
            nlp.update(examples, sgd=False)
    nlp.update(examples, sgd=False)
    finish(nlp, sgd)
    assert all(np.isfinite(values).all() for values in weights(nlp))
    assert not np.array_equal(weights(nlp)[-1], before[-1])


def test_the_message_names_the_update_and_documents_without_text(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp, examples, _ = started
    break_loss(monkeypatch, nlp, loss=np.nan)
    with pytest.raises(ClinicalNerError) as raised:
        nlp.update(examples, sgd=False)
    message = str(raised.value)
    assert f"Update {BEFORE + 1} of component 'ner'" in message
    assert "Documents: note-0, note-1, note-2 ..." in message
    assert "\n" not in message
    assert not any(word in message for word in ("fever", "aspirin", "cough"))


def test_only_the_documents_at_fault_are_named(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp, examples, _ = started
    break_loss(monkeypatch, nlp, gradient=np.nan)
    with pytest.raises(ClinicalNerError, match=r"Documents: note-3\.$"):
        nlp.update(examples, sgd=False)


def test_updates_are_counted_again_by_each_training(
    transformer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = make_nlp("tok2vec", transformer)
    examples = named_examples(nlp)
    for _ in range(2):
        sgd = nlp.initialize(lambda: examples)
        nlp.update(examples, sgd=sgd)
    break_loss(monkeypatch, nlp, loss=np.nan)
    with pytest.raises(ClinicalNerError, match=r"Update 2 "):
        nlp.update(examples, sgd=sgd)


def break_head(nlp: Language) -> None:
    head = nlp.get_pipe("ner").model.get_ref("head")
    head.set_param("W", np.full_like(head.get_param("W"), np.inf))


def test_weights_that_are_none_show_in_the_logits(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp, examples, _ = started
    break_head(nlp)
    before = weights(nlp)
    # A loss may fail in its own way on such numbers.
    monkeypatch.setattr(nlp.get_pipe("ner"), "get_loss", None)
    with pytest.raises(
        ClinicalNerError,
        match="the logits are not finite, so nothing was learned from it",
    ):
        nlp.update(examples, sgd=False)
    assert_untouched(nlp, before)


def test_a_document_without_probabilities_gets_no_entities(
    saved: Callable[[str], tuple[Language, Path]], transformer: Path
) -> None:
    nlp = make_nlp("tok2vec", transformer).from_disk(saved("tok2vec")[1])
    nlp.get_pipe("ner").vocab = nlp.vocab
    doc = nlp.make_doc(TRAIN[0][0])
    doc.user_data["clinical_ner.id"] = "note-7"
    assert nlp(doc.copy()).ents
    break_head(nlp)
    with pytest.raises(
        ClinicalNerError, match="document note-7.*weights, or vectors of what it listens to"
    ) as raised:
        nlp(doc)
    assert "fever" not in str(raised.value)
    assert not doc.ents
