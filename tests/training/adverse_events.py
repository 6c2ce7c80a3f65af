"""Made notes in which most mentions lie in others, as in corpora of adverse drug events.

A Subject holds an Age, a Gender and sometimes a Race; a Treatment holds a Drug with its Dosage,
Frequency and Route, or is nothing but a Drug; an Effect may hold its Severity.
"""

from __future__ import annotations

import random
from pathlib import Path

from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.mentions import AnnotatedText, Mention

#: Types that are never a mention on their own; of these, Race is the rare one.
NESTED = ("Age", "Dosage", "Drug", "Frequency", "Gender", "Race", "Route", "Severity")
OUTER = ("Effect", "Subject", "Treatment")
#: Share of the subjects whose race is said.
RACE = 0.06

_GENDERS = ("man", "woman", "boy", "girl", "male", "female")
_RACES = ("white", "black", "Asian", "Hispanic", "Caucasian")
_DRUGS = (
    "amoxicillin", "carbamazepine", "cisplatin", "clozapine", "heparin", "ibuprofen", "lithium",
    "methotrexate", "phenytoin", "prednisone", "rifampicin", "warfarin",
)  # fmt: skip
_ROUTES = ("oral", "intravenous", "topical", "subcutaneous")
_FREQUENCIES = ("daily", "twice daily", "every 8 hours", "once a week")
_SEVERITIES = ("mild", "severe", "fatal", "life-threatening")
_EFFECTS = (
    "skin rash", "liver failure", "neutropenia", "hearing loss", "seizures", "acute pancreatitis",
    "hyponatremia", "toxic epidermal necrolysis",
)  # fmt: skip
#: Sentences; a name in capitals is a mention, made by `_part`.
_SENTENCES = (
    "SUBJECT developed EFFECT after TREATMENT .",
    "We report EFFECT in SUBJECT who was given TREATMENT .",
    "TREATMENT was followed by EFFECT within DAYS days .",
    "SUBJECT had no history of allergy .",
    "The symptoms resolved in DAYS days , and the laboratory values were normal .",
)

#: Words with the type that they have, or None.
_Words = list[tuple[str, str | None]]


def note(name: str, seed: int, *, sentences: int = 4) -> AnnotatedText:
    """A note of made sentences with all its mentions, the outer ones first."""
    rng = random.Random(seed)
    text = ""
    mentions: list[Mention] = []
    for _ in range(sentences):
        for word in rng.choice(_SENTENCES).split():
            outer, words = _part(word, rng)
            start = len(text)
            inner = []
            for piece, label in words:
                if label is not None:
                    inner.append((label, len(text), len(text) + len(piece)))
                text += piece + " "
            whole = [] if outer is None else [(outer, start, len(text) - 1)]
            for label, *place in whole + inner:
                mentions.append(Mention(f"T{len(mentions) + 1}", label, ((place[0], place[1]),)))
    return AnnotatedText(name, text, tuple(mentions))


def write_notes(folder: Path, number: int, *, seed: int) -> None:
    """Write notes as a flat folder of brat files."""
    write_brat([note(f"note-{seed}-{i}", 10_000 * seed + i) for i in range(number)], folder)


def _part(word: str, rng: random.Random) -> tuple[str | None, _Words]:
    """The type of what a sentence has at a place, and its words."""
    if word == "SUBJECT":
        race: _Words = [(rng.choice(_RACES), "Race")] if rng.random() < RACE else []
        age = (f"{rng.randint(18, 90)}-year-old", "Age")
        return "Subject", [("a", None), age, *race, (rng.choice(_GENDERS), "Gender")]
    if word == "TREATMENT":
        drug: _Words = [(rng.choice(_DRUGS), "Drug")]
        if rng.random() < 0.3:
            # One span with two types.
            return "Treatment", drug
        dosage = (f"{rng.choice((5, 10, 250, 500))} mg", "Dosage")
        rest = [dosage, (rng.choice(_FREQUENCIES), "Frequency")]
        return "Treatment", [(rng.choice(_ROUTES), "Route"), *drug, *rest]
    if word == "EFFECT":
        severity: _Words = [(rng.choice(_SEVERITIES), "Severity")] if rng.random() < 0.5 else []
        return "Effect", [*severity, (rng.choice(_EFFECTS), None)]
    return None, [(str(rng.randint(2, 20)) if word == "DAYS" else word, None)]
