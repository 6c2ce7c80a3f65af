"""The component that a command is about."""

from __future__ import annotations

from spacy.language import Language

from ..errors import InputError, not_initialized
from .recognizer import ClinicalNer


def only_recognizer(nlp: Language, model: str) -> tuple[str, ClinicalNer]:
    """The one recognizer of a pipeline, whatever its name, and that name.

    model: the pipeline, for the message of an error.

    RAISES ClinicalNerError: there is none, or more than one, or it is not trained.
    """
    found = [(name, pipe) for name, pipe in nlp.pipeline if isinstance(pipe, ClinicalNer)]
    if len(found) != 1:
        components = ", ".join(nlp.pipe_names) or "none"
        raise InputError(
            f"{model}: has {len(found) or 'no'} components of the factory clinical_ner "
            f"(components: {components}), not one. Name a pipeline that clinical-ner train wrote."
        )
    name, component = found[0]
    if not component.is_initialized:
        raise not_initialized(name)
    return name, component
