"""Division of annotated documents into train, dev and test, once or in folds."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from ...errors import ConfigError, InputError, check_number, not_a_folder
from ...files import (
    check_replaceable,
    corpus_files,
    is_written_by,
    replacing,
    written_by,
)
from ...locks import leaving_no_empty_folder
from ..formats.detect import SUFFIXES
from ..formats.docbin import DOCUMENT_ID, packed, read_docbin
from ..gold import overlapping_gold
from ..mentions import DocumentIds
from .split_report import Corpus
from .stratify import PARTS, fold_documents, split_documents, split_shares
from .units import group_documents

COMMAND = "split"
REPORT = "split.json"
FOLD = "fold-{}"
TEST = 0.2


def split(
    source: str | Path,
    out_dir: str | Path,
    *,
    dev: float = 0.1,
    test: float = TEST,
    seed: int = 0,
    group_by: str | re.Pattern[str] | None = None,
    overlaps: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Divide annotated documents into train, dev and test, and write the parts, all or none.

    Whole documents go to one part each, so that every part has its share of each entity type.

    Args:
        source: The .spacy file to divide, or a flat folder of .spacy files.
        out_dir: Folder of train.spacy, dev.spacy, test.spacy and split.json; those of an earlier
            division of the same source are replaced.
        dev: Share of the documents for dev, in [0, 1).
        test: Share of the documents for test, in [0, 1); the rest is train.
        seed: Seed of the stratification.
        group_by: Regex that names each document's group by its id: its first capture group, or
            without one the whole match. A group goes to one part.
        overlaps: Count all mentions in place of the flat entities (see `overlapping_gold`), as a
            pipeline with ``overlaps`` learns them.
        overwrite: Replace other existing files too.

    Returns:
        What split.json holds: ``seed``, ``shares``, ``overlaps`` if set, what `Corpus.report`
        returns, ``not_in_every_part``, see `Corpus.gaps`, the ``source`` as its path from the
        folder, and ``written_by``.

    Raises:
        InputError: A file cannot be read or written, or would overwrite the input or what is not
            of an earlier division of it; two documents
            have one id, an id has no group, or there are too few documents or groups; or with
            `overlaps`, a document has only flat entities.
        ConfigError: A share or the seed is out of range, or `group_by` is not a regex.
    """
    _check_seed(seed)
    source, out_dir = Path(source), Path(out_dir)
    if source.is_dir() and out_dir.exists() and source.samefile(out_dir):
        raise InputError(
            f"{out_dir}: is the folder of the input, so that the parts would be read as input the "
            "next time. Choose another output folder."
        )
    _check_output(source, out_dir, overwrite)
    corpus = _read(source, group_by, overlaps)
    shares = split_shares(dev=dev, test=test)
    parts = split_documents(
        corpus.presence, dev=dev, test=test, seed=seed, source=str(source), groups=corpus.groups
    )
    report = {
        "seed": seed,
        "shares": shares,
        **({"overlaps": True} if overlaps else {}),
        **corpus.report(parts),
        "not_in_every_part": corpus.gaps(parts),
        **_origin(source, out_dir),
    }
    with ExitStack() as outputs:
        _write(corpus.docs, parts, report, out_dir, outputs)
        outputs.enter_context(_removing([out_dir]))
    return report


def split_folds(
    source: str | Path,
    out_dir: str | Path,
    *,
    folds: int = 5,
    dev: float = 0.1,
    seed: int = 0,
    group_by: str | re.Pattern[str] | None = None,
    overlaps: bool = False,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Divide annotated documents for a cross-validation and write the folds, all or none.

    Args:
        source: As in `split`.
        out_dir: Gets a folder fold-1, fold-2, ... with the files of `split` for each fold.
        folds: Their number, at least 2; each document is in the test of one.
        dev: Share of the documents that are not in the test of a fold, in [0, 1).
        seed: As in `split`.
        group_by: As in `split`.
        overlaps: As in `split`.
        overwrite: As in `split`.

    Returns:
        By fold, what its split.json holds: as in `split`, with ``fold``, ``folds`` and ``dev``
        for the shares. In ``not_in_every_part``, a type is missing in test with regard to all
        tests, and in train and dev with regard to what is not in the fold's test.

    Raises:
        InputError: As in `split`, or the folder holds a fold of more folds.
        ConfigError: As in `split`, or `folds` is less than 2.
    """
    _check_seed(seed)
    check_number("folds", folds, least=2)
    source, out_dir = Path(source), Path(out_dir)
    targets = [out_dir / FOLD.format(fold) for fold in range(1, folds + 1)]
    for target in (out_dir, *targets):
        _check_output(source, target, overwrite)
    if out_dir.exists():
        others = sorted(path for path in out_dir.glob(FOLD.format("*")) if path not in targets)
        if others:
            raise InputError(
                f"{others[0]}: is of another division, since there are to be {folds} folds. "
                "Remove it, or choose another output folder."
            )
    corpus = _read(source, group_by, overlaps)
    divided = fold_documents(
        corpus.presence, folds=folds, dev=dev, seed=seed, source=str(source), groups=corpus.groups
    )
    names = [target.name for target in targets]
    tests = corpus.gaps({name: parts["test"] for name, parts in zip(names, divided, strict=True)})
    reports = [
        {
            "seed": seed,
            "fold": fold,
            "folds": folds,
            "dev": dev,
            **({"overlaps": True} if overlaps else {}),
            **corpus.report(parts),
            "not_in_every_part": [
                *({**gap, "missing": ["test"]} for gap in tests if name in gap["missing"]),
                *corpus.gaps({"train": parts["train"], "dev": parts["dev"]}),
            ],
            **_origin(source, target),
        }
        for fold, (target, name, parts) in enumerate(
            zip(targets, names, divided, strict=True), start=1
        )
    ]
    with ExitStack() as outputs:
        for target, parts, report in zip(targets, divided, reports, strict=True):
            _write(corpus.docs, parts, report, target, outputs)
        outputs.enter_context(_removing(targets))
    return reports


def _check_seed(seed: int) -> None:
    check_number("seed", seed, least=0, most=2**32 - 1)


def _origin(source: Path, folder: Path) -> dict[str, str]:
    return {"source": os.path.relpath(source, folder), **written_by(COMMAND)}


def _files(folder: Path) -> list[Path]:
    return [folder / REPORT, *(folder / f"{part}.spacy" for part in PARTS)]


def _check_output(source: Path, folder: Path, overwrite: bool) -> None:
    """Raise ClinicalNerError if a folder is a file, or a division would destroy what is there."""
    if folder.exists() and not folder.is_dir():
        raise not_a_folder(folder)
    for path in _files(folder):
        if path.exists() and source.exists() and path.samefile(source):
            raise InputError(
                f"{path}: is the input and would be overwritten. Choose another output folder."
            )
        check_replaceable(path, own=is_written_by(path, COMMAND), overwrite=overwrite)
    if not overwrite and is_written_by(folder / REPORT, COMMAND):
        try:
            divided = json.loads((folder / REPORT).read_text(encoding="utf8"))["source"]
        except (ValueError, KeyError, TypeError):
            divided = ""
        if divided != os.path.relpath(source, folder):
            raise InputError(
                f"{folder}: holds the parts of another corpus. Choose another output folder, or "
                "give --overwrite."
            )


def compiled(group_by: str | re.Pattern[str]) -> re.Pattern[str]:
    """Compile the regex of the documents' groups.

    Raises:
        ConfigError: It is not a regex.
    """
    try:
        return re.compile(group_by)
    except re.error as error:
        raise ConfigError(f"group_by is not a regex: {error}") from error


def _read(source: Path, group_by: str | re.Pattern[str] | None, overlaps: bool) -> Corpus:
    pattern = None if group_by is None else compiled(group_by)
    vocab, known = Vocab(), DocumentIds()
    docs: list[Doc] = []
    ids: list[str] = []
    for file in corpus_files(source, SUFFIXES["docbin"]) if source.is_dir() else [source]:
        for number, doc in enumerate(read_docbin(file, vocab), start=1):
            id_ = str(doc.user_data.get(DOCUMENT_ID, len(docs)))
            known.add(id_, f"{file}, document {number}")
            docs.append(doc)
            ids.append(id_)
    gold = (overlapping_gold(doc) if overlaps else doc.ents for doc in docs)
    entities = [Counter(span.label_ for span in spans) for spans in gold]
    labels = sorted({label for counts in entities for label in counts})
    if pattern is None:
        return Corpus(docs, ids, labels, entities)
    groups = group_documents(ids, pattern, source=str(source))
    return Corpus(docs, ids, labels, entities, groups, pattern.pattern)


def _write(
    docs: Sequence[Doc],
    parts: Mapping[str, Sequence[int]],
    report: Mapping[str, Any],
    folder: Path,
    outputs: ExitStack,
) -> None:
    """Write a division beside its place; it gets there when `outputs` is closed."""
    outputs.enter_context(leaving_no_empty_folder(folder / REPORT))
    for part, rows in parts.items():
        temporary = outputs.enter_context(replacing(folder / f"{part}.spacy"))
        of_part = DocBin(docs=[docs[row] for row in rows], store_user_data=True)
        temporary.write_bytes(packed(of_part, COMMAND))
    temporary = outputs.enter_context(replacing(folder / REPORT))
    temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf8")


@contextmanager
def _removing(folders: Sequence[Path]) -> Iterator[None]:
    """Remove earlier parts just before new ones are renamed, unless writing these failed.

    A kill between the renames then leaves parts missing, and not parts of two divisions, of which
    one may train on what the other one tests.
    """
    yield
    for folder in folders:
        for path in _files(folder):
            path.unlink(missing_ok=True)
