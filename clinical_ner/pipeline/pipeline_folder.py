"""The folder of a pipeline as an output: written whole or not at all, never over an input."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spacy.language import Language

from ..errors import InputError
from ..model.encoder import restore_encoder_names


def check_output(output: Path, *, inputs: Iterable[Path]) -> None:
    """Raise ClinicalNerError if writing a pipeline to `output` would destroy something else.

    That is, if it exists and is no pipeline's folder, or if it is an input, holds or is in one.
    """
    resolved = output.resolve()
    for other in inputs:
        found = other.resolve()
        if found.exists() and (resolved.is_relative_to(found) or found.is_relative_to(resolved)):
            raise InputError(
                f"{output}: is {other}, holds it or lies in it, which writing would destroy. "
                "Choose another output folder."
            )
    # A link is not followed: what it points to would stay behind.
    is_pipeline = (output / "config.cfg").is_file() and (output / "meta.json").is_file()
    if output.is_symlink() or (output.exists() and not is_pipeline):
        raise InputError(
            f"{output}: exists and is not a pipeline's folder. Choose another output folder."
        )


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, and rename it to `path` if the block succeeds.

    If the block fails the temporary folder is removed and `path` is what it was before. The missing
    parent folders of `path` are created.

    RAISES ClinicalNerError: the system does not let the folder be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    replaced = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(replaced)
        try:
            temporary.rename(path)
        except OSError:
            if replaced.exists():
                replaced.rename(path)
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{path}: cannot be written ({reason}). Name another output folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def write_pipeline(nlp: Language, output: Path, *, scores: Mapping[str, Any], **told: Any) -> None:
    """Write a pipeline that was changed after training, whole or not at all.

    output: its folder; see ``check_output``.
    scores: those after the change; in meta.json they replace those of the same name, and no more.
    told: further entries of meta.json.

    RAISES ClinicalNerError: the system does not let the folder be written.
    """
    performance = nlp.meta.setdefault("performance", {})
    performance.update({key: scores[key] for key in performance if key in scores})
    nlp.meta.update(told)
    with replacing_folder(output) as temporary:
        restore_encoder_names(nlp).to_disk(temporary)
