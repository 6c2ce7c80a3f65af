"""Division of annotated documents into train, dev and test, once or in folds."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spacy.tokens import Doc
from spacy.vocab import Vocab

from ...errors import ConfigError, InputError, check_number, not_a_folder
from ...files import corpus_files, leaving_no_empty_folder, replacing
from ..formats.detect import SUFFIXES
from ..formats.docbin import DOCUMENT_ID, read_docbin, write_docbin
from ..gold import overlapping_gold
from ..mentions import DocumentIds
from .split_report import Corpus
from .stratify import PARTS, fold_documents, split_documents, split_shares
from .units import group_documents

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
) -> dict[str, Any]:
    """Divide annotated documents into train, dev and test, and write the parts, all or none.

    Whole documents go to one part each, so that every part has its share of each entity type.

    Args:
        source: The .spacy file to divide, or a flat folder of .spacy files.
        out_dir: Folder of train.spacy, dev.spacy, test.spacy and split.json; existing files are
            replaced.
        dev: Share of the documents for dev, in [0, 1).
        test: Share of the documents for test, in [0, 1); the rest is train.
        seed: Seed of the stratification.
        group_by: Regex that names each document's group by its id: its first capture group, or
            without one the whole match. A group goes to one part.
        overlaps: Count all mentions in place of the flat entities (see `overlapping_gold`), as a
            pipeline with ``overlaps`` learns them.

    Returns:
        What split.json holds: ``seed``, ``shares``, ``overlaps`` if set, what `Corpus.report`
        returns, and ``not_in_every_part``, see `Corpus.gaps`.

    Raises:
        InputError: A file cannot be read or written, or would overwrite the input; two documents
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
    _check_output(source, out_dir)
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
    }
    with ExitStack() as outputs:
        _write(corpus.docs, parts, report, out_dir, outputs)
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
) -> list[dict[str, Any]]:
    """Divide annotated documents for a cross-validation and write the folds, all or none.

    Args:
        source: As in `split`.
        out_dir: Gets a folder fold-1, fold-2, ... with the files of `split` for each fold;
            existing files are replaced.
        folds: Their number, at least 2; each document is in the test of one.
        dev: Share of the documents that are not in the test of a fold, in [0, 1).
        seed: As in `split`.
        group_by: As in `split`.
        overlaps: As in `split`.

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
        _check_output(source, target)
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
        }
        for fold, (name, parts) in enumerate(zip(names, divided, strict=True), start=1)
    ]
    with ExitStack() as outputs:
        for target, parts, report in zip(targets, divided, reports, strict=True):
            _write(corpus.docs, parts, report, target, outputs)
    return reports


def _check_seed(seed: int) -> None:
    check_number("seed", seed, least=0, most=2**32 - 1)


def _check_output(source: Path, folder: Path) -> None:
    """Raise ClinicalNerError if a folder is a file, or its part would overwrite the input."""
    if folder.exists() and not folder.is_dir():
        raise not_a_folder(folder)
    for path in (*(folder / f"{part}.spacy" for part in PARTS), folder / REPORT):
        if path.exists() and source.exists() and path.samefile(source):
            raise InputError(
                f"{path}: is the input and would be overwritten. Choose another output folder."
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
        write_docbin([docs[row] for row in rows], temporary)
    temporary = outputs.enter_context(replacing(folder / REPORT))
    temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf8")
