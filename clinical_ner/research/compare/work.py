"""Training and evaluating the runs of a comparison, as far as they are not done yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...evaluation.evaluate import metrics_of, predict
from ...evaluation.runner import recognizer_of
from ...files import write_text
from ...fitting.add_neighbours import add_neighbours
from ...training.recipes import NEIGHBOURS
from ...training.train import initialize, train, training_settings
from ...training.training_run import RECORD, logged
from .runs import Run, without_neighbours

#: What adding neighbours to a model has shown on dev.
NEIGHBOURS_REPORT = "neighbours.json"


@dataclass(frozen=True)
class Work:
    """What all runs share.

    Attributes:
        files: the .spacy files of train, dev and test.
        mentions: mentions by type in train.
        epochs: in place of the recipes', if not 0 and not empty.
        encoder: see `epochs`.
        gpu_id: GPU, or -1 for the CPU.
        say: told of every step.
    """

    files: Mapping[str, Path]
    mentions: Mapping[str, int]
    epochs: int
    encoder: str
    gpu_id: int
    say: Callable[[str], None]

    def check(self, runs: Sequence[Run]) -> None:
        """Initialize every recipe that is still to be trained, once, and forget the result.

        It takes seconds and finds what would otherwise end the comparison after hours: labels,
        losses, batchers or encoders that do not fit.

        Raises:
            ClinicalNerError: one does not, with the recipe's file named.
        """
        checked: set[str] = set()
        for run in runs:
            if run.is_trained or run.recipe.name in checked:
                continue
            checked.add(run.recipe.name)
            self.say(f"checking {run.recipe.name}")
            settings = training_settings(
                self.files["train"],
                self.files["dev"],
                encoder=self.encoder,
                epochs=self.epochs,
                seed=run.seed,
            )
            nlp = initialize(run.recipe, settings, gpu_id=self.gpu_id)
            if run.recipe.neighbours and recognizer_of(nlp) is None:
                raise InputError(
                    f"{run.recipe.path}: cannot be used with {NEIGHBOURS}, which needs one "
                    "clinical_ner component whose loss leads back to the empirical "
                    "probability. Omit the suffix."
                )

    def finish(self, run: Run, part: str, prior_strengths: Sequence[float]) -> None:
        """Train and evaluate a run, as far as it is not done.

        Args:
            run: that is trained.
            part: of the data, that is scored.
            prior_strengths: further decisions.
        """
        if run.recipe.neighbours:
            self._train(without_neighbours(run))
            self._add_neighbours(run)
        else:
            self._train(run)
        if run.is_evaluated(part, prior_strengths):
            return
        self.say(f"evaluating {run.name} on {part}")
        evaluation = predict(
            str(run.model),
            self.files[part],
            gpu_id=self.gpu_id,
            training_mentions=self.mentions,
            prior_strengths=prior_strengths,
        )
        metrics = metrics_of(evaluation, model=str(run.model), data=self.files[part])
        metrics |= {
            "recipe": run.recipe.name,
            "training_seed": run.seed,
            "training_words_per_second": run.words_per_second,
        }
        run.write_result(part, evaluation, metrics)

    def _train(self, run: Run) -> None:
        if run.is_trained:
            return
        self.say(f"training {run.name}")
        config = run.begin()
        with logged(run.folder):
            train(
                config,
                run.folder,
                train_path=self.files["train"],
                dev_path=self.files["dev"],
                encoder=self.encoder,
                epochs=self.epochs,
                seed=run.seed,
                gpu_id=self.gpu_id,
            )

    def _add_neighbours(self, run: Run) -> None:
        if run.is_trained:
            return
        self.say(f"adding neighbours to {run.name}")
        trained = without_neighbours(run)
        run.begin()
        report = add_neighbours(
            *(str(trained.model), self.files["train"], self.files["dev"], run.model),
            gpu_id=self.gpu_id,
        )
        write_text(run.folder / NEIGHBOURS_REPORT, json.dumps(report, indent=2) + "\n")
        # Last, since it is the sign that all is done; the training was that of the other run.
        record = json.loads((trained.folder / RECORD).read_text(encoding="utf-8"))
        write_text(run.folder / RECORD, json.dumps(record, indent=2) + "\n")
