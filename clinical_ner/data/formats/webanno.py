r"""WebAnno TSV 3, which WebAnno and INCEpTION export: a document a file, a token a line.

    #FORMAT=WebAnno TSV 3.3
    #T_SP=webanno.custom.Finding|value


    #Text=No chest pain.
    1-1	0-2	No	_
    1-2	3-8	chest	Sign[1]
    1-3	9-13	pain	Sign[1]|Site[2]
    1-4	13-14	.	_

The header declares layers and their features, each with a column. A number in brackets tells which
lines are of one annotation; "_" is none, "*" one without value. Offsets count UTF-16 units. Lines
"1-3.1" are parts of tokens. Reserved characters have a backslash before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...errors import ClinicalNerError, InputError, shown
from ...files import read_lines
from ..mentions import AnnotatedText, Mention, Place
from ..offsets import Draft, QuotedMention, agrees, in_code_points, is_unicode, settled, width

FORMAT = "#FORMAT=WebAnno TSV 3"

_LAYER = re.compile(r"#T_(SP|CH|RL)=([^|]+)((?:\|[^|]*)*)")
_UNIT = re.compile(r"\d+-\d+(\.\d+)?\t(\d{1,9})-(\d{1,9})\t([^\t]*)")
_STACKED = re.compile(r"(?<!\\)\|")
_NUMBERED = re.compile(r"(?s)(.*)(?<!\\)\[(\d{1,9})\]")
_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|->|.)", re.DOTALL)
_CONTROLS = {"t": "\t", "n": "\n", "f": "\f", "r": "\r", "b": "\b"}
_KINDS = {"CH": "chain", "RL": "relation"}
#: Layers of linguistics, which every project has; of them only one holds entities.
_BUILT_IN = "de.tudarmstadt.ukp."
_ENTITY = ("NamedEntity", "value")


class _Column(NamedTuple):
    """A column of annotations; a layer without features has one, without feature."""

    place: int
    kind: str
    type: str
    feature: str | None

    @property
    def layer(self) -> str:
        """The layer's name without that of its package."""
        return self.type.rpartition(".")[2]

    @property
    def name(self) -> str:
        """As --layer names it."""
        return self.layer if self.feature is None else f"{self.layer}.{self.feature}"

    @property
    def holds_labels(self) -> bool:
        """Whether its values may be types of entities."""
        # Targets of links are types, which have dots; their roles have a prefix.
        is_link = self.feature is not None and ("." in self.feature or "ROLE_" in self.feature)
        is_known = self.type.startswith(_BUILT_IN) and (self.layer, self.feature) != _ENTITY
        return self.kind == "SP" and not is_link and not is_known


@dataclass
class _Annotation:
    label: str | None
    start: int
    end: int
    line: int


@dataclass
class _File:
    """What a file holds; offsets count UTF-16 units."""

    text: list[str] = field(default_factory=list)
    length: int = 0
    sentences: list[int] = field(default_factory=list)
    tokens: list[QuotedMention] = field(default_factory=list)
    #: For each column the annotations in order, by number where they have one.
    found: dict[int, dict[object, _Annotation]] = field(default_factory=dict)


def is_webanno(line: str) -> bool:
    """Whether it is the first line of WebAnno TSV 3."""
    return line.startswith(FORMAT)


def read_webanno(path: Path, *, layer: str | None = None) -> Iterator[tuple[Place, AnnotatedText]]:
    """Read a file, which holds one document, named like it.

    Annotations of other layers are counted, and so are relations and chains.

    Args:
        path: the file.
        layer: the layer that holds entities, and its feature, as "Finding.value"; or a layer
            without features, whose name is the label. None: the only one there is.
    """
    place = Place(path, 1)
    columns, lines = _header(path)
    chosen = _chosen(columns, layer, path)
    try:
        draft = _draft(path, _content(path, lines, columns), columns, chosen)
    except ClinicalNerError as error:
        draft = Draft.faulty(path.stem, error)
    yield place, settled(draft, place)


def _draft(path: Path, content: _File, columns: list[_Column], chosen: _Column) -> Draft:
    draft = Draft(
        path.stem, "".join(content.text), unit="utf-16", sentences=tuple(content.sentences)
    )
    if not is_unicode(draft.text):
        raise Place(path, 1).fault(
            "the text holds half of a UTF-16 pair", "Write the file as UTF-8"
        )
    for token in in_code_points(draft.text, content.tokens, "utf-16"):
        if not agrees(draft.text, token.mention.fragments, token.quote or ""):
            raise Place(path, token.line or 1).fault(
                "the token is not what the text of its sentence holds there", "Export it again"
            )
    for number, annotation in enumerate(content.found.get(chosen.place, {}).values(), start=1):
        label = chosen.layer if chosen.feature is None else annotation.label
        if not label or not is_unicode(label):
            place = Place(path, annotation.line)
            fault = place.mention_fault(f"T{number}", draft.id, f"has no {shown(chosen.name)}")
            draft.faults.append(fault)
            continue
        mention = Mention(f"T{number}", label, ((annotation.start, annotation.end),))
        draft.mentions.append(QuotedMention(mention, line=annotation.line))
    counted = {chosen.type}
    for column in columns:
        if column.type not in counted:
            counted.add(column.type)
            kind = _KINDS.get(column.kind, column.layer)
            draft.skipped[kind] += len(content.found.get(column.place, {}))
    return draft


def _header(path: Path) -> tuple[list[_Column], Iterator[tuple[int, str]]]:
    """Give the columns that a file declares, and its lines behind them."""
    lines = read_lines(path)
    if not is_webanno(next(lines, (1, ""))[1]):
        raise Place(path, 1).fault("not WebAnno TSV 3", "Export the document as WebAnno TSV 3")
    columns: list[_Column] = []
    for number, line in lines:
        if not line.startswith("#T_"):
            break
        matched = _LAYER.fullmatch(line)
        if matched is None:
            raise Place(path, number).fault("not the declaration of a layer", "Export it again")
        # A layer without features has a column all the same.
        features = [name for name in matched[3].split("|") if name] or [None]
        for feature in features:
            columns.append(_Column(len(columns), matched[1], matched[2], feature))
    return columns, lines


def _chosen(columns: list[_Column], layer: str | None, path: Path) -> _Column:
    known = [column for column in columns if column.holds_labels]
    if layer is not None:
        found = [column for column in known if layer in (column.name, column.layer, column.type)]
    else:
        found = known
    if len(found) == 1:
        return found[0]
    if not known:
        raise InputError(
            f"{path}: declares no layer of spans that may hold entities. Export the project with "
            "its layer."
        )
    names = ", ".join(shown(column.name) for column in known)
    if not found:
        raise InputError(f"{path}: declares no layer {layer}. Name one of {names}.")
    raise InputError(
        f"{path}: several layers or features may hold entities ({names}). Name one with --layer."
    )


def _content(path: Path, lines: Iterator[tuple[int, str]], columns: list[_Column]) -> _File:
    file = _File()
    header: list[str] = []
    for number, line in lines:
        place = Place(path, number)
        if line.startswith("#Text="):
            header.append(_unescaped(line.partition("=")[2]))
        if line.startswith("#") or not line:
            continue
        matched = _UNIT.match(line)
        values = line.split("\t")[3:]
        if matched is None or len(values) < len(columns):
            raise place.fault(
                f"not a token with its offsets and {len(columns)} columns of annotations",
                "Export it again",
            )
        start, end = int(matched[2]), int(matched[3])
        if header:
            _begin(file, "\n".join(header), start, place)
            header = []
        if matched[1] is None:
            token = Mention(f"token {len(file.tokens) + 1}", "", ((start, end),))
            file.tokens.append(QuotedMention(token, _unescaped(matched[4]), number))
        for column, value in zip(columns, values[: len(columns)], strict=True):
            if value != "_":
                _add(file.found.setdefault(column.place, {}), value, start, end, number)
    return file


def _begin(file: _File, sentence: str, start: int, place: Place) -> None:
    """Add a sentence's text; the format has nothing of what is between sentences."""
    gap = start - file.length
    last = file.text[-1] if file.text else ""
    if -len(last) <= gap < 0 and not last[gap:].strip():
        # Some tools write the space behind a sentence as a part of it.
        file.text[-1], file.length, gap = last[:gap], start, 0
    if gap < 0:
        raise place.fault("the sentence starts before the end of the one before", "Export it again")
    # Gaps are filled, so that an offset at fault would fill the memory.
    if start > (most := place.path.stat().st_size):
        raise place.fault(
            f"the sentence starts at {start}, beyond what the file holds ({most} bytes)",
            "Export it again",
        )
    if gap:
        file.text.append(("\n" if file.text else " ").ljust(gap))
    file.sentences.append(start)
    file.text.append(sentence)
    file.length = start + width(sentence, "utf-16")


def _add(found: dict[object, _Annotation], value: str, start: int, end: int, line: int) -> None:
    """Add the annotations of a cell, or make those longer that began on a line before."""
    for position, part in enumerate(_STACKED.split(value)):
        numbered = _NUMBERED.fullmatch(part)
        key: object = numbered[2] if numbered else (line, position)
        part = numbered[1] if numbered else part
        label = None if part in ("*", "_") else _unescaped(part)
        first = found.setdefault(key, _Annotation(label, start, end, line))
        first.end = max(first.end, end)


def _unescaped(text: str) -> str:
    def character(matched: re.Match[str]) -> str:
        escaped = matched[1]
        if len(escaped) == 5:
            return chr(int(escaped[1:], 16))
        return _CONTROLS.get(escaped, escaped)

    text = _ESCAPED.sub(character, text)
    # Version 3.1 writes both halves of a pair.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
