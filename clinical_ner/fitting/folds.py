"""Cross-validation of a recipe: every document predicted by a model that did not see it.

The trainings of all folds are made first, with the model of every epoch. Then one epoch is chosen
for all of them, by the score over the inner dev documents of all folds together: what is scored in
the end chooses nothing.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..data.formats.docbin import DOCUMENT_ID, read_docbin
from ..data.gold import overlapping_gold, read_gold, read_gold_for
from ..data.split.split import FOLD, split_folds
from ..errors import ClinicalNerWarning, ConfigError, InputError, check_number, shown, shown_label
from ..evaluation.evaluate import metrics_of
from ..evaluation.one_pass_counts import count_predictions, evaluate_pipeline
from ..evaluation.runner import Recognized, Runner, recognizer_of
from ..files import new_folder, sha256, write_text
from ..locks import held
from ..model.gpu import use_gpu
from ..pipeline.annotation import FACTORY
from ..pipeline.loading import load_pipeline
from ..pipeline.saving import save_pipeline
from ..scoring.counts import DocumentCounts
from ..scoring.evaluation import EvaluationCounts, evaluation_statistics
from ..scoring.scorers import EntityCounts, entity_scores
from ..scoring.spans import label_f
from ..training.identity import check_identity
from ..training.recipes import BASE, Recipe, asks_for_neighbours, has_overlaps, read_recipe
from ..training.train import initialize, train, training_settings
from ..training.training_run import RECORD, logged
from ..types import LogProbs
from .fit_calibration import fit_calibration
from .held_out import AnnotatedDocument, reliability, with_pairs_of_other_folds
from .out_of_fold import (
    LOG_PROBS,
    MANIFEST,
    METRICS,
    MODEL,
    RECIPE,
    check_corpus,
    run_folder,
    write_log_probs,
    write_manifest,
)

#: The model after an epoch, and the counts on the inner dev documents, until one is chosen.
EPOCH, EPOCH_COUNTS = "epoch-{}", "dev-{}.json"
#: Told of every step: what is done, how many epochs were trained, and how many there are.
Tell = Callable[[str, int, int], None]


def folds(
    corpus: str | Path,
    output: str | Path,
    *,
    config: str | Path,
    folds: int = 5,
    seeds: Sequence[int] = (0,),
    dev: float = 0.1,
    group_by: str | re.Pattern[str] | None = None,
    split_seed: int = 0,
    base: str | Path = BASE,
    epochs: int = 0,
    encoder: str = "",
    lang: str = "",
    gpu_id: int = -1,
    tell: Tell = lambda message, done, total: None,
) -> dict[str, Any]:
    """Train a recipe on every fold, and score all documents by the models without them.

    Called again after it was stopped, it goes on with the training that was interrupted.

    Args:
        corpus: a .spacy file with gold entities.
        output: folder for all that `out_of_fold` tells of, new or of such a call.
        config: a recipe, see `read_recipe`.
        folds: their number, at least 2.
        seeds: of the trainings of each fold.
        dev: share of the documents that are not in the test of a fold, in [0, 1), on which the
            epoch is chosen; with 0 all epochs of the recipe are made.
        group_by: see `split_folds`.
        split_seed: of the division.
        base: the complete config that an overlay is merged over.
        epochs: in place of the recipe's, if not 0 and not empty.
        encoder: see `epochs`.
        lang: see `epochs`.
        gpu_id: GPU, or -1 for the CPU.
        tell: shows progress.

    Returns:
        What metrics.json holds: `metrics_of` all documents, each counted once for every seed, and
        under ``folds`` what `_of_folds` gives.

    Raises:
        ClinicalNerError: an input is missing or not what it should be, there are more folds than
            documents or groups, or the folder holds something else: nothing is written then. Or a
            training fails, after which another call goes on with it.
    """
    corpus, output = Path(corpus), Path(output)
    recipe = read_recipe(config, Path(base))
    if lang:
        recipe.config["nlp"]["lang"] = lang
    check_number("folds", folds, least=2)
    documents = read_gold(corpus, Vocab())
    parts = {
        "corpus": sha256(corpus.read_bytes()),
        "recipe": sha256(recipe.text.encode()),
        "folds": folds,
        "seeds": list(seeds),
        "dev": dev,
        "group_by": group_by.pattern if isinstance(group_by, re.Pattern) else group_by,
        "split_seed": split_seed,
        "epochs": epochs,
        "encoder": encoder,
    }
    manifest = check_identity(output, MANIFEST, parts, what="a cross-validation")
    use_gpu(gpu_id)
    if manifest is None:
        tell("dividing the documents, and checking the recipe", 0, 1)
        with new_folder(output) as folder:
            _begin(folder, corpus, output, documents, recipe, parts, gpu_id)
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    _warn(manifest)
    # It may have been moved since.
    if manifest["corpus"] != (place := os.path.relpath(corpus, output)):
        write_manifest(output, manifest := manifest | {"corpus": place})
    if manifest.get("finished"):
        # If they were removed or damaged, they are made again.
        with suppress(OSError, ValueError):
            return dict(json.loads((output / METRICS).read_text(encoding="utf-8")))
    work = _Work(corpus, output, manifest, gpu_id, tell)
    with held(output):
        work.train()
        work.choose_epoch()
        return work.predict()


def _begin(
    folder: Path,
    corpus: Path,
    output: Path,
    documents: Sequence[Doc],
    recipe: Recipe,
    parts: Mapping[str, Any],
    gpu_id: int,
) -> None:
    """Divide the documents and check the recipe on every fold: all that can go wrong at once."""
    if asks_for_neighbours(recipe.config):
        raise ConfigError(
            f"{recipe.path}: asks for neighbours, which a cross-validation does not add to its "
            "models. Set neighbours.add = false."
        )
    components = recipe.config.get("components", {})
    named = [name for name, block in components.items() if block.get("factory") == FACTORY]
    overlaps = has_overlaps(recipe.config)
    gold = [
        Counter(span.label_ for span in (overlapping_gold(doc) if overlaps else doc.ents))
        for doc in documents
    ]
    labels = sorted(set().union(*gold))
    for name in named:
        # Else a model would lack the labels that only the test of its fold has.
        settings = recipe.config.setdefault("initialize", {}).setdefault("components", {})
        settings.setdefault(name, {}).setdefault("labels", labels)
    reports = split_folds(
        *(corpus, folder),
        folds=parts["folds"],
        dev=parts["dev"],
        seed=parts["split_seed"],
        group_by=parts["group_by"],
        overlaps=overlaps,
    )
    for report in reports:
        if parts["dev"] and not any(of["dev"] for of in report["entities"].values()):
            raise InputError(
                f"{corpus}: the documents of fold {report['fold']} on which the epoch is to be "
                "chosen hold no entity. Raise --dev, or give --dev 0."
            )
    fold_of = {id_: fold for fold, of in enumerate(reports) for id_ in of["documents"]["test"]}
    ids = [str(doc.user_data.get(DOCUMENT_ID, row)) for row, doc in enumerate(documents)]
    holding = {
        label: [id_ for id_, of in zip(ids, gold, strict=True) if of[label]] for label in labels
    }
    # Of one document, or of one group.
    alone = {label: of for label, of in holding.items() if len({fold_of[id_] for id_ in of}) == 1}
    for fold in range(parts["folds"]):
        divided = folder / FOLD.format(fold + 1)
        settings = training_settings(
            divided / "train.spacy",
            divided / ("dev.spacy" if parts["dev"] else "train.spacy"),
            encoder=parts["encoder"],
            epochs=parts["epochs"],
            seed=parts["seeds"][0],
        )
        # The copies are gone when a message is read.
        copies = {settings[f"paths.{part}"]: corpus for part in ("train", "dev")}
        nlp = initialize(recipe, settings, gpu_id=gpu_id, named=copies)
    found = recognizer_of(nlp)
    training = nlp.config.interpolate()["training"]
    _check_training(recipe, training, chooses=bool(parts["dev"]))
    for name in ("epochs", "encoder"):
        if parts[name]:
            recipe.config["variables"][name] = parts[name]
    write_text(folder / RECIPE, recipe.text + "\n")
    write_manifest(
        folder,
        {
            "parts": parts,
            "name": recipe.name,
            "corpus": os.path.relpath(corpus, output),
            "documents": ids,
            "fold_of": [fold_of[id_] for id_ in ids],
            "labels": labels if found is None else list(found[1].labels),
            "mentions": dict(sorted(sum(gold, Counter()).items())),
            "labels_of_one_fold": alone,
            "score_weights": {name: of for name, of in training["score_weights"].items() if of},
            "planned_epochs": training["max_epochs"],
            "has_probabilities": found is not None,
            "finished": False,
        },
    )


def _check_training(recipe: Recipe, training: Mapping[str, Any], *, chooses: bool) -> None:
    """Raise ConfigError for a training without a known end, or whose epochs cannot be kept."""
    if training["max_epochs"] < 1:
        raise ConfigError(
            f"{recipe.path}: has no number of epochs: set training.max_epochs to 1 or more."
        )
    averages = training["optimizer"].get("use_averages")
    if chooses and (averages or training["before_to_disk"]):
        name = "optimizer.use_averages" if averages else "before_to_disk"
        raise ConfigError(
            f"{recipe.path}: sets training.{name}, which the loop applies to the last model only. "
            "Give --dev 0, so that no other epoch is chosen, or do not set it."
        )


def _warn(manifest: Mapping[str, Any]) -> None:
    """Warn of what no figure shows."""
    alone = manifest["labels_of_one_fold"]
    if alone:
        names = ", ".join(
            f"{shown_label(label)} ({', '.join(map(shown, ids))})" for label, ids in alone.items()
        )
        warnings.warn(
            f"Labels with all their documents in one fold: {names}. No model that predicts them "
            "was trained on the label, so its score is 0; the final model learns it.",
            ClinicalNerWarning,
            stacklevel=3,
        )
    if not manifest["has_probabilities"]:
        warnings.warn(
            "The models give no probabilities, since no component of the recipe is a "
            f"{FACTORY} whose loss leads back to them: documents are scored, and nothing can be "
            "calibrated or tuned on them.",
            ClinicalNerWarning,
            stacklevel=3,
        )


class _Work:
    """The steps after the division, each of which skips what is done.

    Attributes:
        corpus: the .spacy file.
        output: the folder.
        manifest: folds.json.
        runs: seed, fold and folder of every training.
    """

    def __init__(
        self, corpus: Path, output: Path, manifest: dict[str, Any], gpu_id: int, tell: Tell
    ) -> None:
        self.corpus = corpus
        self.output = output
        self.manifest = manifest
        self.parts = manifest["parts"]
        self.runs = [
            (seed, fold, run_folder(output, seed, fold))
            for seed in self.parts["seeds"]
            for fold in range(self.parts["folds"])
        ]
        self.gpu_id = gpu_id
        self.tell = tell

    def train(self) -> None:
        """Make the trainings, keeping the model of every epoch if one is to be chosen."""
        planned = self.manifest["planned_epochs"]
        total = planned * len(self.runs)
        for number, (seed, fold, folder) in enumerate(self.runs):
            message = f"training fold {fold + 1} of {self.parts['folds']}, seed {seed}"
            if (folder / RECORD).is_file():
                continue
            self.tell(message, number * planned, total)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            divided = self.output / FOLD.format(fold + 1)
            dev = read_docbin(divided / "dev.spacy", Vocab()) if self.parts["dev"] else []

            def at_epoch(nlp: Language, epoch: int) -> None:
                self.tell(message, number * planned + epoch, total)  # noqa: B023
                if dev:  # noqa: B023
                    _keep(nlp, dev, folder, epoch)  # noqa: B023

            with logged(folder):
                train(
                    *(self.output / RECIPE, folder),
                    train_path=divided / "train.spacy",
                    dev_path=divided / "dev.spacy" if self.parts["dev"] else None,
                    seed=seed,
                    gpu_id=self.gpu_id,
                    at_epoch=at_epoch,
                )

    def choose_epoch(self) -> None:
        """Choose by the score on all inner dev documents, and remove the models of the others."""
        if "epochs" not in self.manifest:
            planned, curve = self.manifest["planned_epochs"], []
            chosen = float(planned)
            if self.parts["dev"]:
                curve = self._curve()
                chosen = float(max(curve, key=lambda of: (of["score"], of["epoch"]))["epoch"])
            self._note(epochs=chosen, dev_curve=curve)
        kept = EPOCH.format(int(self.manifest["epochs"])) if self.parts["dev"] else "model-last"
        for _, _, folder in self.runs:
            if not (folder / MODEL).exists():
                (folder / kept).rename(folder / MODEL)
            for other in (*folder.glob("model-*"), *folder.glob(EPOCH.format("*"))):
                shutil.rmtree(other)

    def _curve(self) -> list[dict[str, float]]:
        """By epoch that all trainings made, the scores on the inner dev documents of all folds."""
        curve = []
        weights = self.manifest["score_weights"]
        for epoch in range(1, self.manifest["planned_epochs"] + 1):
            paths = [folder / EPOCH_COUNTS.format(epoch) for _, _, folder in self.runs]
            if not all(path.exists() for path in paths):
                break
            read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
            scores = entity_scores(_pooled([EvaluationCounts.from_dict(of) for of in read]))
            used = {name: scores[name] or 0.0 for name in weights if name in scores}
            if not used:
                raise ConfigError(
                    "training.score_weights of the recipe weigh no score of entities, by which "
                    "an epoch could be chosen. Weigh ents_f, or give --dev 0."
                )
            score = sum(weights[name] * value for name, value in used.items())
            curve.append({"epoch": epoch, "score": score, **used})
        if not curve:
            raise ConfigError(
                "A training ended before its first epoch did: raise training.patience or "
                "training.max_steps of the recipe, or set them to 0."
            )
        return curve

    def predict(self) -> dict[str, Any]:
        """Predict every document by the models without it, and score all of them."""
        total = self.manifest["planned_epochs"] * len(self.runs)
        self.tell("predicting", total, total)
        nlp = load_pipeline(self.runs[0][2] / MODEL)
        documents = read_gold_for(self.corpus, nlp)
        check_corpus(self.corpus, self.output, self.parts)
        fold_of = np.array(self.manifest["fold_of"])
        rows = [np.flatnonzero(fold_of == fold) for _, fold, _ in self.runs]
        references = [documents[row] for of_run in rows for row in of_run]
        found = recognizer_of(nlp)
        component = None if found is None else found[1]
        annotated: list[AnnotatedDocument] = []
        seconds = 0.0

        def predictions() -> Iterator[tuple[Doc, Doc, Recognized | None]]:
            nonlocal seconds
            for (_, _, folder), of_run in zip(self.runs, rows, strict=True):
                runner = Runner(load_pipeline(folder / MODEL))
                log_probs: dict[int, LogProbs] = {}
                made = runner.run([documents[row] for row in of_run])
                for row, (reference, predicted, recognized) in zip(of_run, made, strict=True):
                    if component is not None and recognized is not None:
                        log_probs[int(row)] = recognized.log_probs
                        annotated.append(
                            AnnotatedDocument.of(component, *recognized[:2], reference)
                        )
                    yield reference, predicted, recognized
                seconds += runner.seconds
                if log_probs:
                    write_log_probs(folder / LOG_PROBS, log_probs)

        evaluation = count_predictions(
            *(predictions(), references, component), training_mentions=self.manifest["mentions"]
        )
        metrics = metrics_of(
            replace(evaluation, seconds=seconds),
            model=self.output,
            data=self.corpus,
            copies=len(self.parts["seeds"]),
        )
        self.tell("calibrating each fold by the others", total, total)
        folds = np.concatenate(
            [np.full(len(of), fold) for (_, fold, _), of in zip(self.runs, rows, strict=True)]
        )
        metrics["folds"] = {
            "number": self.parts["folds"],
            "seeds": self.parts["seeds"],
            "epochs": self.manifest["epochs"],
            "planned_epochs": self.manifest["planned_epochs"],
            **_spread(evaluation.counts, folds),
            "reliability": _reliability(annotated, folds, once=len(documents)),
        }
        text = json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False)
        write_text(self.output / METRICS, text + "\n")
        self._note(finished=True)
        return metrics

    def _note(self, **entries: Any) -> None:
        self.manifest |= entries
        write_manifest(self.output, self.manifest)


def _keep(nlp: Language, dev: Sequence[Doc], folder: Path, epoch: int) -> None:
    """Write the pipeline as it is at the end of an epoch, and its counts on dev documents."""
    counts = evaluate_pipeline(nlp, dev).counts
    scores, performance = entity_scores(counts.entities), nlp.meta.setdefault("performance", {})
    performance.update({name: scores[name] for name in performance if name in scores})
    save_pipeline(nlp, folder / EPOCH.format(epoch))
    write_text(folder / EPOCH_COUNTS.format(epoch), json.dumps(counts.to_dict()) + "\n")


def _pooled(counts: Sequence[EvaluationCounts]) -> EntityCounts:
    """Counts of the documents of all folds."""
    entities = [of.entities for of in counts]
    mentions = [of.mentions for of in entities if of.mentions is not None]
    return EntityCounts(
        DocumentCounts.concatenate([of.spans for of in entities]),
        DocumentCounts.concatenate([of.tokens for of in entities]),
        DocumentCounts.concatenate(mentions) if mentions else None,
    )


def _spread(counts: EvaluationCounts, fold_of: NDArray[np.intp]) -> dict[str, Any]:
    """How far scores differ between folds, over all types (``spread``) and by type (``types``).

    Returns:
        Of each score the smallest and largest value of a fold (``min``, ``max``) and the standard
        deviation between folds (``sd``, with n - 1); None where no fold defines it. Of a type it is
        its F1 over the folds whose gold has it.
    """
    of_fold = (fold_of == np.arange(fold_of.max() + 1)[:, None]).astype(np.int64)
    spans = counts.entities.mentions or counts.entities.spans
    by_type = dict(zip(spans.names, label_f(spans.totals(of_fold)).T, strict=True))
    return {
        "spread": {
            name: _range(values) for name, values in evaluation_statistics(counts, of_fold).items()
        },
        "types": {label: _range(values) for label, values in by_type.items()},
    }


def _range(values: NDArray[np.float64]) -> dict[str, float] | None:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    sd = defined.std(ddof=1) if len(defined) > 1 else 0.0
    return {"min": float(defined.min()), "max": float(defined.max()), "sd": float(sd)}


def _reliability(
    documents: Sequence[AnnotatedDocument], fold_of: NDArray[np.intp], *, once: int
) -> dict[str, Any] | None:
    """How far probabilities are from frequencies, raw and calibrated; see `held_out.reliability`.

    Args:
        documents: all of them, as often as there are seeds.
        fold_of: the fold of each. *Shape:* ``(documents,)``.
        once: their number, each counted once.

    Returns:
        ``raw`` and ``cross_fitted``, in which each fold is calibrated by the others; None without
        probabilities.
    """
    if not documents:
        return None
    component = documents[0].component
    with_pairs: list[AnnotatedDocument] = []
    for start in range(0, len(documents), once):
        part = slice(start, start + once)
        with_pairs += with_pairs_of_other_folds(documents[part], fold_of[part])
    fit = fit_calibration(
        with_pairs,
        component.statistics.counts,
        fold_of=fold_of.tolist(),
        transitions=component.transitions is None,
    )
    found = {"raw": reliability(fit.documents, None)}
    if fit.held_out:
        found["cross_fitted"] = reliability(fit.documents, fit.held_out)
    return {
        name: {score: None if math.isnan(value) else value for score, value in of.items()}
        for name, of in found.items()
    }
