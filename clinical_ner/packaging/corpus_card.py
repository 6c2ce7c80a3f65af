"""What the README.md of a corpus says of it, and how its guideline defines the labels."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from ..errors import InputError, shown_label
from ..files import read_lines

#: Said where nobody stated a licence: silence is not permission.
NOT_STATED = "license not stated"

#: What separates the cells of a Markdown table.
_BAR = re.compile(r"(?<!\\)\|")


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
    values = _front_matter(folder)
    return {
        "name": values.get("pretty_name") or folder.resolve().name,
        "license": values.get("license") or NOT_STATED,
        "url": values.get("url") or "",
    }


def guideline_of(folder: Path) -> Path | None:
    """The annotation guideline of a corpus: "guideline" in the front matter of its README.md.

    Raises:
        ClinicalNerError: see `corpus_card`; and if the guideline is not where it is said to be.
    """
    named = _front_matter(folder).get("guideline")
    if not named:
        return None
    path = folder / named
    if not path.is_file():
        raise InputError(
            f"{folder / 'README.md'}: names {path} as guideline, and there is no such file. Put it "
            "there, correct the line, or omit it."
        )
    return path


def read_definitions(path: Path, labels: Collection[str]) -> dict[str, str]:
    """Definitions of labels, from the rows of tables in a text.

    A row is a line of a Markdown table, or cells separated by tabs: the label first, its definition
    next. Other cells, and rows and lines of other things, are ignored.

    Args:
        path: the file, such as an annotation guideline.
        labels: those that are looked for.

    Returns:
        By label, in the order of the file; not for every label.

    Raises:
        ClinicalNerError: the file cannot be read, defines none of the labels, or defines one twice.
    """
    found: dict[str, str] = {}
    for number, line in read_lines(path):
        row = line.strip()
        cells = _BAR.split(row)[1:] if row.startswith("|") else row.split("\t")
        label, definition, *_ = [cell.strip().replace(r"\|", "|") for cell in (*cells, "", "")]
        if label not in labels or not definition:
            continue
        if found.setdefault(label, definition) != definition:
            raise InputError(
                f"{path}, line {number}: defines {shown_label(label)} a second time. Leave one "
                "definition."
            )
    if not found:
        raise InputError(
            f"{path}: defines none of the model's labels. Name a file with a table, in Markdown or "
            "with tabs, whose first cell is a label and whose second is its definition."
        )
    return found


def _front_matter(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder. Name a folder with pairs of NAME.txt and NAME.ann files."
        )
    path = folder / "README.md"
    if not path.is_file():
        return {}
    values = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if lines and lines[0] == "---":
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
    return values
