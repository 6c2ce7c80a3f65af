"""Pipelines written without the words of the notes that they were trained on.

spaCy keeps every string that a pipeline has seen and saves them all in ``vocab/strings.json``, and
again beside a knowledge base. Loading needs few of them: a pipeline, its tokenizer and most
components add their own strings when they are made and read. What is left are the strings that
components refer to, such as the labels of a tagger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy.language import Language

from ..errors import InputError
from ..files import replaced_folder, write_text, written_by
from ..model.encoder import restore_encoder_names
from .manifest import write_manifest

#: Key of meta.json in a model whose training goes on, or was killed.
UNFINISHED = "unfinished"
#: Parts of components that are numbers only; models refer to strings by no more than a hash.
NUMBERS = ("vocab", "model", "neighbours")


def save_pipeline(nlp: Language, folder: Path, *, finished: bool = True) -> None:
    """Write a pipeline without strings that only its training notes had.

    Whatever writes a pipeline that may be handed on writes it with this function. The pipeline in
    memory stays as it is, and the written one predicts the same.

    Args:
        nlp: the pipeline; its encoders get their public names, see ``restore_encoder_names``.
        folder: where to write, completely or not at all; what it holds is removed at the end.
        finished: if not, meta.json says so, and there are no checksums until ``finish``.

    Raises:
        InputError: the system does not let the folder be written.
    """
    restore_encoder_names(nlp)
    if not finished:
        nlp.meta[UNFINISHED] = True
    with replaced_folder(folder) as temporary, scrubbed(nlp):
        # Not nlp.to_disk, which a training replaces by this function.
        type(nlp).to_disk(nlp, temporary)
        nlp.meta.pop(UNFINISHED, None)
        if finished:
            write_manifest(temporary)


def finish(folder: Path) -> None:
    """Say in meta.json of a model that its training ended, and write its checksums."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    meta.pop(UNFINISHED, None)
    write_text(folder / "meta.json", json.dumps(meta, indent=2))
    write_manifest(folder)


def check_own(folder: Path, command: str, *names: str) -> None:
    """Check that a command only replaces pipelines that it wrote itself, as meta.json says.

    Args:
        folder: where they are.
        command: what is about to write pipelines.
        names: of these pipelines.

    Raises:
        InputError: one of them exists, and is something else.
    """
    for path in (folder / name for name in names):
        try:
            meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
            own = meta.get("written_by") == written_by(command)["written_by"]
        except (OSError, ValueError, AttributeError):
            own = False
        # A link is not followed: what it points to would stay behind.
        if path.is_symlink() or (path.exists() and not own):
            raise InputError(
                f"{path}: exists and is not a pipeline's folder that clinical-ner {command} wrote. "
                "Choose another output folder, or remove it."
            )


@contextmanager
def scrubbed(nlp: Language) -> Iterator[Language]:
    """Within the block, the pipeline's string store holds only what its parts refer to.

    A string is kept if it, or its hash, is in a component as this is saved (labels, patterns,
    trees of a lemmatizer, entities of a knowledge base), or if it has a vector. Documents that were
    made before must not be used within the block. A component that keeps hashes in other ways than
    in its ``to_bytes`` has to add their strings itself when it is loaded.
    """
    strings: Any = nlp.vocab.strings
    everything = list(strings)
    kept = _referred_to(nlp, everything)
    strings._reset_and_load(kept)
    try:
        yield nlp
    finally:
        strings._reset_and_load(everything)


def _referred_to(nlp: Language, everything: list[str]) -> list[str]:
    """The strings that loading and running a pipeline needs and does not make again."""
    by_hash = {nlp.vocab.strings[string]: string for string in everything}
    hashes = np.array(sorted(by_hash), dtype=np.uint64)
    found = {int(key) for key in nlp.vocab.vectors}
    pipes: list[Any] = [pipe for _, pipe in nlp._components if hasattr(pipe, "to_bytes")]
    parts = [pipe.to_bytes(exclude=NUMBERS) for pipe in pipes]
    for leaf in leaves([*parts, nlp.vocab.lookups.to_bytes()]):
        if isinstance(leaf, bytes):
            # Packed numbers, at any distance from the start.
            for start in range(min(8, len(leaf))):
                packed = np.frombuffer(leaf, "<u8", (len(leaf) - start) // 8, start)
                found.update(packed[np.isin(packed, hashes)].tolist())
        elif not isinstance(leaf, dict):
            found.add(nlp.vocab.strings[leaf] if isinstance(leaf, str) else leaf)
    return [string for key, string in by_hash.items() if key in found]


def leaves(value: Any) -> Iterator[str | int | bytes | dict[Any, Any]]:
    """All strings and whole numbers of a value, with those in msgpack and JSON that it holds.

    Args:
        value: of the types that msgpack and JSON have. Numbers that are keys are left out: those of
            a lookup table are hashes of all words that a language has.

    Yields:
        Strings, numbers, bytes that are neither msgpack nor JSON, and each table before its keys.
    """
    if isinstance(value, dict):
        yield value
        yield from leaves([key for key in value if isinstance(key, str)])
        yield from leaves(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, np.ndarray):
        yield value.tobytes()
    elif isinstance(value, str | bytes):
        decoded = _decoded(value)
        yield from [value] if decoded is None else leaves(decoded)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


def _decoded(data: str | bytes) -> Any:
    """The list or table that is written in JSON or msgpack, None where there is none."""
    readers: tuple[Any, ...] = (json.loads, srsly.msgpack_loads)
    for read in readers[: 1 if isinstance(data, str) else 2]:
        # Each raises whatever suits what is something else.
        try:
            decoded = read(data)
        except Exception:
            continue
        if isinstance(decoded, dict | list | tuple):
            return decoded
    return None
