"""brat standoff: a flat folder in which NAME.ann annotates NAME.txt.

Offsets are Unicode code points over the text with its own line ends: a CRLF counts as two.
Only text-bound annotations (T lines) are mentions; all other lines are counted.

Several annotators' files stand beside each other as NAME_ANNOTATOR.ann. (brat itself gives every
annotator a folder; a suffix is what teams use who share one. BioNLP's .a1 and .a2 are layers of one
annotation, not annotators.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import ClinicalNerError, InputError, shown, shown_label
from ...files import BOM, new_folder, read_text
from ..mentions import AnnotatedText, Mention, Place, cannot_hold, checked
from ..offsets import Draft, QuotedMention, Unit, agrees, is_unicode, settled, written
from .annotators import ALL_ANNOTATORS, NO_ANNOTATOR

_ID = re.compile(r"T[0-9]\S*")
_PAIR = r"-?[0-9]{1,15} -?[0-9]{1,15}"
_OFFSETS = re.compile(rf"(?:^| ){_PAIR}(?:;{_PAIR})*\Z")
_LINE_BREAK = re.compile(r"[\r\n]")
# Not what Windows forbids beside, which files that came from elsewhere may well have.
_NO_NAME = re.compile(r"^\.|[/\\\x00-\x1f]")
# Events, relations, attributes, modifications, normalizations, equivalences and notes.
_OTHER = re.compile(r"[ERAMN]\S*\t|\*\t|#")


def read_brat(
    folder: Path, *, annotator: str | None = None, offsets: Unit | None = None
) -> Iterator[AnnotatedText]:
    """Read a flat brat folder, sorted by name. Subfolders and other files are ignored.

    What other kinds of lines (E, R, A, M, N, *, #) a file holds is counted in `skipped`.

    Args:
        folder: the folder; that each .txt has its .ann and the reverse is checked at once, what is
            in the files when their document's turn comes.
        annotator: which files annotate NAME.txt. None: NAME.ann, there being no others; a name:
            NAME_<name>.ann, others' files being ignored; "-": NAME.ann, annotators' files being
            ignored; "*": all of them, each a document of its own, with the id NAME_<name> or NAME.
        offsets: what offsets count; by default code points, as brat itself, unless the texts of the
            mentions show that it is another unit.

    Raises:
        ClinicalNerError: a missing folder or partner file, for text that is not UTF-8, and for a
            line that is malformed or does not fit the text; it names the file and the line.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder. Name a folder with pairs of NAME.txt and NAME.ann files."
        )
    texts = {path.stem: path for path in folder.iterdir() if path.suffix == ".txt"}
    annotations = {path.stem: path for path in folder.iterdir() if path.suffix == ".ann"}
    if not texts:
        raise InputError(
            f"{folder}: holds no .txt file. Name the folder in which the pairs of NAME.txt and "
            "NAME.ann files lie; subfolders are not searched."
        )
    for name, path in texts.items():
        # Python puts halves of pairs for the bytes of a name that it could not decode.
        if not is_unicode(name):
            raise InputError(
                f"{path}: the file's name is not UTF-8. Rename it, since it becomes the "
                "document's id."
            )
    pairs = _pairs(folder, texts, annotations, annotator)
    return (_read_document(name, *pairs[name], offsets) for name in sorted(pairs))


def _pairs(
    folder: Path, texts: Mapping[str, Path], annotations: Mapping[str, Path], annotator: str | None
) -> dict[str, tuple[Path, Path]]:
    """Give each document's two files by its id; of what is missing, the first by name is named."""
    is_name = annotator not in (None, NO_ANNOTATOR, ALL_ANNOTATORS)
    wanted = annotator if is_name else ""
    # By the text's name and the annotator's, which is "" for a file without suffix.
    of_text: dict[str, dict[str, Path]] = {name: {} for name in texts}
    faults: dict[str, InputError] = {}
    for stem, path in annotations.items():
        name, suffix = (stem, "") if stem in texts else _name_and_annotator(stem, texts)
        if name:
            of_text[name][suffix] = path
        else:
            faults[stem] = _no_partner(path, f"{stem}.txt")
    if is_name:
        known = sorted({suffix for files in of_text.values() for suffix in files if suffix})
        if annotator not in known:
            raise InputError(
                f"{folder}: no file NAME_{annotator}.ann is there. Annotators are "
                f"{', '.join(map(shown, known)) or 'none'}."
            )
        faults.clear()
    pairs: dict[str, tuple[Path, Path]] = {}
    for name, files in of_text.items():
        others = sorted(files.keys() - {""})
        if annotator is None and others:
            first = files[others[0]].stem if "" in files else name
            faults[first] = InputError(
                f"{texts[name]}: has no {first}.{'txt' if '' in files else 'ann'} beside it, but "
                f"{', '.join(sorted(files[other].name for other in others))}. Say which "
                f"annotator's files to read: {', '.join(map(shown, others))}, - for files without "
                "suffix, or * "
                "for a document per file."
            )
        elif annotator == ALL_ANNOTATORS and files:
            pairs |= {path.stem: (texts[name], path) for path in files.values()}
        elif wanted in files:
            pairs[name] = (texts[name], files[wanted])
        else:
            partner = f"{name}_{wanted}.ann" if wanted else f"{name}.ann"
            faults[name] = _no_partner(texts[name], partner)
    if faults:
        raise faults[min(faults)]
    return pairs


def _no_partner(path: Path, partner: str) -> InputError:
    return InputError(
        f"{path}: has no {partner} beside it. Add it (an empty .ann file says that nothing is "
        "annotated), or move this file away."
    )


def _name_and_annotator(stem: str, texts: Mapping[str, Path]) -> tuple[str, str]:
    """Separate a name into that of a text and an annotator's; both are empty if it is neither's.

    Of two texts that a file may be named after (note.txt and note_1.txt; note_1_x.ann), that of the
    longer name has it.
    """
    end = len(stem)
    while (end := stem.rfind("_", 0, end)) > 0:
        if stem[:end] in texts:
            return (stem[:end], stem[end + 1 :]) if stem[end + 1 :] else ("", "")
    return "", ""


def _read_document(
    name: str, text_path: Path, ann_path: Path, offsets: Unit | None
) -> AnnotatedText:
    try:
        text, annotations = read_text(text_path), read_text(ann_path)
    except ClinicalNerError as error:
        return settled(Draft.faulty(name, error), Place(ann_path, 1))
    draft = Draft(name, text.removeprefix(BOM), units=("code-points",))
    _parse(draft, annotations.removeprefix(BOM), ann_path)
    if text.startswith(BOM):
        draft.mentions = _without_bom(draft.text, draft.mentions)
    return settled(draft, Place(ann_path, 1), offsets)


def _parse(draft: Draft, content: str, path: Path) -> None:
    seen: dict[str, int] = {}
    # Not splitlines(), which also splits at form feeds and the like inside a mention's text.
    for number, line in enumerate(content.split("\n"), start=1):
        try:
            _parse_line(draft, line.removesuffix("\r"), Place(path, number), seen)
        except ClinicalNerError as error:
            draft.faults.append(error)


def _parse_line(draft: Draft, line: str, place: Place, seen: dict[str, int]) -> None:
    """Add what a line says; `seen` has the lines of the mentions' ids."""
    if line.startswith("T"):
        quoted = _parse_text_bound(line, place)
        first = seen.setdefault(quoted.mention.id, place.line)
        if first != place.line:
            raise place.fault(
                f"{shown(quoted.mention.id)} is on line {first} already",
                "Give one of them another ID",
            )
        draft.mentions.append(quoted)
    elif _OTHER.match(line):
        draft.skipped[line[0]] += 1
    elif line.strip():
        raise place.fault(
            "not a line of brat standoff, which starts with an ID (T1, E1, R1, ...), * or # "
            "and a tab",
            "Fix or remove it",
        )


def _parse_text_bound(line: str, place: Place) -> QuotedMention:
    fields = line.split("\t", 2)
    offsets = _OFFSETS.search(fields[1]) if len(fields) == 3 else None
    if offsets is None or not _ID.fullmatch(fields[0]):
        raise place.fault(
            "malformed mention",
            "Write: ID, tab, 'LABEL START END' (or 'LABEL START END;START END'), tab, text",
        )
    label = fields[1][: offsets.start()]
    if label.split() != [label]:
        raise place.fault(
            "the label is empty or holds whitespace", "Write it as one word, with underscores"
        )
    pairs = [fragment.split(" ") for fragment in offsets[0].strip().split(";")]
    fragments = tuple((int(start), int(end)) for start, end in pairs)
    return QuotedMention(Mention(fields[0], label, fragments), fields[2], place.line)


def _without_bom(text: str, lines: list[QuotedMention]) -> list[QuotedMention]:
    """Settle whether offsets count the byte order mark, which tools do and don't.

    The mentions' own texts decide; if they fit neither way, the lines stay as they are for the
    check to point at the first bad one.
    """

    def fit(lines: list[QuotedMention]) -> bool:
        return all(agrees(text, line.mention.fragments, line.quote or "") for line in lines)

    # A mention may hold the mark itself: it then starts at 0 either way.
    moved = [line.moved(lambda offset: offset - (offset > 0)) for line in lines]
    shifted = [replace(line, quote=(line.quote or "").removeprefix(BOM)) for line in moved]
    return shifted if not fit(lines) and fit(shifted) else lines


def write_brat(documents: Iterable[AnnotatedText], folder: Path) -> None:
    """Write texts with all their mentions as pairs of NAME.txt and NAME.ann.

    Mentions keep their ids if all of a document's are brat's (T1, T2, ...), otherwise they are
    numbered again. A line break inside a mention's own text is written as a space.

    Args:
        documents: they may come from a generator, one being held at a time; ids become file names.
        folder: where to write; it must be absent or empty.

    Raises:
        ClinicalNerError: out leaving a folder, if it cannot be written, for an id that is no file
            name, for a label that is empty or holds whitespace, for two documents of one id, and
            for a text whose annotation is unusable.
    """
    with new_folder(folder) as temporary:
        for document in checked(documents, folder):
            if _NO_NAME.search(document.id) or not 0 < len(document.id.encode()) <= 200:
                raise cannot_hold(
                    folder, document.id, "its id is not a file name", "Give it another id."
                )
            lines = [_line(document, id, mention, folder) for id, mention in _with_ids(document)]
            # A text may start with the mark that readers take away: it gets another.
            mark = BOM if document.text.startswith(BOM) else ""
            content = (mark + document.text).encode("utf-8")
            (temporary / f"{document.id}.txt").write_bytes(content)
            (temporary / f"{document.id}.ann").write_bytes("".join(lines).encode("utf-8"))


def _with_ids(document: AnnotatedText) -> Iterator[tuple[str, Mention]]:
    ids = [mention.id for mention in document.mentions]
    if len(set(ids)) < len(ids) or not all(_ID.fullmatch(id) for id in ids):
        ids = [f"T{number}" for number in range(1, len(ids) + 1)]
    return zip(ids, document.mentions, strict=True)


def _line(document: AnnotatedText, id: str, mention: Mention, folder: Path) -> str:
    if mention.label.split() != [mention.label]:
        label = shown_label(mention.label)
        problem = f"the label '{label}' of {shown(mention.id)} is empty or holds whitespace"
        raise cannot_hold(folder, document.id, problem, "Rename it with --label-map.")
    quote = " ".join(document.text[start:end] for start, end in mention.fragments)
    offsets = written(mention.fragments)
    return f"{id}\t{mention.label} {offsets}\t{_LINE_BREAK.sub(' ', quote)}\n"
