"""What ``clinical-ner folds`` leaves: of every document the prediction of a model without it.

The folder holds::

    folds.json             what was asked for, and what came of it: `Manifest`
    recipe.cfg             the complete recipe, with the labels of the whole corpus
    metrics.json           scores of all documents, each predicted by the models without it
    fold-1/ ...            train.spacy, dev.spacy, test.spacy and split.json of every fold
    seed-0/fold-1/ ...     model, log_probs.npz and the record of every training

Beside the divided corpus it holds ids of documents, labels and numbers, and no text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..data.formats.docbin import read_docbin
from ..errors import ConfigError, InputError
from ..files import replacing, sha256, write_text
from ..types import LogProbs

MANIFEST = "folds.json"
RECIPE = "recipe.cfg"
METRICS = "metrics.json"
LOG_PROBS = "log_probs.npz"
#: The model of a training that is kept.
MODEL = "model"


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold predictions, and the models that made them.

    Attributes:
        folder: that of ``clinical-ner folds``.
        corpus: the .spacy file that was divided.
        recipe: the complete config that was trained, with the labels of the whole corpus.
        documents: gold, in the order of the corpus.
        fold_of: the fold in whose test each document is, from 0. *Shape:* ``(documents,)``.
        labels: of every model, in the order of their tags.
        epochs: passes over the training documents after which the models were taken.
        planned_epochs: passes that the learning rate was planned for.
        seeds: of the trainings of each fold.
        folds: their number.
        has_probabilities: false if the loss has no posterior, or no component is a clinical_ner.
    """

    folder: Path
    corpus: Path
    recipe: Path
    documents: list[Doc]
    fold_of: NDArray[np.intp]
    labels: tuple[str, ...]
    epochs: float
    planned_epochs: int
    seeds: tuple[int, ...]
    folds: int
    has_probabilities: bool

    def log_probs(self) -> list[LogProbs]:
        """Log p(tag | text) of every document, from models that were not trained on it.

        With several seeds it is the logarithm of the mean of their probabilities. They are not
        calibrated.

        Returns:
            In the order of ``documents``, for the tokens that the pipeline's tokenizer makes of the
            text (see ``evaluation.runner.unannotated``). *Shape of each:* ``(n, K)``, float32.

        Raises:
            ConfigError: the models give no probabilities.
            InputError: a file is missing, damaged, or lacks a document.
        """
        if not self.has_probabilities:
            raise ConfigError(
                f"{self.folder}: its models give no probabilities, since the loss of the recipe "
                "does not lead back to them: run clinical-ner folds with another recipe."
            )
        of_seeds = []
        for seed in self.seeds:
            found: dict[int, LogProbs] = {}
            for fold in range(self.folds):
                path = run_folder(self.folder, seed, fold) / LOG_PROBS
                found |= read_log_probs(path)
            if sorted(found) != list(range(len(self.documents))):
                raise _damaged(self.folder)
            of_seeds.append([found[number] for number in range(len(self.documents))])
        if len(of_seeds) == 1:
            return of_seeds[0]
        return [
            (np.logaddexp.reduce(np.stack(rows)) - np.log(len(rows))).astype(np.float32)
            for rows in zip(*of_seeds, strict=True)
        ]

    def models(self) -> list[Path]:
        """Folders of the pipelines, seed by seed, and of each seed fold by fold."""
        return [
            run_folder(self.folder, seed, fold) / MODEL
            for seed in self.seeds
            for fold in range(self.folds)
        ]


def is_out_of_fold(path: str | Path) -> bool:
    """Whether a path is a folder of ``clinical-ner folds``, finished or not."""
    return (Path(path) / MANIFEST).is_file()


def read_out_of_fold(folder: str | Path, vocab: Vocab | None = None) -> OutOfFold:
    """Read what ``clinical-ner folds`` wrote.

    Args:
        folder: its output.
        vocab: of the documents; a new one by default.

    Raises:
        InputError: not such a folder, not finished, or the corpus has changed since.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not manifest.get("finished"):
        raise InputError(
            f"{folder}: its folds are not finished. Call clinical-ner folds again as before: it "
            "goes on where it was stopped."
        )
    try:
        parts = manifest["parts"]
        corpus = folder / manifest["corpus"]
        found = OutOfFold(
            folder=folder,
            corpus=Path(os.path.normpath(corpus)),
            recipe=folder / RECIPE,
            documents=[],
            fold_of=np.array(manifest["fold_of"], dtype=np.intp),
            labels=tuple(manifest["labels"]),
            epochs=float(manifest["epochs"]),
            planned_epochs=int(manifest["planned_epochs"]),
            seeds=tuple(parts["seeds"]),
            folds=int(parts["folds"]),
            has_probabilities=bool(manifest["has_probabilities"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder) from error
    found.documents.extend(read_docbin(found.corpus, Vocab() if vocab is None else vocab))
    check_corpus(found.corpus, folder, parts)
    return found


def check_corpus(corpus: Path, folder: Path, parts: Mapping[str, Any]) -> None:
    """Raise InputError if the corpus is not the one that was divided."""
    if sha256(corpus.read_bytes()) != parts["corpus"]:
        raise InputError(
            f"{corpus}: has changed since {folder} was made of it. Run clinical-ner folds again, "
            "into another folder."
        )


def run_folder(folder: Path, seed: int, fold: int) -> Path:
    """Where a training is; ``fold`` counts from 0, the names from 1."""
    return folder / f"seed-{seed}" / f"fold-{fold + 1}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read folds.json.

    Raises:
        InputError: there is none, or something else.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: is not a folder of clinical-ner folds, since it has no readable {MANIFEST}."
        ) from error
    if not isinstance(manifest, dict):
        raise _damaged(folder)
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write folds.json.

    Args:
        folder: of the folds.
        manifest: ``parts``, what was asked for (the SHA-256 of ``corpus`` and ``recipe``,
            ``folds``, ``seeds`` and the other settings); the path of the ``corpus``, seen from the
            folder; by document its id (``documents``) and ``fold_of``; the ``labels``;
            ``planned_epochs``; ``epochs`` once they are chosen; ``has_probabilities`` and
            ``finished`` at the end.
    """
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, allow_nan=False) + "\n")


def write_log_probs(path: Path, log_probs: Mapping[int, LogProbs]) -> None:
    """Write the predictions of one model.

    Args:
        path: the .npz file.
        log_probs: by the number of the document in the corpus. *Shape of each:* ``(n, K)``.
    """
    rows = list(log_probs.values())
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            documents=np.array(list(log_probs), dtype=np.int64),
            lengths=np.array([len(of) for of in rows], dtype=np.int64),
            log_probs=np.concatenate(rows).astype(np.float32, copy=False),
        )


def read_log_probs(path: Path) -> dict[int, LogProbs]:
    """Read what `write_log_probs` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["lengths"])[:-1]
            rows = np.split(file["log_probs"], ends)
            return dict(zip(file["documents"].tolist(), rows, strict=True))
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"{path}: not readable, or not what clinical-ner folds wrote.") from error


def _damaged(folder: Path) -> InputError:
    return InputError(
        f"{folder}: does not hold what clinical-ner folds wrote. Remove it and run it again."
    )
