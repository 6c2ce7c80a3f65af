"""What a packaged model says of itself: what it was made of, its licence and its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError
from ..model.encoder import INSTALLED_ENCODERS

#: Said where nobody stated a licence: silence is not permission.
NOT_STATED = "license not stated"


def corpus_card(folder: Path) -> dict[str, str]:
    """Name, licence and address of a corpus, from the front matter of its README.md.

    The front matter is that of dataset cards: "key: value" lines between two lines "---", of which
    pretty_name, license and url are read.

    Returns:
        Name, license and url; the folder's name and "license not stated" without a README.md.

    Raises:
        ClinicalNerError: no such folder, front matter that does not end, or a line in it without a
            colon.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder. Name a folder with pairs of NAME.txt and NAME.ann files."
        )
    card = {"name": folder.resolve().name, "license": NOT_STATED, "url": ""}
    path = folder / "README.md"
    if not path.is_file():
        return card
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if not lines or lines[0] != "---":
            return card
        values = {}
        for line in lines[1 : lines.index("---", 1)]:
            key, colon, value = line.partition(":")
            if line.strip() and not colon:
                raise ValueError
            values[key.strip()] = value.strip().strip("'\"")
    # Not UTF-8, no second "---", or a line without a colon.
    except ValueError:
        raise InputError(
            f"{path}: the corpus card is not a list of 'key: value' lines between two lines '---'."
        ) from None
    for key, source in (("name", "pretty_name"), ("license", "license"), ("url", "url")):
        card[key] = values.get(source) or card[key]
    return card


def sources(card: dict[str, str], encoders: list[str]) -> list[dict[str, str]]:
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


def out_of_fold_scores(metrics: dict[str, Any]) -> dict[str, Any]:
    """Scores of folds, as those of a model that is calibrated on their predictions.

    What its probabilities are worth is measured on each fold, calibrated by the others.

    Args:
        metrics: what metrics.json of ``clinical-ner folds`` holds.
    """
    reliability = (metrics["folds"].get("reliability") or {}).get("cross_fitted")
    return {**metrics, **reliability, "calibrated": True} if reliability else metrics


def scored_on(scores: dict[str, Any], made_of_all: bool) -> str:
    """What the documents are that the scores are of.

    Args:
        scores: those of metrics.json.
        made_of_all: whether the model is one of ``clinical-ner final``.
    """
    documents = scores["documents"]
    if "folds" not in scores:
        return f"{documents} documents that took no part in training"
    text = (
        f"all {documents} documents, each predicted by a model of {scores['folds']['number']} "
        "folds that was trained without it"
    )
    if made_of_all:
        text += " (this model was made of all of them, and none was left to test it on)"
    return text


def model_readme(meta: dict[str, Any], scores: dict[str, Any], card: dict[str, str]) -> str:
    """The README.md of a packaged model, from meta.json, metrics.json and ``corpus_card``."""
    package = f"{meta['lang']}_{meta['name']}"
    per_type = scores["spans_per_type" if "spans_f" in scores else "ents_per_type"]
    rows = "\n".join(
        f"| {_cell(label)} | {_number(row['p'])} | {_number(row['r'])} | {_number(row['f'])} "
        f"| {row['support']} | {row['predicted']} |"
        for label, row in sorted(per_type.items(), key=lambda item: (-item[1]["support"], item[0]))
    )
    made_of = "\n".join(f"- {s['name']}: {s['license']}" for s in meta["sources"])
    return f"""# {package} {meta["version"]}

{meta["description"]}

```python
import spacy

nlp = spacy.load("{package}")
doc = nlp("She was started on oral prednisone 40 mg daily.")
for entity in doc.ents:
    print(entity.start_char, entity.end_char, entity.label_)
```

## Scores

Strict entity scores on {card["name"]}, of {scored_on(scores, "final" in meta)}:
micro-F {_number(scores["ents_f"])}, macro-F {_number(scores["ents_macro_f"])} over
{scores["ents_macro_types"]} types. On other notes expect less.{_all_mentions(scores)}

| type | precision | recall | F1 | support | predicted |
|---|---|---|---|---|---|
{rows}

## Probabilities

{_probabilities(scores)}

## Made of

{made_of}

## Training notes

{_training_notes(meta["training_notes"])}

Not a medical device.
"""


def _training_notes(about: dict[str, Any]) -> str:
    """What a model gives away of its notes, for who answers for their protection."""
    if about["searched"]:
        text = (
            "The files of this package were searched for the words of the corpus (clinical-ner "
            "audit), and hold none."
        )
    else:
        text = "The files of this package were not searched for words of the training notes."
    measured = about["membership"]
    if measured is None:
        return text + " Whether its probabilities give training notes away was not measured."
    knowing = {"most_probable_tag": "knows both texts", "gold_tag": "knows their annotation, too"}
    rates = ", and ".join(
        f"in {100 * measured[name]['auc']:.0f} of 100 pairs (95 % interval "
        f"{' to '.join(f'{100 * end:.0f}' for end in measured[name]['interval'])}) for who {knows}"
        for name, knows in knowing.items()
    )
    before = measured["before_calibration"]
    raw = (
        ""
        if before is None
        else "; before calibration "
        + " and ".join(f"{100 * before[name]['auc']:.0f}" for name in knowing)
    )
    return f"""{text}

Can the model tell whether somebody's note was used to train it? Of a note that was used and one
that was not, its probabilities point to the right one {rates}; 50 is chance, 100 certainty{raw}.
Measured on {measured["members"]} training notes and {measured["others"]} others."""


def _all_mentions(scores: dict[str, Any]) -> str:
    """What is said of a model with overlaps besides, nothing of others."""
    if "spans_f" not in scores:
        return ""
    beyond = scores["beyond_flat_mentions"]
    recall = f", {_number(scores['recall_beyond_flat'])} % of them found" if beyond else ""
    return f"""

These scores are of `doc.ents`. Mentions of different types may overlap: `doc.spans` holds all that
are found, `doc.ents` the longest ones that do not overlap. Strict scores over all mentions:
micro-F {_number(scores["spans_f"])}, macro-F {_number(scores["spans_macro_f"])} over
{scores["spans_macro_types"]} types. {beyond} mentions are beyond flat entities{recall}. The table
is over all mentions."""


def _probabilities(scores: dict[str, Any]) -> str:
    """What the probabilities of the model are worth, on the held-out documents."""
    if scores["calibrated"] is None:
        return "The loss of this model leaves no probability: `span._.probability` is None."
    what = "mentions" if "spans_f" in scores else "entities"
    errors = (
        f"expected calibration error {_number(scores['ents_ece'])} points for the {what} found, "
        f"{_number(scores['token_ece'])} points for the tags of tokens, on the same documents. On "
        "notes of another kind expect more."
    )
    if scores["calibrated"]:
        return f"`entity._.probability` is calibrated: {errors}"
    return f"`entity._.probability` is not calibrated (clinical-ner calibrate does it): {errors}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _cell(label: str) -> str:
    return label.replace("|", r"\|")
