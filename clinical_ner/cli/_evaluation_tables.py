"""The scores of an evaluation as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from ..scoring.evaluation import RARE_MENTIONS
from ._shared import columns, number

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


def content(metrics: Mapping[str, Any]) -> Iterator[Table | str]:
    """The tables and lines of an evaluation."""
    yield _overall_table(metrics)
    yield _type_table(metrics)
    yield from _mention_lines(metrics)
    yield from _notes(metrics)


def _overall_table(metrics: Mapping[str, Any]) -> Table:
    """The scores over all types with their intervals, and those before calibration beside them."""
    title = f"{metrics['documents']} documents, {metrics['tokens']} tokens"
    before = metrics["before_calibration"]
    right = ("Value", "95 % interval", *(["Not calibrated"] if before is not None else []))
    title = f"{title}, {metrics['words_per_second']:.0f} tokens per second"
    table = columns("Score", right=right, title=title)
    for name, score in TITLES.items():
        if name not in ALWAYS and metrics[name] is None:
            continue
        interval = metrics["intervals"][name]
        ends = "n/a" if interval is None else " to ".join(number(end, 3) for end in interval)
        if name == "ents_macro_f":
            score = f"{score} ({metrics['ents_macro_types']} types)"
        if name == "ents_macro_f_rare":
            score = f"{score} ({metrics['ents_macro_rare_types']} types)"
        row = [score, number(metrics[name], 3), ends]
        if before is not None:
            row.append(number(before[name], 3) if name in before else "")
        table.add_row(*row)
    return table


def _type_table(metrics: Mapping[str, Any]) -> Table:
    """The scores of each type, the commonest in gold first."""
    keys = ("p", "r", "f") if metrics["calibrated"] is None else ("p", "r", "f", "ap")
    headers = ("P", "R", "F1", "AP")[: len(keys)]
    table = columns("Type", right=(*headers, "Support", "Predicted"), title="Per type")
    per_type: Mapping[str, Mapping[str, Any]] = metrics["ents_per_type"] or {}
    for label, of in sorted(per_type.items(), key=lambda item: (-item[1]["support"], item[0])):
        numbers = [number(of[key], 3) for key in keys]
        table.add_row(Text(label), *numbers, str(of["support"]), str(of["predicted"]))
    return table


def _mention_lines(metrics: Mapping[str, Any]) -> list[str]:
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


def _notes(metrics: Mapping[str, Any]) -> list[str]:
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
