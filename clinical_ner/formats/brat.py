"""brat standoff: a flat folder in which NAME.ann annotates NAME.txt.

Offsets are Unicode code points over the text with its own line ends: a CRLF counts as two.
Only text-bound annotations (T lines) are mentions; all other lines are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ClinicalNerError, Errors

BOM = "\ufeff"

_ID = re.compile(r"T[0-9]\S*")
_PAIR = r"-?[0-9]{1,15} -?[0-9]{1,15}"
_OFFSETS = re.compile(rf"(?:^| ){_PAIR}(?:;{_PAIR})*\Z")
# Events, relations, attributes, modifications, normalizations, equivalences and notes.
_OTHER = re.compile(r"[ERAMN]\S*\t|\*\t|#")


@dataclass(frozen=True)
class BratMention:
    """A text-bound annotation; `fragments` are (start, end) code points, in the file's order."""

    id: str
    label: str
    fragments: tuple[tuple[int, int], ...]
    line: int

    @property
    def start(self) -> int:
        """Where the first fragment in the text starts."""
        return min(start for start, _ in self.fragments)

    @property
    def end(self) -> int:
        """Where the last fragment in the text ends."""
        return max(end for _, end in self.fragments)


@dataclass(frozen=True)
class BratDocument:
    """A text and its mentions.

    id: the file's name without its suffix.
    text: the text with its own line ends, without a byte order mark.
    mentions: the T lines in the file's order, offsets over `text`.
    other_lines: how many lines of each other kind (E, R, A, M, N, *, #) the .ann file holds.
    path: the .txt file.
    """

    id: str
    text: str
    mentions: tuple[BratMention, ...]
    other_lines: dict[str, int]
    path: Path


@dataclass(frozen=True)
class _Line:
    """A mention together with the text that its line repeats."""

    mention: BratMention
    text: str


def read_brat(folder: Path) -> Iterator[BratDocument]:
    """Read a flat brat folder, sorted by name. Subfolders and other files are left alone.

    folder: the folder; that each .txt has its .ann and the reverse is checked at once, what is in
    the files when their document's turn comes.
    Raises ClinicalNerError for a missing folder or partner file, for text that is not UTF-8, and
    for a line that is malformed or does not fit the text; it names the file and the line.
    """
    if not folder.is_dir():
        raise ClinicalNerError(Errors.E102.format(path=folder))
    texts = {path.stem: path for path in folder.iterdir() if path.suffix == ".txt"}
    annotations = {path.stem: path for path in folder.iterdir() if path.suffix == ".ann"}
    if not texts:
        raise ClinicalNerError(Errors.E103.format(path=folder))
    for name, path in texts.items():
        # Python stands surrogates for the bytes of a name that it could not decode.
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ClinicalNerError(Errors.E114.format(path=path))
    for name in sorted(texts.keys() ^ annotations.keys()):
        path, partner = (texts[name], ".ann") if name in texts else (annotations[name], ".txt")
        raise ClinicalNerError(Errors.E104.format(path=path, partner=name + partner))
    return (_read_document(texts[name], annotations[name]) for name in sorted(texts))


def _read_document(text_path: Path, ann_path: Path) -> BratDocument:
    text = _read_text(text_path)
    lines, other_lines = _parse(_read_text(ann_path).removeprefix(BOM), ann_path)
    if text.startswith(BOM):
        text = text.removeprefix(BOM)
        lines = _without_bom(text, lines)
    for line in lines:
        _check(text, line, ann_path)
    return BratDocument(
        id=text_path.stem,
        text=text,
        mentions=tuple(line.mention for line in lines),
        other_lines=other_lines,
        path=text_path,
    )


def _read_text(path: Path) -> str:
    """Decode a file without touching its line ends."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ClinicalNerError(Errors.E100.format(path=path, reason=error.strerror)) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # "from None": the decoder's own error carries the bytes of the note.
        raise ClinicalNerError(Errors.E105.format(path=path, line=line)) from None


def _parse(content: str, path: Path) -> tuple[list[_Line], dict[str, int]]:
    lines: list[_Line] = []
    other_lines: Counter[str] = Counter()
    seen: dict[str, int] = {}
    # Not splitlines(), which also splits at form feeds and the like inside a mention's text.
    for number, content_line in enumerate(content.split("\n"), start=1):
        content_line = content_line.removesuffix("\r")
        if content_line.startswith("T"):
            line = _parse_text_bound(content_line, number, path)
            first = seen.setdefault(line.mention.id, number)
            if first != number:
                raise ClinicalNerError(
                    Errors.E110.format(path=path, line=number, id=line.mention.id, first=first)
                )
            lines.append(line)
        elif _OTHER.match(content_line):
            other_lines[content_line[0]] += 1
        elif content_line.strip():
            raise ClinicalNerError(Errors.E111.format(path=path, line=number))
    return lines, dict(other_lines)


def _parse_text_bound(content: str, number: int, path: Path) -> _Line:
    fields = content.split("\t", 2)
    offsets = _OFFSETS.search(fields[1]) if len(fields) == 3 else None
    if offsets is None or not _ID.fullmatch(fields[0]):
        raise ClinicalNerError(Errors.E106.format(path=path, line=number))
    label = fields[1][: offsets.start()]
    if label.split() != [label]:
        raise ClinicalNerError(Errors.E107.format(path=path, line=number))
    fragments = []
    for fragment in offsets[0].strip().split(";"):
        start, end = fragment.split(" ")
        fragments.append((int(start), int(end)))
    return _Line(BratMention(fields[0], label, tuple(fragments), number), fields[2])


def _without_bom(text: str, lines: list[_Line]) -> list[_Line]:
    """Settle whether offsets count the byte order mark, which tools do and don't.

    The mentions' own texts decide; if they fit neither way, the lines stay as they are for the
    check to point at the first bad one.

    text: the document's text without the mark.
    """
    if all(_agrees(text, line) for line in lines):
        return lines
    shifted = [
        _Line(
            BratMention(
                id=line.mention.id,
                label=line.mention.label,
                # A mention may hold the mark itself: it then starts at 0 either way.
                fragments=tuple(
                    (start - 1 if start > 0 else start, end - 1 if end > 0 else end)
                    for start, end in line.mention.fragments
                ),
                line=line.mention.line,
            ),
            line.text.removeprefix(BOM),
        )
        for line in lines
    ]
    return shifted if all(_agrees(text, line) for line in shifted) else lines


def _check(text: str, line: _Line, path: Path) -> None:
    mention = line.mention
    for start, end in mention.fragments:
        if not 0 <= start <= end <= len(text):
            raise ClinicalNerError(
                Errors.E108.format(
                    path=path,
                    line=mention.line,
                    id=mention.id,
                    start=start,
                    end=end,
                    length=len(text),
                )
            )
    if not _agrees(text, line):
        raise ClinicalNerError(Errors.E109.format(path=path, line=mention.line, id=mention.id))


def _agrees(text: str, line: _Line) -> bool:
    """Whether a line repeats what stands at its offsets, any run of whitespace being one space."""
    fragments = line.mention.fragments
    if any(not 0 <= start <= end <= len(text) for start, end in fragments):
        return False
    return _normalized(text[start:end] for start, end in fragments) == _normalized([line.text])


def _normalized(parts: Iterable[str]) -> str:
    return " ".join(" ".join(parts).split())
