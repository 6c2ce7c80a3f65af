"""Notes of any number from a file to a file: in shards, so that a run that was stopped goes on.

Beside the output there is a folder OUTPUT.parts while the run lasts. A shard is a number of notes
in their order; its entities are written first, and its status last, by renaming. So a shard that
has a status is done, and nothing else of it is believed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from itertools import chain, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from spacy.language import Language
from spacy.tokens import Doc

from ..data.formats.brat import write_brat
from ..data.formats.docbin import DOCUMENT_ID, write_entities
from ..data.mentions import AnnotatedText, Mention
from ..decoding.decision import flat_choice
from ..errors import ConfigError, InputError, check_choice, check_number
from ..files import check_not_read, replacing, sha256, tidy, write_text
from ..locks import held
from ..pipeline.loading import files_of
from ..pipeline.manifest import digests_of
from .annotator import ERROR, Settings, TextAnnotator, text_annotator
from .notes import STDIN, Note, digest, read_notes
from .outputs import NOTE_NLP_SCHEMA, TABLES, note_nlp, write_table
from .table import ENTITIES, STATUS, TEXT, name_of, tables_of

MANIFEST = "manifest.json"
#: Notes of a shard: what is done again at most after a kill, by each process. A multiple of the
#: batch sizes in use, so that no batch is cut.
SHARD = 512
#: The whole text of a note, in the status of the shards of outputs that hold it.
NOTE_TEXT = pa.field("note_text", pa.string())
#: What an output can be; the first three are tables, and omop is one of them with other columns.
FORMATS = ("jsonl", "csv", "parquet", "omop", "brat", "spacy")
#: Told of notes that are done and of their words.
Tell = Callable[[int, int], None]


class _Job(NamedTuple):
    """What a process has to know of a run."""

    model: str
    settings: Settings
    parts: Path
    shard: int
    include_text: bool
    keeps_notes: bool


class _Run(NamedTuple):
    """A run from its first beginning to its end, whatever stopped it in between.

    Attributes:
        started: time in ISO's format.
        overwrite: whether it may replace an output that was there when it began.
        finishing: whether it has begun to write the output, or had when it was stopped.
        stored: what its manifest says of input, model and settings; None of a run that begins.
    """

    started: str
    overwrite: bool = False
    finishing: bool = False
    stored: Mapping[str, Any] | None = None


def predict(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    to: str | None = None,
    id: str = "id",
    text: str = "text",
    include_text: bool = False,
    settings: Settings | None = None,
    n_process: int = 1,
    errors: str = "record",
    resume: bool = False,
    overwrite: bool = False,
    shard: int = SHARD,
    tell: Tell = lambda notes, words: None,
) -> dict[str, Any]:
    """Annotate the notes of a file or folder, and account for each of them.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        source: see `read_notes`.
        output: a file of entities, .jsonl, .csv or .parquet; a .spacy file; or a folder for brat.
            Beside it comes the status of every note, as NAME.status with the same ending, or
            .jsonl.
        to: of FORMATS, where the ending does not tell it: omop, of a .csv or .parquet file.
        id: column of the ids.
        text: column of the texts.
        include_text: add the text of the entities to a table.
        settings: of the pipeline.
        n_process: processes that annotate, each with a model of its own.
        errors: "record" to note that a note failed, "stop" to end the run there.
        resume: go on with the run that OUTPUT.parts is of.
        overwrite: replace the output, and drop an unfinished run.
        shard: notes of a shard.
        tell: shows progress.

    Returns:
        Numbers of ``notes``, of them with each ``status`` and with each of ``errors``; ``words``,
        ``entities``, and the paths of ``output`` and ``status_file``.

    Raises:
        ClinicalNerError: an input is missing or not what it should be, the output exists, the run
            that is to go on was another one, or a note failed and `errors` is "stop". What was done
            by then is kept for ``resume``.
    """
    check_choice("errors", errors, ("record", "stop"))
    check_number("n_process", n_process, least=1, integer=True)
    check_number("shard", shard, least=1, integer=True)
    output, settings = Path(output), settings or Settings()
    kind = _kind(output, to, include_text=include_text)
    status_file = _status_file(output)
    parts = parts_of(output)
    for path in (output, status_file):
        check_not_read(path, Path(source), *files_of(model))
    run = _begun(parts, resume=resume, overwrite=overwrite)
    if not run.finishing:
        check_free(output, status_file, overwrite=run.overwrite)
    annotator = text_annotator(str(model), settings)
    if kind == "brat" and any(label.split() != [label] for label in annotator.labels):
        raise ConfigError(
            f"{model}: has labels with spaces, which brat's files cannot hold. Name a "
            ".jsonl, .csv, .parquet or .spacy file."
        )
    wanted = {
        "input": None if str(source) == STDIN else digest(source),
        "model": _model_digest(annotator),
        "settings": json.loads(json.dumps(settings.__dict__)),
        "columns": [id, text],
        "kind": kind,
        "include_text": include_text,
        "shard": shard,
    }
    notes = read_notes(source, id=id, text=text)
    # What is wrong with the whole input shows at its first note, before anything is written.
    notes = chain(list(islice(notes, 1)), notes)
    job = _Job(str(model), settings, parts, shard, include_text, kind in ("brat", "spacy"))
    shards = _shards(notes, shard, kind)
    with held(parts):
        run = _begin(parts, run, wanted)
        numbers = []
        with closing(_done(job, shards, n_process=n_process)) as done:
            for number in done:
                table = pq.read_table(_part(parts, "status", number))
                numbers.append(number)
                _stop_at_error(table, errors)
                tell(len(table), sum(table["words"].to_pylist()))
        if not run.finishing:
            check_free(output, status_file, overwrite=run.overwrite)
        # From here on, what is at the place of the output is of this run.
        _write_manifest(parts, wanted, run._replace(finishing=True))
        report = _finish(job, numbers, kind, output, status_file, run)
        _clear(parts)
        with suppress(OSError):
            parts.rmdir()
    return report


def parts_of(output: Path) -> Path:
    """The folder of a run that has not written its output yet."""
    return output.with_name(f"{output.name}.parts")


def _kind(output: Path, to: str | None, *, include_text: bool) -> str:
    ending = output.suffix.lower()
    if to is not None:
        check_choice("to", to, FORMATS)
    by_ending = {**{of: of[1:] for of in TABLES}, ".spacy": "spacy", "": "brat"}
    kind = to or by_ending.get(ending)
    if kind is None:
        raise ConfigError(
            f"{output}: its ending does not tell a format. Known: {', '.join(by_ending)}"
            "(none: a folder for brat)."
        )
    if kind == "omop":
        if ending not in (".csv", ".parquet"):
            raise ConfigError(f"{output}: omop is written as .csv or .parquet.")
        if not include_text:
            raise ConfigError(
                "omop has the text of every entity in lexical_variant, which it demands: allow it "
                "with --include-text."
            )
    elif to is not None and by_ending.get(ending, to) != to:
        raise ConfigError(f"{output}: has the ending of another format than {to}.")
    return kind


def _status_file(output: Path) -> Path:
    if output.suffix.lower() in TABLES:
        return output.with_name(f"{output.stem}.status{output.suffix}")
    return output.with_name(f"{output.name}.status.jsonl")


def check_free(*outputs: Path, overwrite: bool) -> None:
    """Raise InputError if an output exists, or, with `overwrite`, is a folder of files."""
    for path in outputs:
        if path.exists() and not overwrite:
            raise InputError(f"{path}: exists. Name another output, or give --overwrite.")
        if path.is_dir() and any(path.iterdir()):
            raise InputError(
                f"{path}: is a folder with files, which --overwrite does not remove. Name another."
            )


def _model_digest(annotator: TextAnnotator) -> str:
    return sha256(json.dumps(digests_of(Path(annotator.nlp.path))).encode())


def _begun(parts: Path, *, resume: bool, overwrite: bool) -> _Run:
    """The run that the folder of the parts is of, or a new one."""
    new = _Run(datetime.now(timezone.utc).isoformat(), overwrite=overwrite)
    tidy(parts)
    # A folder without anything is of a run that was killed as it began.
    if not parts.exists() or (parts.is_dir() and not any(parts.iterdir())):
        return new
    if not (parts / MANIFEST).is_file():
        raise InputError(f"{parts}: is not of a run of this command. Name another output.")
    if overwrite:
        return new
    if not resume:
        raise InputError(
            f"{parts}: is of a run that was not finished. Go on with it by --resume, or drop it by "
            "--overwrite."
        )
    try:
        stored = json.loads((parts / MANIFEST).read_text(encoding="utf-8"))
        run = _Run(**stored.pop("run"), stored=stored)
        datetime.fromisoformat(run.started)
        return run
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{parts}: has no readable {MANIFEST}. Drop it by --overwrite without --resume."
        ) from error


def _begin(parts: Path, run: _Run, wanted: Mapping[str, Any]) -> _Run:
    """Make the manifest of a new run, or check that one that goes on is the one wanted."""
    if run.stored is None:
        _clear(parts)
        _write_manifest(parts, wanted, run)
        return run
    if wanted["input"] is None:
        raise InputError("stdin cannot be read again from its beginning: --resume needs a file.")
    differing = [name for name in wanted if run.stored.get(name) != wanted[name]]
    if differing:
        raise InputError(
            f"{parts}: is of a run with another {', '.join(differing)}, and results of two runs "
            "are not mixed. Call it as before, or drop it by --overwrite without --resume."
        )
    return run


def _clear(parts: Path) -> None:
    # The manifest last: without it nobody would know whose the others are.
    for path in [*parts.glob("*-*.parquet"), parts / MANIFEST]:
        path.unlink(missing_ok=True)


def _write_manifest(parts: Path, wanted: Mapping[str, Any], run: _Run) -> None:
    own = {name: of for name, of in run._asdict().items() if name != "stored"}
    write_text(parts / MANIFEST, json.dumps({**wanted, "run": own}, indent=2) + "\n")


class DuplicateIdError(ValueError):
    """A note with the id of another one, which would have the same file."""


class FileNameError(ValueError):
    """A note whose id is not a file name."""


class NoteIdError(ValueError):
    """A note whose id the output cannot hold: for OMOP, one that is no whole number of 64 bits."""


def _shards(notes: Iterable[Note], size: int, kind: str) -> Iterator[tuple[int, list[Note]]]:
    """The notes by shard, and its number."""
    remaining, seen, number = iter(notes), set[str](), 0
    while chunk := list(islice(remaining, size)):
        if kind in ("brat", "omop"):
            chunk = [with_usable_id(note, kind, seen) for note in chunk]
        yield number, chunk
        number += 1


def with_usable_id(note: Note, kind: str, seen: set[str]) -> Note:
    """The note; with a fault if the output cannot have its id.

    Args:
        note: the next one.
        kind: of the output.
        seen: ids of those before it, each of which has one of its own; this one is added.
    """
    name = name_of(note.id)
    if note.fault is not None or isinstance(name, Exception):
        return note
    if kind == "omop":
        is_number = name.isascii() and name.isdecimal() and int(name) < 2**63
        return note if is_number else note._replace(fault=NoteIdError.__name__)
    if kind == "brat" and (
        not name.isprintable()
        or "/" in name
        or "\\" in name
        or name.startswith(".")
        or not 0 < len(name.encode()) <= 200
    ):
        return note._replace(fault=FileNameError.__name__)
    if name in seen:
        return note._replace(fault=DuplicateIdError.__name__)
    seen.add(name)
    return note


def _done(
    job: _Job, shards: Iterator[tuple[int, list[Note]]], *, n_process: int
) -> Generator[int, None, None]:
    """Do the shards that are not done yet, and give the number of each in their order."""
    if n_process == 1:
        for number, notes in shards:
            yield _do(job, number, notes)
        return
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        n_process, mp_context=context, initializer=_end_with_parent, initargs=(theirs,)
    )
    waiting: deque[Future[int]] = deque()
    try:
        for number, notes in shards:
            # Not more notes in memory than the processes have to do.
            if len(waiting) >= 2 * n_process:
                yield waiting.popleft().result()
            with _no_interrupts():
                waiting.append(pool.submit(_do, job, number, notes))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise InputError(
            "A process that annotates was killed, maybe for want of memory. Go on with --resume, "
            "and with fewer processes or a smaller --batch-size."
        ) from error
    finally:
        # The processes end now, also in the middle of a shard, of which nothing is kept then.
        ours.close()
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent(pipe: Connection) -> None:
    """Let a worker end when its parent closes a pipe, or ends, in whatever way."""

    def wait() -> None:
        pipe.poll(None)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let processes that are started in the block not hear Ctrl-C: this one ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows.
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _do(job: _Job, number: int, notes: Sequence[Note]) -> int:
    """Annotate a shard and write it, unless that was done before."""
    status_part = _part(job.parts, "status", number)
    if status_part.exists():
        return number
    entities, status = tables_of(
        [of.id for of in notes],
        [of.text for of in notes],
        text_annotator(job.model, job.settings),
        faults={i: of.fault for i, of in enumerate(notes) if of.fault is not None},
        first_row=number * job.shard,
        include_text=job.include_text,
    )
    if job.keeps_notes:
        kept = zip(notes, status["status"].to_pylist(), strict=True)
        texts = [str(of.text) if of.text and state != ERROR else None for of, state in kept]
        status = status.append_column(NOTE_TEXT, pa.array(texts, NOTE_TEXT.type))
    for table, path in ((entities, _part(job.parts, "entities", number)), (status, status_part)):
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
    return number


def _part(parts: Path, what: str, number: int) -> Path:
    return parts / f"{what}-{number:08}.parquet"


def _stop_at_error(status: pa.Table, errors: str) -> None:
    if errors == "record":
        return
    for row in status.to_pylist():
        if row["status"] == ERROR:
            raise InputError(
                f"Note {row['row'] + 1} of the input: {row['error']}. Fix it, or let the run go on "
                "with --errors record."
            )


def _finish(
    job: _Job,
    numbers: Sequence[int],
    kind: str,
    output: Path,
    status_file: Path,
    run: _Run,
) -> dict[str, Any]:
    """Put the shards together, and count what became of the notes."""

    def tables(what: str) -> Iterator[pa.Table]:
        return (pq.read_table(_part(job.parts, what, number)) for number in numbers)

    counts, faults = Counter[str](), Counter[str]()
    words = entities = 0
    for table in tables("status"):
        counts.update(table["status"].to_pylist())
        faults.update(of for of in table["error"].to_pylist() if of)
        words += sum(table["words"].to_pylist())
        entities += sum(table["entities"].to_pylist())
    schema = ENTITIES.append(TEXT) if job.include_text else ENTITIES
    if kind == "brat":
        # A folder with files is that of this run: it was written whole before a kill.
        if not output.is_dir() or not any(output.iterdir()):
            write_brat(_texts(tables("status"), tables("entities")), output)
    elif kind == "spacy":
        nlp = text_annotator(job.model, job.settings).nlp
        write_entities(_docs(tables("status"), tables("entities"), nlp), output)
    elif kind == "omop":
        rows = note_nlp(tables("entities"), now=datetime.fromisoformat(run.started))
        write_table(rows, NOTE_NLP_SCHEMA, output)
    else:
        write_table(tables("entities"), schema, output)
    write_table((of.select(STATUS.names) for of in tables("status")), STATUS, status_file)
    return {
        "notes": counts.total(),
        "status": dict(counts),
        "errors": dict(faults),
        "words": words,
        "entities": entities,
        "output": str(output),
        "status_file": str(status_file),
    }


def _notes(
    status: Iterable[pa.Table], entities: Iterable[pa.Table]
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Id, text and entities of every note that has not failed."""
    for notes, found in zip(status, entities, strict=True):
        remaining = iter(found.to_pylist())
        for note in notes.to_pylist():
            own = list(islice(remaining, note["entities"]))
            if note["status"] != ERROR:
                yield note["id"], note[NOTE_TEXT.name] or "", own


def _texts(status: Iterable[pa.Table], entities: Iterable[pa.Table]) -> Iterator[AnnotatedText]:
    for id, text, own in _notes(status, entities):
        mentions = tuple(
            Mention(f"T{number}", of["label"], ((of["start"], of["end"]),))
            for number, of in enumerate(own, start=1)
        )
        yield AnnotatedText(id=id, text=text, mentions=mentions)


def _docs(status: Iterable[pa.Table], entities: Iterable[pa.Table], nlp: Language) -> Iterator[Doc]:
    for id, text, own in _notes(status, entities):
        doc = nlp.make_doc(text)
        spans, scores = [], []
        for of in own:
            # Expanded, since a component of the pipeline may have split tokens.
            offsets = of["start"], of["end"]
            span = doc.char_span(*offsets, label=of["label"], alignment_mode="expand")
            assert span is not None
            spans.append(span)
            scores.append(of["probability"])
        doc.spans["ner"] = spans
        doc.spans["ner"].attrs["scores"] = scores
        places = [(span.start, span.end, span.label_) for span in spans]
        flat = flat_choice(places, [score or 0.0 for score in scores])
        doc.set_ents([span for span, is_flat in zip(spans, flat, strict=True) if is_flat])
        doc.user_data[DOCUMENT_ID] = id
        yield doc
