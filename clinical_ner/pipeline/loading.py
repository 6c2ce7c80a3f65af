"""Loading a pipeline by its folder or by the name of an installed package."""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.util import get_package_path, is_package

from ..errors import InputError, not_initialized
from .recognizer import ClinicalNer


def load_pipeline(model: str) -> Language:
    """Load a pipeline by folder or package name.

    RAISES ClinicalNerError: it is neither, or what is there cannot be loaded.
    """
    is_folder = (Path(model) / "config.cfg").is_file()
    if not is_folder and not _is_pipeline_package(model):
        raise InputError(
            f"{model}: neither a folder with a config.cfg nor an installed pipeline package. "
            "Check the path, or install the pipeline's wheel with pip."
        )
    # What spaCy raises for a component, a file or a distribution that is missing, and for a config
    # that does not validate.
    try:
        return spacy.load(Path(model) if is_folder else model)
    except (ImportError, KeyError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{model}: cannot be loaded as a spaCy pipeline ({reason}).") from error


def _is_pipeline_package(name: str) -> bool:
    """Whether an installed package is a pipeline: those have meta.json beside their __init__.py."""
    if not name or not is_package(name):
        return False
    try:
        return (get_package_path(name) / "meta.json").is_file()
    except ImportError:
        return False


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
