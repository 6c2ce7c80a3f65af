"""Label maps: a YAML file that renames, merges and drops the labels of a corpus.

    # every label of the left becomes the one of the right; labels not named stay as they are
    Sign_symptom: Finding
    Disease_disorder: Finding   # two to one: merged
    Coreference: null           # dropped

Names are taken at once, not one after the other: "A: B" and "B: A" swap two labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from srsly.ruamel_yaml import SafeLoader, compose
from srsly.ruamel_yaml.error import MarkedYAMLError, YAMLError
from srsly.ruamel_yaml.nodes import MappingNode, Node, ScalarNode

from ..errors import ClinicalNerError, shown_label
from ..files import BOM, read_text
from .conversion import LABEL_DROPPED, RELABELLED, ConversionRow, dropped_row
from .mentions import Mention, Place

_NULL = "tag:yaml.org,2002:null"


#: What becomes of labels, None if their mentions are dropped; labels that are not named stay.
Names = Mapping[str, str | None]


def mapped(mentions: Iterable[Mention], names: Names) -> tuple[Mention, ...]:
    """Give mentions with their new labels, those that are dropped left out."""
    found = ((mention, names.get(mention.label, mention.label)) for mention in mentions)
    return tuple(replace(mention, label=new) for mention, new in found if new is not None)


def read_rows(
    mentions: Iterable[Mention], rows: Iterable[ConversionRow], names: Names, *, document: str
) -> list[ConversionRow]:
    """Account for mentions as they were read, given the rows of those that were mapped.

    Args:
        mentions: all of a document.
        rows: one for each of ``mapped(mentions, names)``, in that order.
        names: what becomes of labels.
        document: the document's id.

    Returns:
        One row per mention, in the order given, with the label that was read.
    """
    remaining = iter(rows)
    return [
        replace(dropped_row(document, mention, LABEL_DROPPED), new_label=None)
        if names.get(mention.label, mention.label) is None
        else _renamed(next(remaining), mention.label)
        for mention in mentions
    ]


def _renamed(row: ConversionRow, label: str) -> ConversionRow:
    if row.label == label:
        return row
    if row.action == "dropped":
        return replace(row, label=label)
    return replace(row, label=label, action="changed", codes=(RELABELLED, *row.codes))


def read_label_map(path: Path) -> dict[str, str | None]:
    """Read a label map.

    Args:
        path: a YAML file, of which names may be anything that YAML holds on one line, in quotes if
            it would be something else otherwise; null, or nothing, for a label whose mentions are
            dropped.

    Raises:
        ClinicalNerError: the line, if the file cannot be read, is not UTF-8 or not YAML, holds
            anything but names, holds one twice, or none.
    """
    text = read_text(path).removeprefix(BOM)
    try:
        root = compose(text, Loader=SafeLoader)
    except MarkedYAMLError as error:
        # "from None": the parser's own error carries lines of the file.
        raise _fault(path, error.problem_mark.line + 1, "not YAML") from None
    except (YAMLError, RecursionError):
        raise _fault(path, 1, "not YAML") from None
    if root is not None and not isinstance(root, MappingNode):
        raise _fault(path, root.start_mark.line + 1, "no pair of labels")
    if root is None or not root.value:
        raise _fault(path, 1, "no label")
    names: dict[str, str | None] = {}
    lines: dict[str, int] = {}
    for key, value in root.value:
        line, new = key.start_mark.line + 1, _name(value)
        # Any, since what no format holds must be renamed.
        label = str(key.value) if isinstance(key, ScalarNode) else ""
        if not label:
            raise _fault(path, line, "what is before the colon is not a label")
        if isinstance(value, ScalarNode) and value.tag == _NULL:
            new = None
        elif new is None:
            raise _fault(
                path, line, f"what {shown_label(label)} becomes is neither a label nor null"
            )
        if label in names:
            raise _fault(path, line, f"{shown_label(label)} is on line {lines[label]} already")
        names[label], lines[label] = new, line
    return names


def _name(node: Node) -> str | None:
    """Give what a node names; as written, so that 1, no and 2024-01-01 are labels too."""
    if not isinstance(node, ScalarNode):
        return None
    name = str(node.value)
    return name if name and name == name.strip() and name.isprintable() else None


def _fault(path: Path, line: int, problem: str) -> ClinicalNerError:
    return Place(path, line).fault(
        problem,
        "Write OldName: NewName on each line, or OldName: null to drop it; put names with other "
        "signs than letters, digits and _ in quotes",
    )
