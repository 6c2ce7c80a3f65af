"""Texts with entities that a model found, as annotation tools import them.

What the tools export, once somebody edited it, is read by `read_texts`, with the ids of the notes.
doccano and Label Studio count UTF-16 units, as JavaScript does (issue 2290 of doccano, 1347 of
Label Studio); Prodigy and brat count code points.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

from ...files import replacing, scratch_folder, write_text
from ..mentions import AnnotatedText, Mention
from ..offsets import width
from .brat import write_brat

#: By tool, the ending of what it imports; brat has a folder.
TOOLS = {"doccano": ".jsonl", "prodigy": ".jsonl", "label-studio": ".json", "brat": ""}
#: What our keys are under, where the tool has keys of its own.
ABOUT = "review"


class Found(NamedTuple):
    """An entity that a model found: offsets in code points, type, and probability."""

    start: int
    end: int
    label: str
    probability: float | None


class PreAnnotated(NamedTuple):
    """A note for an annotation tool.

    Attributes:
        id: of the note.
        text: of the note.
        entities: in the order of the text.
        tokens: offsets of the tokens, (start, end) in code points; entities begin and end at them.
        about: why the note is to be annotated, for JSON.
    """

    id: str
    text: str
    entities: Sequence[Found]
    tokens: Sequence[tuple[int, int]]
    about: Mapping[str, Any]


def write_preannotated(
    notes: Sequence[PreAnnotated], output: Path, tool: str, *, labels: Sequence[str], model: str
) -> list[Path]:
    """Write notes, in their order, for a tool.

    Args:
        notes: no two of one id; those of brat are file names.
        output: the file, or for brat the folder, which is absent or empty.
        tool: of TOOLS.
        labels: all types that an annotator can choose from.
        model: name and version of what found the entities.

    Returns:
        What was written: the output, and for Label Studio the labelling interface beside it, to be
        pasted into the settings of the project. brat's annotation.conf is in its folder.

    Raises:
        ClinicalNerError: something cannot be written.
    """
    if tool == "brat":
        _write_brat(notes, output, labels)
        return [output]
    if tool == "label-studio":
        tasks = [_label_studio(note, model) for note in notes]
        write_text(output, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
        interface = output.with_suffix(".xml")
        write_text(interface, _interface(labels))
        return [output, interface]
    record = _doccano if tool == "doccano" else _prodigy
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as to:
        to.writelines(json.dumps(record(note), ensure_ascii=False) + "\n" for note in notes)
    return [output]


def _doccano(note: PreAnnotated) -> dict[str, Any]:
    """A record whose other keys doccano keeps, and exports again."""
    utf16 = _utf16(note.text)
    return {
        "id": note.id,
        "text": note.text,
        "label": [[utf16(of.start), utf16(of.end), of.label] for of in note.entities],
        # Read by `read_texts`.
        "offsets": "utf-16",
        "probability": [of.probability for of in note.entities],
        ABOUT: dict(note.about),
    }


def _prodigy(note: PreAnnotated) -> dict[str, Any]:
    """A task of ner.manual, which needs the tokens."""
    starts, ends = ([of[i] for of in note.tokens] for i in (0, 1))
    return {
        "text": note.text,
        "offsets": "code-points",
        "tokens": [
            {
                "text": note.text[start:end],
                "start": start,
                "end": end,
                "id": number,
                "ws": note.text[end : end + 1] == " ",
            }
            for number, (start, end) in enumerate(note.tokens)
        ],
        "spans": [
            {
                "start": of.start,
                "end": of.end,
                "token_start": starts.index(of.start),
                "token_end": ends.index(of.end),
                "label": of.label,
                "score": of.probability,
            }
            for of in note.entities
        ],
        "meta": {"id": note.id, **note.about},
    }


def _label_studio(note: PreAnnotated, model: str) -> dict[str, Any]:
    """A task with a prediction. Its own id is lost at the import, "meta" is not."""
    utf16 = _utf16(note.text)
    scores = [of.probability for of in note.entities if of.probability is not None]
    return {
        "data": {"text": note.text},
        "meta": {"id": note.id, ABOUT: dict(note.about)},
        "predictions": [
            {
                "model_version": model,
                "score": sum(scores) / len(scores) if scores else None,
                "result": [
                    {
                        "id": f"T{number}",
                        "from_name": "label",
                        "to_name": "text",
                        "type": "labels",
                        "score": of.probability,
                        "value": {
                            "start": utf16(of.start),
                            "end": utf16(of.end),
                            "text": note.text[of.start : of.end],
                            "labels": [of.label],
                        },
                    }
                    for number, of in enumerate(note.entities, start=1)
                ],
            }
        ],
    }


def _interface(labels: Sequence[str]) -> str:
    """Label Studio's labelling interface, with the names that the predictions have."""
    choices = "\n".join(f"    <Label value={quoteattr(label)}/>" for label in labels)
    return (
        f'<View>\n  <Labels name="label" toName="text">\n{choices}\n  </Labels>\n'
        '  <Text name="text" value="$text"/>\n</View>\n'
    )


def _write_brat(notes: Sequence[PreAnnotated], folder: Path, labels: Sequence[str]) -> None:
    """Write brat's pairs of files, the probability of each mention in a note about it."""
    with scratch_folder(folder) as scratch:
        made = scratch / folder.name
        write_brat((_annotated(note) for note in notes), made)
        for note in notes:
            remarks = [
                f"#{number}\tAnnotatorNotes T{number}\tprobability {of.probability:.4f}\n"
                for number, of in enumerate(note.entities, start=1)
                if of.probability is not None
            ]
            with (made / f"{note.id}.ann").open("a", encoding="utf-8", newline="\n") as file:
                file.writelines(remarks)
        sections = "".join(f"[{name}]\n\n" for name in ("relations", "events", "attributes"))
        write_text(made / "annotation.conf", "\n".join(["[entities]", *labels, "", sections]))
        made.rename(folder)


def _annotated(note: PreAnnotated) -> AnnotatedText:
    mentions = tuple(
        Mention(f"T{number}", of.label, ((of.start, of.end),))
        for number, of in enumerate(note.entities, start=1)
    )
    return AnnotatedText(id=note.id, text=note.text, mentions=mentions)


def _utf16(text: str) -> Callable[[int], int]:
    """From code points to UTF-16 units: one more for every character behind the first 65536."""
    beyond = [place for place, of in enumerate(text) if width(of, "utf-16") == 2]
    return lambda offset: offset + bisect_left(beyond, offset)
