"""Pipelines in folders and packages: loaded, asked for their recognizer, and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.util import get_package_path, is_package

from ..errors import ClinicalNerError, InputError, no_posterior, not_initialized
from ..files import tidy, written_by
from ..model.gpu import use_gpu
from .recognizer import ClinicalNer
from .saving import UNFINISHED, check_own, save_pipeline

#: Key of meta.json for what the card of a packaged model says, until the model is changed.
CARD = "model_card"


def load_pipeline(model: str | Path) -> Language:
    """Load a pipeline.

    Args:
        model: its folder, or the name of an installed package.

    Raises:
        InputError: it is neither, what is there cannot be loaded, or its training did not end.
    """
    if not Path(model).exists():
        # A kill may have left it under another name.
        tidy(Path(model).absolute().parent)
    is_folder = (Path(model) / "config.cfg").is_file()
    if not is_folder and not _is_pipeline_package(str(model)):
        raise InputError(
            f"{model}: neither a folder with a config.cfg nor an installed pipeline package. "
            "Check the path, or install the pipeline's wheel with pip."
        )
    # What spaCy raises for a component or distribution that is missing and for a config that does
    # not validate, and whatever the readers of damaged files raise.
    try:
        nlp = spacy.load(Path(model) if is_folder else model)
    except ClinicalNerError as error:
        raise InputError(f"{model}: cannot be loaded. {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{model}: cannot be loaded as a spaCy pipeline ({reason}).") from error
    if nlp.meta.get(UNFINISHED):
        raise InputError(
            f"{model}: its training goes on, or was killed, and this is a model of some earlier "
            "evaluation. Wait until it ends, or train again."
        )
    return nlp


def files_of(model: str | Path) -> Iterator[Path]:
    """The files that are read of a model: a folder, without what else lies in it, or a package."""
    folder = Path(model)
    if not folder.exists() and _is_pipeline_package(str(model)):
        yield from get_package_path(str(model)).rglob("*")
        return
    for name in ("config.cfg", "meta.json", "tokenizer"):
        yield folder / name
    yield from folder.glob("*/**/*")


def load_to_fit(
    model: str | Path, output: Path, command: str, *, inputs: Iterable[Path], gpu_id: int
) -> tuple[Language, str, ClinicalNer]:
    """Load a pipeline of which a changed copy is to be written.

    Args:
        model: its folder, or the name of an installed package.
        output: folder of the copy; see `check_output`.
        command: what writes it.
        inputs: files that are read.
        gpu_id: the GPU to use, -1 for the CPU.

    Returns:
        The pipeline, and the name of its one recognizer and the recognizer.

    Raises:
        InputError: the pipeline cannot be loaded or has not one recognizer, the GPU cannot be
            used, or the output would destroy something.
        ConfigError: the recognizer's loss has no posterior, so nothing can be fitted.
        NotFittedError: the recognizer is not trained.
    """
    check_output(output, command, inputs=[Path(model), *inputs])
    use_gpu(gpu_id)
    nlp = load_pipeline(model)
    # If the name is a package's, this is the folder inside it.
    check_output(output, command, inputs=[nlp.path])
    return nlp, *only_recognizer(nlp, model)


def only_recognizer(nlp: Language, model: str | Path) -> tuple[str, ClinicalNer]:
    """The one recognizer of a trained pipeline, which gives probabilities, and its name.

    Raises:
        ClinicalNerError: see `load_to_fit`.
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
    if not component.loss.has_posterior:
        raise no_posterior(type(component.loss).__name__)
    return name, component


def check_output(output: Path, command: str, *, inputs: Iterable[Path]) -> None:
    """Check that writing a pipeline destroys nothing but another one that the command wrote.

    Args:
        output: folder to write.
        command: what writes it.
        inputs: files and folders that are read.

    Raises:
        InputError: the output exists and is not a pipeline's folder that the command wrote, or it
            is an input, contains one or is inside one.
    """
    resolved = output.resolve()
    for other in inputs:
        found = other.resolve()
        if found.exists() and (resolved.is_relative_to(found) or found.is_relative_to(resolved)):
            raise InputError(
                f"{output}: is {other}, holds it or lies in it, which writing would destroy. "
                "Choose another output folder."
            )
    check_own(output.parent, command, output.name)


def write_pipeline(
    nlp: Language, output: Path, command: str, *, scores: Mapping[str, Any], **meta: Any
) -> None:
    """Write a pipeline that was changed after training, completely or not at all.

    Args:
        nlp: the pipeline.
        output: its folder; see `check_output`.
        command: what writes it, as meta.json says.
        scores: those after the change; in meta.json they replace those of the same name, and no
            others.
        **meta: further entries of meta.json.

    Raises:
        InputError: the system does not let the folder be written.
    """
    performance = nlp.meta.setdefault("performance", {})
    performance.update({key: scores[key] for key in performance if key in scores})
    nlp.meta.pop(CARD, None)
    nlp.meta.update(meta, **written_by(command))
    save_pipeline(nlp, output)


def _is_pipeline_package(name: str) -> bool:
    """Whether an installed package is a pipeline: those have meta.json beside their __init__.py."""
    if not name or not is_package(name):
        return False
    try:
        return (get_package_path(name) / "meta.json").is_file()
    except ImportError:
        return False
