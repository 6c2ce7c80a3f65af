"""The overall scores of an evaluation in words, as its tables and its report show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..scoring.evaluation import RARE_MENTIONS

TITLES = {
    "ents_p": "precision, micro",
    "ents_r": "recall, micro",
    "ents_f": "F1, micro",
    "ents_macro_f": "F1, macro",
    "token_unweighted_accuracy": "unweighted accuracy of tokens",
    "token_unweighted_accuracy_no_o": "the same without O",
    "ents_macro_f_rare": f"F1, macro, under {RARE_MENTIONS} training mentions",
    "ents_micro_ap": "average precision, micro",
    "ents_macro_ap": "average precision, macro",
    "token_ece": "ECE of tokens",
    "token_classwise_ece": "ECE of tokens, classwise",
    "token_nll": "-log p of gold tags",
    "ents_ece": "ECE of entities",
    "ents_brier": "Brier score of entities",
    "ents_missed_probability": "probability of missed entities",
    "ents_missed_brier": "Brier score of missed entities",
    "ents_missed_ece": "ECE of missed entities",
    "mass_ratio_rarest_third": "mass ratio, rarest third of types",
}
#: Scores that every pipeline has; others are left out where they are undefined.
ALWAYS = tuple(TITLES)[:6]
#: Those that a pipeline with overlaps has besides, and what its other titles say of spans.
SPAN_TITLES = {
    "spans_p": "all mentions: precision, micro",
    "spans_r": "all mentions: recall, micro",
    "spans_f": "all mentions: F1, micro",
    "spans_macro_f": "all mentions: F1, macro",
    "recall_beyond_flat": "recall of mentions that flat entities leave out",
}


class Score(NamedTuple):
    """An overall score.

    Attributes:
        name: its key in metrics.json.
        title: what it is, in words.
        value: None where undefined.
        interval: 95 %, low and high; None where undefined.
    """

    name: str
    title: str
    value: float | None
    interval: tuple[float, float] | None


def headline(metrics: Mapping[str, Any]) -> Iterator[Score]:
    """The overall scores in their order, from what metrics.json holds."""
    for name, title in _titles(metrics).items():
        if name not in ALWAYS and metrics[name] is None:
            continue
        if name in ("ents_macro_f", "spans_macro_f"):
            title = f"{title} ({metrics[name.replace('_f', '_types')]} types)"
        if name == "recall_beyond_flat":
            title = f"{title} ({metrics['beyond_flat_mentions']})"
        if name == "ents_macro_f_rare":
            title = f"{title} ({metrics['ents_macro_rare_types']} types)"
        yield Score(name, title, metrics[name], metrics["intervals"][name])


def _titles(metrics: Mapping[str, Any]) -> Mapping[str, str]:
    if "spans_f" not in metrics:
        return TITLES
    flat = {name: f"doc.ents: {TITLES[name]}" for name in TITLES if name.startswith("ents_macro_f")}
    flat |= {name: f"doc.ents: {TITLES[name]}" for name in ALWAYS[:3]}
    others = {name: title.replace("entities", "spans") for name, title in TITLES.items()}
    return {**SPAN_TITLES, **others, **flat}


def remarks(metrics: Mapping[str, Any]) -> list[str]:
    """What must be known of the scores, a line each."""
    return [*_of_mentions(metrics), *_of_probabilities(metrics)]


def _of_mentions(metrics: Mapping[str, Any]) -> list[str]:
    """What recall is out of reach of what is found, and what it is over all mentions, if known."""
    mentions = metrics["gold_mentions"]
    if not mentions:
        return []
    what = "spans that may overlap" if "spans_f" in metrics else "flat entities"
    return [
        f"Recall ceiling: {100 * metrics['recall_ceiling']:.1f} % ({what} state "
        f"{metrics['stated_mentions']:,} of {mentions:,} annotated mentions).",
        f"Recall over all annotated mentions: {100 * metrics['recall_all_mentions']:.1f} % "
        f"({metrics['found_mentions']:,} of {mentions:,}).",
    ]


def _of_probabilities(metrics: Mapping[str, Any]) -> list[str]:
    """What must be known of the probabilities, a line each; nothing without probabilities."""
    if metrics["calibrated"] is None:
        return []
    lines = []
    if "spans_f" in metrics:
        lines.append(
            "Spans are held against all mentions. Tokens are scored by the softmax over all tags, "
            "against the tags of the flat entities."
        )
    if not metrics["calibrated"] and "folds" not in metrics:
        lines.append("Probabilities are not calibrated: run clinical-ner calibrate.")
    if left_out := metrics["token_nll_left_out"]:
        lines.append(
            f"-log p leaves out {left_out} tokens whose gold tag has probability 0, since training "
            "had none of it."
        )
    return lines
