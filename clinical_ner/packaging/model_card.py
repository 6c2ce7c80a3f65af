"""The model card: what a pipeline says of its use, data, scores, limits and privacy."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from markdown_it import MarkdownIt
from spacy.language import Language

from ..errors import shown, shown_label
from ..evaluation.runner import recognizer_of
from ..files import mark
from ..model.encoder import INSTALLED_ENCODERS
from ..pipeline.info import TRAINED_WITH
from ..pipeline.loading import CARD
from ..pipeline.recognizer import ClinicalNer
from ..scoring.evaluation import RARE_MENTIONS
from .corpus_card import NOT_STATED
from .figures import KNOWING

#: What the scores are called, in their order.
TITLES = {
    "ents_p": "precision",
    "ents_r": "recall",
    "ents_f": "micro-F1",
    "ents_macro_f": "macro-F1",
    "ents_macro_f_rare": f"macro-F1 of types with under {RARE_MENTIONS} training mentions",
    "token_unweighted_accuracy": "unweighted accuracy of tokens",
    "token_unweighted_accuracy_no_o": "unweighted accuracy of tokens without `O`",
}
SPAN_TITLES = {
    "spans_p": "precision, all mentions",
    "spans_r": "recall, all mentions",
    "spans_f": "micro-F1, all mentions",
    "spans_macro_f": "macro-F1, all mentions",
    "recall_beyond_flat": "recall of mentions beyond flat entities",
}


def sources(card: Mapping[str, str], encoders: list[str]) -> list[dict[str, str]]:
    """What a model was made of, as spaCy's meta.json lists it.

    Names of encoders are public ones or those of folders.
    """
    found = [{**card, "author": ""}]
    for name in encoders:
        encoder = INSTALLED_ENCODERS.get(name)
        found.append(
            {
                "name": name,
                "license": encoder.license if encoder else NOT_STATED,
                # A name with an owner is one of the hub's.
                "url": f"https://huggingface.co/{name}" if "/" in name else "",
                "author": "",
            }
        )
    return found


def entity_types(nlp: Language) -> list[str]:
    """Labels of the components that set entities, sorted."""
    setters = [name for name in nlp.pipe_names if "doc.ents" in nlp.get_pipe_meta(name).assigns]
    return sorted({label for name in setters for label in nlp.pipe_labels.get(name, ())})


def as_html(card: str) -> str:
    """A card as HTML, to stand in a page; what looks like HTML in it is shown as text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(card)


def model_card(nlp: Language, loaded_as: str, *, packaged: bool = True) -> str:
    """The card of a pipeline in Markdown: the README.md of its wheel.

    It is made of meta.json and of what the recognizer holds: numbers, labels, and names that the
    user gave. Of no note it has text or id.

    Args:
        nlp: the pipeline. Its meta has "sources", "training_notes", and in "model_card" the
            ``scores`` (`figures.figures`), what they are ``scored_on``, and the ``definitions`` of
            labels.
        loaded_as: what `spacy.load` takes.
        packaged: whether the pipeline keeps what is said of it.

    Raises:
        TypeError, ValueError, LookupError: the scores are not numbers, or some are missing.
    """
    meta, scores = nlp.meta, nlp.meta[CARD]["scores"]
    found = recognizer_of(nlp)
    component = found[1] if found else None
    corpus = meta["sources"][0]["name"]
    about = f"{meta['description']}\n\n" if meta["description"] else ""
    return f"""# {meta["lang"]}_{meta["name"]} {meta["version"]}

{about}```python
import spacy

nlp = spacy.load({json.dumps(loaded_as)})
doc = nlp("She was started on oral prednisone 40 mg daily.")
for entity in doc.ents:
    print(entity.start_char, entity.end_char, entity.label_)
```

## Use

Marks mentions of the types below in clinical notes (language: {meta["lang"]}). It is made for
people who check what it marks, and for statistics over many notes whose errors are known. It is not
made for decisions on a patient without a person who reads the note. Not a medical device.

## Data

{_made_of(meta["sources"])}
{_training_data(component)}
Scored on {corpus}: {meta[CARD]["scored_on"]}.

## Types

{_types(nlp, component)}

## Scores

Strict entity scores in percent, on the documents named under Data, with 95 % bootstrap intervals
over documents.{_tuned_later(nlp)}

{_overall(scores)}{_all_mentions(scores)}

{_per_type(scores)}

## Probabilities

{_probabilities(meta, scores)}

## Imbalance

{_imbalance(scores, component)}

## Other notes

Scores and calibration hold for notes like those of {corpus}. On notes of another kind, place or
time expect lower scores and larger errors of the probabilities; neither was measured for this card.
Score the model on annotated notes of your own before you rely on it (`clinical-ner evaluate`).

## Training notes

{_training_notes(meta["training_notes"], meta[CARD]["definitions"])}

## How to reproduce

{_reproduce(nlp, shlex.quote(loaded_as), packaged)}

This card was {mark("card")}.
"""


def _made_of(found: list[dict[str, str]]) -> str:
    lines = [", ".join(filter(None, (of["license"], of["url"]))) for of in found]
    return "".join(f"- {of['name']}: {line}\n" for of, line in zip(found, lines, strict=True))


def _training_data(component: ClinicalNer | None) -> str:
    if component is None:
        return "What it was trained on is not stated.\n"
    known = component.statistics
    return (
        f"Trained on {known.documents:,} documents with {known.total:,.0f} labelled tokens and "
        f"{sum(known.mentions.values()):,} mentions.\n"
    )


def _types(nlp: Language, component: ClinicalNer | None) -> str:
    definitions = nlp.meta[CARD]["definitions"]
    mentions = component.statistics.mentions if component else {}
    rows = (
        (
            _cell(shown_label(label)),
            _cell(definitions.get(label, "not defined")),
            _count(mentions.get(label)),
        )
        for label in entity_types(nlp)
    )
    if definitions:
        return _table(("type", "definition", "training mentions"), rows)
    table = _table(("type", "training mentions"), ((row[0], row[2]) for row in rows))
    return f"The labels come without definitions.\n\n{table}"


def _tuned_later(nlp: Language) -> str:
    """Said where thresholds were chosen for a model that is scored by its folds."""
    if "folds" in nlp.meta[CARD]["scored_on"] and nlp.meta.get("decision"):
        return " The thresholds of the model were chosen after these scores were measured."
    return ""


def _overall(scores: Mapping[str, Any]) -> str:
    intervals = scores.get("intervals") or {}
    rows = [
        (
            title + _number_of_types(scores, name),
            _number(scores[name]),
            _interval(intervals.get(name)),
        )
        for name, title in {**TITLES, **SPAN_TITLES}.items()
        if scores.get(name) is not None or name in ("ents_f", "ents_macro_f")
    ]
    return _table(("score", "value", "95 % interval"), rows)


def _number_of_types(scores: Mapping[str, Any], name: str) -> str:
    types = scores.get(name.replace("_f_rare", "_rare_types").replace("macro_f", "macro_types"))
    return f" ({int(types)} types)" if "macro" in name and types is not None else ""


def _all_mentions(scores: Mapping[str, Any]) -> str:
    """What is said of a model with overlaps besides, nothing of others."""
    if "spans_f" not in scores:
        return ""
    return f"""

Mentions of different types may overlap: `doc.spans` holds all that are found, `doc.ents` the
longest ones that do not overlap. {int(scores["beyond_flat_mentions"])} mentions are beyond flat
entities. The next table is over all mentions."""


def _per_type(scores: Mapping[str, Any]) -> str:
    per_type = scores["spans_per_type" if "spans_f" in scores else "ents_per_type"]
    rows = (
        (
            _cell(shown_label(label)),
            *(_number(row[key]) for key in "prf"),
            row["support"],
            row["predicted"],
        )
        for label, row in sorted(per_type.items(), key=lambda of: (-of[1]["support"], of[0]))
    )
    headers = ("type", "precision", "recall", "F1", "support", "predicted")
    return _table(headers, ((*row[:4], *map(_count, row[4:])) for row in rows))


def _probabilities(meta: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    """What the probabilities of the model are worth, on the held-out documents."""
    if scores["calibrated"] is None:
        return "The loss of this model leaves no probability: `span._.probability` is None."
    what = "mentions" if "spans_f" in scores else "entities"
    state = "calibrated" if scores["calibrated"] else "not calibrated"
    fitted = [
        f", on {int(of['documents'])} documents"
        for of in (meta.get("calibration") or {}).values()
        if scores["calibrated"]
    ]
    before, intervals = scores.get("before_calibration") or {}, scores.get("intervals") or {}
    titles = {
        "ents_ece": f"expected calibration error of the {what} found",
        "ents_brier": f"Brier score of the {what} found",
        "token_ece": "expected calibration error of the tags of tokens",
    }
    rows = (
        (title, _number(scores[name]), _interval(intervals.get(name)), _number(before.get(name)))
        for name, title in titles.items()
    )
    table = _table(("in percent", "value", "95 % interval", "before calibration"), rows)
    return f"`entity._.probability` is {state}{''.join(fitted)}.\n\n{table}"


def _imbalance(scores: Mapping[str, Any], component: ClinicalNer | None) -> str:
    if component is None:
        return "How common the types are in training is not stated."
    known = component.statistics
    by_count = sorted(known.mentions.items(), key=lambda of: (-of[1], of[0]))
    (most, many), (least, few) = by_count[0], by_count[-1]
    rare = sum(number < RARE_MENTIONS for _, number in by_count)
    outside = f"{100 * known.counts[0] / known.total:.1f} %"
    ratio = scores.get("mass_ratio_rarest_third")
    interval = (scores.get("intervals") or {}).get("mass_ratio_rarest_third")
    mass = (
        ""
        if ratio is None
        else f"\n\nThe rarest third of the types got {ratio:.2f} times the probability that is "
        f"their share{_ends(interval, 1, 2)}; 1 is right."
    )
    thresholds = "".join(
        f"\n- {shown_label(label)}: {value:.4g}"
        for label, value in sorted(component.thresholds.items())
    )
    others = ", for some types another one:\n" if thresholds else "."
    return f"""`O` has {outside} of the training tokens; the types have from {few:,} mentions
({shown_label(least)}) to {many:,} ({shown_label(most)}), {rare} of {len(by_count)} under
{RARE_MENTIONS}. Loss: `{type(component.loss).__name__}`. The decision has
`prior_strength` {component.prior_strength:g} (1: as common as in training; 0: as if all tags were
equally common) and `threshold` {component.threshold:g}{others}{thresholds}{mass}"""


def _training_notes(about: Mapping[str, Any], definitions: Mapping[str, str]) -> str:
    """What a model gives away of its notes, for who answers for their protection."""
    if about["searched"]:
        text = (
            "The files of this package were searched for the words of the corpus (clinical-ner "
            "audit), and hold none"
            + (", the definitions of the types apart." if definitions else ".")
        )
    else:
        text = "The files of this model were not searched for words of the training notes."
    measured = about["membership"]
    if measured is None:
        return text + " Whether its probabilities give training notes away was not measured."
    rates = ", and ".join(
        f"in {100 * measured[name]['auc']:.0f} of 100 pairs"
        f"{_ends(measured[name]['interval'], 100, 0, '95 % interval ')} for who {knows}"
        for name, knows in KNOWING.items()
    )
    before = measured["before_calibration"]
    raw = (
        ""
        if before is None
        else "; before calibration "
        + " and ".join(f"{100 * before[name]['auc']:.0f}" for name in KNOWING)
    )
    return f"""{text}

Can the model tell whether somebody's note was used to train it? Of a note that was used and one
that was not, its probabilities point to the right one {rates}; 50 is chance, 100 certainty{raw}.
Measured on {int(measured["members"])} training notes and {int(measured["others"])} others."""


def _reproduce(nlp: Language, loaded_as: str, packaged: bool) -> str:
    versions = ", ".join(
        f"{shown(package)} {shown(version)}"
        for package, version in (nlp.meta.get(TRAINED_WITH) or {}).items()
    )
    seed = nlp.config.interpolate().get("training", {}).get("seed")
    settings = "all settings of its training" + ("" if seed is None else f", with seed {int(seed)}")
    compared = "" if not packaged else f"clinical-ner card {loaded_as} --metrics metrics.json\n"
    refused = "\n\nThe last command refuses scores that are not those of this card."
    return f"""The model's `config.cfg` holds {settings}.
Trained with: {versions or "not stated"}.

```bash
clinical-ner info {loaded_as} --verify
clinical-ner evaluate {loaded_as} TEST.spacy --output metrics.json
{compared}```{refused if packaged else ""}"""


def _table(headers: tuple[str, ...], rows: Any) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _count(value: int | None) -> str:
    return "n/a" if value is None else f"{int(value)}"


def _interval(ends: Any) -> str:
    return "n/a" if ends is None else " to ".join(_number(end) for end in ends)


def _ends(ends: Any, factor: float, digits: int, words: str = "") -> str:
    """An interval in brackets, nothing where there is none."""
    if ends is None:
        return ""
    return f" ({words}{' to '.join(f'{factor * end:.{digits}f}' for end in ends)})"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
