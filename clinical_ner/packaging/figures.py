"""The figures of a model's card: which they are, of which documents, and if they agree."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spacy.language import Language

from ..errors import InputError, check_number, shown_label
from ..evaluation.runner import recognizer_of

#: Scores of metrics.json that the wheel's meta.json repeats.
SCORES = (
    "ents_p",
    "ents_r",
    "ents_f",
    "ents_macro_f",
    "ents_macro_types",
    "token_unweighted_accuracy",
    "token_unweighted_accuracy_no_o",
    "ents_per_type",
    "token_ece",
    "ents_ece",
    "ents_brier",
    "calibrated",
    "documents",
)
#: The same, of a pipeline with overlaps.
SPAN_SCORES = (
    "spans_p",
    "spans_r",
    "spans_f",
    "spans_macro_f",
    "spans_macro_types",
    "spans_per_type",
    "recall_beyond_flat",
    "beyond_flat_mentions",
)
#: What else the card shows, where the file has it.
DETAILS = (
    "before_calibration",
    "ents_macro_f_rare",
    "ents_macro_rare_types",
    "intervals",
    "mass_ratio_rarest_third",
    "prior_strength",
    "rarest_third",
)
#: What each membership attack knows of a note.
KNOWING = {"most_probable_tag": "knows both texts", "gold_tag": "knows their annotation, too"}
#: Scores of probabilities that calibration changes.
RELIABILITY = ("token_ece", "token_nll", "ents_ece", "ents_brier")
#: Largest difference of two figures that are the same: half of the last digit that a card shows.
TOLERANCE = 5e-4


def read_metrics(path: Path) -> dict[str, Any]:
    """What ``clinical-ner evaluate`` or ``folds`` wrote.

    Raises:
        InputError: the file is not that.
    """
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        scores = None
    if not isinstance(scores, dict) or not all(key in scores for key in SCORES):
        raise not_metrics(path)
    return scores


def not_metrics(path: Path) -> InputError:
    """A file that should hold scores."""
    return InputError(
        f"{path}: not a metrics file. Name the file that clinical-ner evaluate --output wrote."
    )


def read_membership(path: Path) -> dict[str, Any] | None:
    """The membership in what ``clinical-ner audit`` wrote, None where it was not measured.

    Raises:
        InputError: the file is not that.
    """
    try:
        measured: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8"))["membership"]
        if measured is not None:
            _check_membership(measured)
        return measured
    except (OSError, ValueError, LookupError, TypeError):
        raise InputError(
            f"{path}: not an audit. Name the file that clinical-ner audit --output wrote."
        ) from None


def _check_membership(measured: Mapping[str, Any]) -> None:
    """Raise LookupError, TypeError or ValueError if something that a card shows is no number."""
    before = measured["before_calibration"]
    for name in KNOWING:
        low, high = measured[name]["interval"]
        aucs = [of[name]["auc"] for of in (measured, before) if of is not None]
        for number in (low, high, *aucs, measured["members"], measured["others"]):
            check_number(name, number)


def out_of_fold_scores(metrics: dict[str, Any]) -> dict[str, Any]:
    """Scores of folds, as those of a model that is calibrated on their predictions.

    What its probabilities are worth is measured on each fold, calibrated by the others. Intervals
    of that were not measured: those of the file are of probabilities that are not calibrated.

    Args:
        metrics: what metrics.json of ``clinical-ner folds`` holds.
    """
    measured = metrics["folds"].get("reliability") or {}
    if not measured.get("cross_fitted"):
        return metrics
    intervals = {
        name: of
        for name, of in (metrics.get("intervals") or {}).items()
        if name not in (*RELIABILITY, "mass_ratio_rarest_third")
    }
    return {
        **metrics,
        **measured["cross_fitted"],
        "before_calibration": measured.get("raw"),
        "calibrated": True,
        "intervals": intervals,
        "mass_ratio_rarest_third": None,
    }


def scored_on(scores: dict[str, Any], made_of_all: bool) -> str:
    """What the documents are that the scores are of.

    Args:
        scores: those of metrics.json.
        made_of_all: whether the model is one of ``clinical-ner final``.
    """
    documents = int(scores["documents"])
    if "folds" not in scores:
        return f"{documents} documents that took no part in training"
    text = (
        f"all {documents} documents, each predicted by a model of "
        f"{int(scores['folds']['number'])} folds that was trained without it"
    )
    if made_of_all:
        text += " (this model was made of all of them, and none was left to test it on)"
    return text


def figures(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the scores that a card shows."""
    return {key: scores[key] for key in (*SCORES, *SPAN_SCORES, *DETAILS) if key in scores}


def check_same(path: Path, given: Any, own: Any) -> None:
    """Raise InputError unless the figures of a file are those that the model has of itself.

    Args:
        path: the file.
        given: its figures: numbers in tables and lists.
        own: the model's; what only one of them has is another figure, too.
    """
    of_file, of_model = dict(_flat(given)), dict(_flat(own))
    others = [
        name
        for name in sorted({*of_file, *of_model})
        if not _same(of_file.get(name), of_model.get(name))
    ]
    if others:
        shown = ", ".join(
            f"{name} ({_text(of_file.get(name))} and {_text(of_model.get(name))})"
            for name in others[:3]
        )
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise InputError(
            f"{path}: its figures are not those of the model, {shown}{more}. Name the file that "
            "the model was made with, or evaluate or package the model again."
        )


def check_of_model(path: Path, scores: Mapping[str, Any], nlp: Language) -> None:
    """Raise InputError if scores cannot be those of a pipeline; see `figures`.

    Args:
        path: the file that they are from.
        scores: those of metrics.json.
        nlp: the pipeline. Only what is known of its recognizer is compared.
    """
    found = recognizer_of(nlp)
    if found is None:
        return
    name, component = found
    per_type = scores["spans_per_type" if component.overlaps else "ents_per_type"]
    predicted = sorted(label for label, of in per_type.items() if of["predicted"])
    others = [label for label in predicted if label not in component.labels]
    # A later component may make entities of its own types.
    if others and nlp.pipe_names[-1] == name:
        reason = f"type {shown_label(others[0])} was predicted, which the model does not have"
    elif scores["calibrated"] is not (component.calibration is not None):
        reason = "either is calibrated, and not the other"
    elif scores.get("prior_strength", component.prior_strength) != component.prior_strength:
        reason = (
            f"prior_strength is {_text(scores['prior_strength'])} and {component.prior_strength:g}"
        )
    else:
        return
    raise InputError(
        f"{path}: is not of this model: {reason}. Run clinical-ner evaluate on the model."
    )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, of in value.items():
            yield from _flat(of, f"{name}.{shown_label(key)}" if name else shown_label(key))
    elif isinstance(value, list):
        for index, of in enumerate(value):
            yield from _flat(of, f"{name}.{index}")
    else:
        yield name, value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    return bool(one == other)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "none"
