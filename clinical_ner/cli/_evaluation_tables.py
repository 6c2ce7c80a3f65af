"""The scores of an evaluation as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

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
#: Scores that every pipeline has; others are left out of the table where they are undefined.
ALWAYS = tuple(TITLES)[:6]


def overall_table(metrics: Mapping[str, Any]) -> Table:
    """The scores over all types with their intervals, and those before calibration beside them."""
    title = f"{metrics['documents']} documents, {metrics['tokens']} tokens"
    table = Table(title=f"{title}, {metrics['words_per_second']:.0f} tokens per second")
    table.add_column("Score")
    table.add_column("Value", justify="right")
    table.add_column("95 % interval", justify="right")
    before = metrics["before_calibration"]
    if before is not None:
        table.add_column("Not calibrated", justify="right")
    for name, score in TITLES.items():
        if name not in ALWAYS and metrics[name] is None:
            continue
        interval = metrics["intervals"][name]
        ends = "n/a" if interval is None else " to ".join(map(_number, interval))
        if name == "ents_macro_f":
            score = f"{score} ({metrics['ents_macro_types']} types)"
        if name == "ents_macro_f_rare":
            score = f"{score} ({metrics['ents_macro_rare_types']} types)"
        row = [score, _number(metrics[name]), ends]
        if before is not None:
            row.append(_number(before[name]) if name in before else "")
        table.add_row(*row)
    return table


def type_table(metrics: Mapping[str, Any]) -> Table:
    """The scores of each type, the commonest in gold first."""
    table = Table("Type", title="Per type")
    has_probabilities = metrics["calibrated"] is not None
    for header in ("P", "R", "F1", *(["AP"] if has_probabilities else []), "Support", "Predicted"):
        table.add_column(header, justify="right")
    keys = ("p", "r", "f", "ap") if has_probabilities else ("p", "r", "f")
    per_type: Mapping[str, Mapping[str, Any]] = metrics["ents_per_type"] or {}
    for label, of in sorted(per_type.items(), key=lambda item: (-item[1]["support"], item[0])):
        numbers = [_number(of[key]) for key in keys]
        table.add_row(Text(label), *numbers, str(of["support"]), str(of["predicted"]))
    return table


def mention_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What recall is out of reach of flat entities, and what it is over all mentions, if known."""
    mentions = metrics["gold_mentions"]
    if not mentions:
        return []
    return [
        f"Recall ceiling: {100 * metrics['recall_ceiling']:.1f} % (flat entities state "
        f"{metrics['stated_mentions']:,} of {mentions:,} annotated mentions).",
        f"Recall over all annotated mentions: {100 * metrics['recall_all_mentions']:.1f} % "
        f"({metrics['found_mentions']:,} of {mentions:,}).",
    ]


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """What must be known of the probabilities, a line each; nothing without probabilities."""
    if metrics["calibrated"] is None:
        return []
    lines = []
    if not metrics["calibrated"]:
        lines.append("Probabilities are not calibrated: run clinical-ner calibrate.")
    if left_out := metrics["token_nll_left_out"]:
        lines.append(
            f"-log p leaves out {left_out} tokens whose gold tag has probability 0, since training "
            "had none of it."
        )
    return lines


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
