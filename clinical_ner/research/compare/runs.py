"""Runs of a comparison: one folder each, known by a fingerprint of all that decides its result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...evaluation.one_pass_counts import Evaluation
from ...files import sha256, write_text
from ...scoring.evaluation import EvaluationCounts
from ...training.identity import check_identity
from ...training.recipes import NEIGHBOURS, Recipe
from ...training.training_run import RECORD

#: Written before training, so that what an interrupted run left is known again.
IDENTITY = "run.json"
CONFIG = "recipe.cfg"
MODEL = "model-best"


@dataclass(frozen=True)
class Run:
    """One recipe trained with one seed.

    Attributes:
        folder: of its models and results.
        parts: SHA-256 of the config's text and of the data files, by name, and the settings of the
            training: what the fingerprint is made of.
    """

    recipe: Recipe
    seed: int
    folder: Path
    parts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of recipe and seed, and of the folder."""
        return self.folder.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the parts, in hexadecimal."""
        return sha256(json.dumps(dict(self.parts), sort_keys=True).encode())

    @property
    def is_trained(self) -> bool:
        """Whether the training came to its end."""
        return (self.folder / RECORD).is_file()

    @property
    def words_per_second(self) -> float:
        """Speed of the training."""
        return float(
            json.loads((self.folder / RECORD).read_text(encoding="utf-8"))["words_per_second"]
        )

    @property
    def model(self) -> Path:
        """The model that dev chose."""
        return self.folder / MODEL

    def result_path(self, kind: str, part: str) -> Path:
        """File of the "metrics" or the "counts" on a part of the data."""
        return self.folder / f"{kind}{part_suffix(part)}.json"

    def check(self) -> None:
        """Raise ClinicalNerError if the folder holds anything but this run, or parts of it."""
        check_identity(self.folder, IDENTITY, self.parts, what="a run")

    def begin(self) -> Path:
        """Write config and identity.

        Returns:
            The file of the config.
        """
        identity = {"fingerprint": self.fingerprint, "parts": dict(self.parts)}
        write_text(self.folder / IDENTITY, json.dumps(identity, indent=2) + "\n")
        write_text(self.folder / CONFIG, self.recipe.text + "\n")
        return self.folder / CONFIG

    def write_result(self, part: str, evaluation: Evaluation, metrics: Mapping[str, Any]) -> None:
        """Write metrics and counts of a part of the data."""
        decisions = []
        for strength, of_decision in evaluation.decisions.items():
            # A decision changes no probability, so that only what it found is written.
            whole: dict[str, Any] = of_decision.to_dict()
            found = {key: whole[key] for key in ("spans", "tokens", "mentions") if key in whole}
            decisions.append(found | {"prior_strength": strength})
        counts = {
            "fingerprint": self.fingerprint,
            "prior_strength": evaluation.prior_strength,
            "own": evaluation.counts.to_dict(),
            "decisions": decisions,
        }
        compact = json.dumps(counts, sort_keys=True, separators=(",", ":"))
        write_text(self.result_path("counts", part), compact + "\n")
        # Last: who finds the metrics finds all the rest.
        result = {**metrics, "fingerprint": self.fingerprint}
        text = json.dumps(result, indent=2, sort_keys=True, allow_nan=False)
        write_text(self.result_path("metrics", part), text + "\n")

    def is_evaluated(self, part: str, prior_strengths: Iterable[float]) -> bool:
        """Whether metrics and counts are there, with the decisions that are asked for."""
        metrics = self.result_path("metrics", part)
        if not metrics.is_file() or not self.result_path("counts", part).is_file():
            return False
        if _read(metrics).get("fingerprint") != self.fingerprint:
            return False
        own, decisions = self.read_counts(part)
        return own is None or {*prior_strengths} <= {own, *decisions}

    def read_counts(self, part: str) -> tuple[float | None, dict[float | None, EvaluationCounts]]:
        """Read what `write_result` wrote.

        Returns:
            The recipe's own prior strength, None without probabilities, and the counts by strength.

        Raises:
            ClinicalNerError: the file does not hold them.
        """
        path = self.result_path("counts", part)
        data = _read(path)
        try:
            own = data["prior_strength"]
            decisions: dict[float | None, EvaluationCounts] = {
                own: EvaluationCounts.from_dict(data["own"])
            }
            for decision in data["decisions"]:
                strength = decision["prior_strength"]
                decisions[strength] = EvaluationCounts.from_dict({**data["own"], **decision})
        except (KeyError, TypeError, ValueError) as error:
            raise _not_counts(path) from error
        return own, decisions


def plan_runs(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    output: Path,
    *,
    data: Mapping[str, Path],
    epochs: int,
    encoder: str,
) -> list[Run]:
    """All runs of a comparison, recipe by recipe.

    Args:
        recipes: what is trained.
        seeds: of the runs of each recipe.
        output: folder of the runs.
        data: the .spacy files of train, dev and test.
        epochs: in place of the recipes', if not 0 and not empty.
        encoder: see `epochs`.
    """
    content = {part: sha256(path.read_bytes()) for part, path in data.items()}
    return [
        Run(
            recipe,
            seed,
            output / f"{recipe.name}-seed{seed}",
            {
                "recipe": sha256(recipe.text.encode()),
                "neighbours": recipe.neighbours,
                "seed": seed,
                "epochs": epochs,
                "encoder": encoder,
                **content,
            },
        )
        for recipe in recipes
        for seed in seeds
    ]


def without_neighbours(run: Run) -> Run:
    """The run whose model the memory of a ``+neighbours`` run is added to."""
    name = run.recipe.name.removesuffix(NEIGHBOURS)
    recipe = Recipe(name, run.recipe.path, run.recipe.config)
    folder = run.folder.with_name(f"{name}-seed{run.seed}")
    return Run(recipe, run.seed, folder, {**run.parts, "neighbours": False})


def part_suffix(part: str) -> str:
    """What the files on a part of the data have in their names; nothing for test."""
    return "" if part == "test" else f"-{part}"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_counts(path) from error
    if not isinstance(data, dict):
        raise _not_counts(path)
    return data


def _not_counts(path: Path) -> InputError:
    return InputError(
        f"{path}: not the counts of an evaluation. Remove it, and the evaluation is made again."
    )
