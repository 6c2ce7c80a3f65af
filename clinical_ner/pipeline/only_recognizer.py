"""The component that a command is about."""

from __future__ import annotations

from spacy.language import Language

from ..errors import ClinicalNerError, Errors
from .recognizer import ClinicalNer


def only_recognizer(nlp: Language, model: str) -> tuple[str, ClinicalNer]:
    """The one recognizer of a pipeline, whatever its name, and that name.

    model: the pipeline, for the message of an error.

    RAISES ClinicalNerError: there is none, or more than one, or it is not trained.
    """
    found = [(name, pipe) for name, pipe in nlp.pipeline if isinstance(pipe, ClinicalNer)]
    if len(found) != 1:
        components = ", ".join(nlp.pipe_names) or "none"
        raise ClinicalNerError(
            Errors.E134.format(model=model, found=len(found) or "no", components=components)
        )
    name, component = found[0]
    if not component.is_initialized:
        raise ClinicalNerError(Errors.E005.format(name=name))
    return name, component
