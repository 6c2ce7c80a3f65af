"""The notes to annotate next, ready for an annotation tool."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.formats.json_shapes import is_name
from ..data.formats.preannotated import TOOLS, Found, PreAnnotated, write_preannotated
from ..errors import ConfigError, InputError, check_choice, check_number
from ..files import check_not_read, write_text
from ..pipeline.loading import files_of
from ..scoring.queue import expected_gain, queue
from .annotator import ERROR, OK, Annotated
from .notes import STDIN, Note, read_notes
from .predict import NoteIdError, check_free, with_usable_id
from .reviewer import Measured, Reviewer
from .shift import Reference
from .table import name_of

#: Expected numbers of a rare type below this are not shown: nearly every note has some of each.
LEAST_EXPECTED = 0.01


class _Reviewed(NamedTuple):
    """A note that may be annotated: its id, its text, and what the model makes of it."""

    id: str
    text: str
    annotated: Annotated


def review(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    to: str | None = None,
    limit: int | None = None,
    id: str = "id",
    text: str = "text",
    against: str | Path | None = None,
    held_out: str | Path | None = None,
    overwrite: bool = False,
    tell: Callable[[int, int], None] = lambda notes, words: None,
) -> dict[str, Any]:
    """Order notes by what annotating them is expected to tell a model, and write the queue.

    What counts is how uncertain the model is of spans, and how many entities of its rarest types
    it expects, per word (`scoring.queue.expected_gain`); a note like one before it comes later
    (`scoring.queue.queue`). All notes are held in memory.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        source: see `read_notes`.
        output: without `to`, a .jsonl file of the queue: ids and numbers, no text. Else a file, or
            for brat a folder, of notes with the entities that the model finds; the queue is beside
            it then, NAME.queue.jsonl.
        to: one of TOOLS.
        limit: length of the queue; None for all notes.
        id: column of the ids.
        text: column of the texts.
        against: the .spacy file that the model was trained on, to see whether the notes are other
            ones; see `Reference`.
        held_out: a .spacy file of documents like those, not trained on, for the same purpose.
        overwrite: replace the outputs.
        tell: shows progress, told of notes and of their words.

    Returns:
        The number of ``notes``, of them with each ``status``; those that ``failed``, by their
        ``row`` and ``id`` with the ``error``; the ``queue``, as it is written; the types that are
        ``rare``; what was ``written``; and ``shift``, None without `against`.

    Raises:
        ClinicalNerError: an input is missing or not what it should be, an output exists or has
            another ending, or no note can be annotated.
    """
    output = Path(output)
    if limit is not None:
        check_number("limit", limit, least=1, integer=True)
    if held_out is not None and against is None:
        raise ConfigError("held_out is held against training documents: name these, too.")
    queue_file = _queue_file(output, to)
    outputs = {output, queue_file, *([output.with_suffix(".xml")] if to == "label-studio" else [])}
    inputs = [Path(of) for of in (source, against, held_out) if of is not None]
    inputs += files_of(model)
    for path in outputs:
        check_not_read(path, *(of for of in inputs if str(of) != STDIN))
    check_free(*outputs, overwrite=overwrite)
    notes = read_notes(source, id=id, text=text)
    # What is wrong with the whole input shows at its first note, before the model is loaded.
    notes = chain(list(islice(notes, 1)), notes)
    reviewer = Reviewer(model, keeps_classes=against is not None)
    if to == "brat" and any(of.split() != [of] for of in reviewer.component.labels):
        raise ConfigError(
            f"{model}: has labels with spaces, which brat's files cannot hold. Name another tool."
        )
    reviewed: list[_Reviewed] = []
    status, failed = Counter[str](), []
    for row, (note, annotated) in enumerate(_annotated(notes, reviewer, to)):
        status[annotated.status] += 1
        if annotated.status == ERROR:
            name = name_of(note.id)
            shown = None if isinstance(name, Exception) else name
            failed.append({"row": row, "id": shown, "error": annotated.error})
        elif annotated.status == OK:
            reviewed.append(_Reviewed(str(name_of(note.id)), str(note.text), annotated))
        tell(1, annotated.words)
    if not reviewed:
        raise InputError(f"{source}: holds no note that can be annotated ({dict(status)}).")
    rows = list(_queue(reviewed, reviewer, limit))
    shifted = None
    if against is not None:
        reference = Reference.read(
            reviewer, Path(against), None if held_out is None else Path(held_out)
        )
        shifted = reference.compare([(of.text, of.annotated.measured) for of in reviewed])
    written = []
    if to is not None:
        chosen = [_preannotated(note, about) for note, about in rows]
        labels = reviewer.component.labels
        name = f"{reviewer.name} {reviewer.version}"
        written = write_preannotated(chosen, output, to, labels=labels, model=name)
    lines = [{"id": note.id, **about} for note, about in rows]
    write_text(queue_file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return {
        "notes": status.total(),
        "status": dict(status),
        "failed": failed,
        "queue": lines,
        "rare": list(reviewer.rare),
        "written": [str(path) for path in (*written, queue_file)],
        "shift": shifted,
    }


def _queue_file(output: Path, to: str | None) -> Path:
    if to is not None:
        check_choice("to", to, TOOLS)
    ending = ".jsonl" if to is None else TOOLS[to]
    if output.suffix.lower() != ending:
        wanted = f"ends in {ending}" if ending else "is a folder, without an ending"
        raise ConfigError(f"{output}: what is written {f'for {to} ' if to else ''}{wanted}.")
    return output if to is None else output.with_name(f"{output.stem}.queue.jsonl")


def _annotated(
    notes: Iterable[Note], reviewer: Reviewer, to: str | None
) -> Iterator[tuple[Note, Annotated]]:
    """Every note, and what became of it."""
    remaining, seen = iter(notes), set[str]()
    while batch := list(islice(remaining, reviewer.nlp.batch_size)):
        # Tools, and whoever reads what they export, know a note by its id.
        batch = [with_usable_id(_with_name(note, to), to or "", seen) for note in batch]
        found = reviewer.annotate([None if note.fault else note.text for note in batch])
        for note, annotated in zip(batch, found, strict=True):
            yield note, Annotated(ERROR, note.fault) if note.fault else annotated


def _with_name(note: Note, to: str | None) -> Note:
    name = name_of(note.id)
    if note.fault is None and isinstance(name, Exception):
        return note._replace(fault=type(name).__name__)
    # With other ids `convert` would refuse the whole export.
    if note.fault is None and to not in (None, "brat") and not is_name(name):
        return note._replace(fault=NoteIdError.__name__)
    return note


def _queue(
    reviewed: Sequence[_Reviewed], reviewer: Reviewer, limit: int | None
) -> Iterator[tuple[_Reviewed, dict[str, Any]]]:
    """The notes in their order, and why each has its place."""
    measured: list[Measured] = [of.annotated.measured for of in reviewed]
    rare = [reviewer.expected_rare(of) for of in measured]
    gain = expected_gain(
        np.array([of.uncertainty for of in measured]),
        np.array([sum(of.values()) for of in rare]),
        np.array([of.annotated.words for of in reviewed], dtype=np.float64),
    )
    places = queue(gain, np.array([of.vector for of in measured]), limit=limit)
    for rank, (note, score, similarity) in enumerate(places, start=1):
        of_note = reviewed[note]
        yield (
            of_note,
            {
                "rank": rank,
                "score": score,
                "uncertainty": measured[note].uncertainty,
                "rare": {of: n for of, n in rare[note].items() if n >= LEAST_EXPECTED},
                "similarity": similarity,
                "words": of_note.annotated.words,
                "entities": len(of_note.annotated.entities),
            },
        )


def _preannotated(note: _Reviewed, about: dict[str, Any]) -> PreAnnotated:
    entities = [Found(*entity) for entity in note.annotated.entities]
    tokens = [(start, end) for start, end in note.annotated.measured.tokens.tolist()]
    return PreAnnotated(note.id, note.text, entities, tokens, about)
