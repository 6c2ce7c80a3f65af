"""What a model or a wheel gives away: words of its training notes in its files, and membership."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import spacy
from spacy.language import DEFAULT_CONFIG
from spacy.util import get_package_path, is_package

from ..data.formats.reading import read_texts
from ..data.gold import read_gold_for
from ..data.mentions import AnnotatedText
from ..errors import InputError
from ..evaluation.membership import membership
from ..files import check_not_read, check_replaceable, is_written_by, write_text, written_by
from ..model.gpu import use_gpu
from ..pipeline.loading import CARD, files_of, load_pipeline, only_recognizer
from ..pipeline.saving import leaves
from ..types import Track, untracked

#: Shortest word that is searched for in text, and the shortest number: others are everywhere.
SHORTEST, SHORTEST_NUMBER = 4, 6
#: Shortest word, in bytes, that is searched for among the bytes of weights: 100 MB of them hold
#: every word of four letters by chance, and one of 3 million words of six.
SHORTEST_PACKED = 6
#: Most bytes that one compressed part may hold.
LARGEST = 2**31
#: Modules with the words of METADATA, of what spaCy adds to a wheel, and of an encoder's config.
FORMATS = ("packaging.metadata", "spacy.cli.package", "transformers.configuration_utils")

_WORDS = re.compile(r"[^\W_]+")
_DIGESTS = re.compile(r"sha256=[\w-]+")
_PACKED = re.compile(rb"(?:[0-9A-Za-z]|[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}){6,}")
#: Characters in a row that are text and no chance.
_PRINTED = re.compile(rb"[\t\n\r -~]{16,}")
#: Files of a model that quote the definitions of its labels, which its user wrote.
_DEFINED_IN = ("meta.json", "README.md", "METADATA")
#: What meta.json tells of a model because its user said so.
_TOLD = ("name", "description", "author", "license", "sources", "labels")
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b")


def audit(
    model: str | Path,
    corpus: str | Path,
    *,
    held_out: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    show_text: bool = False,
    gpu_id: int = -1,
    track: Track = untracked,
) -> dict[str, Any]:
    """Search a model for words of its training notes; measure how far it gives the notes away.

    Args:
        model: a pipeline's folder, a wheel, or the name of an installed package.
        corpus: the notes that it was trained on, in any format that ``convert`` reads.
        held_out: a .spacy file of notes that had no part in training, for `membership`; then the
            corpus is one, too.
        output: JSON file for the report; that of an earlier call is replaced.
        overwrite: whether another file there is replaced, too.
        show_text: whether the report holds the words, which are text of notes.
        gpu_id: the GPU to use, -1 for the CPU.
        track: shows progress.

    Returns:
        The number of "documents" and of "words" searched for; "found", by file the number of words
        that it holds; "text", by file the words, or None; and "membership", or None.

    Raises:
        ClinicalNerError: an input is missing or is not what it should be.
    """
    model, corpus = str(model), Path(corpus)
    if output is not None:
        read = [Path(of) for of in (model, held_out) if of]
        read += corpus.iterdir() if corpus.is_dir() else [corpus]
        check_not_read(Path(output), *read, *files_of(model))
        own = is_written_by(Path(output), "audit")
        check_replaceable(Path(output), own=own, overwrite=overwrite)
    documents = read_texts(corpus)
    # The config of a model names the file that it was trained on.
    report = search(_place(model), documents, known=str(corpus), show_text=show_text)
    report["membership"] = None
    if held_out is not None:
        use_gpu(gpu_id)
        nlp = load_pipeline(model)
        only_recognizer(nlp, model)
        notes = [read_gold_for(path, nlp) for path in (corpus, Path(held_out))]
        report["membership"] = membership(nlp, *notes, track=track)
    if output is not None:
        write_text(Path(output), json.dumps(report | written_by("audit"), indent=2) + "\n")
    return report


def search(
    place: Path,
    documents: Iterable[AnnotatedText],
    *,
    known: str = "",
    show_text: bool = False,
) -> dict[str, Any]:
    """Search the files of a folder, or a wheel, for words of notes.

    Words that models have of themselves are not searched for: those of their names, descriptions
    and labels, of this library's own files and of formats, of the language's tokenizer, and the
    pieces of the encoder's, which no training changes; and in the files that quote the definitions
    of labels, those of the definitions.

    Args:
        place: the folder or the wheel.
        documents: the notes.
        known: a text whose words are not searched for.
        show_text: whether the words are returned.

    Returns:
        See `audit`; without "membership".
    """
    wanted: set[str] = set()
    own: set[str] = set()
    number = 0
    for document in documents:
        number += 1
        wanted.update(_words(document.text), _words(document.id))
        own.update(word for mention in document.mentions for word in _words(mention.label))
    formats = [Path(str(spec.origin)) for spec in map(find_spec, FORMATS) if spec]
    for file in [*Path(__file__).parents[1].rglob("*.py"), *formats]:
        own.update(_words(file.read_text(encoding="utf-8")))
    own.update(_words(f"{DEFAULT_CONFIG.to_str()} {known}"))
    searched = _Search(wanted - own)
    for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if file.is_file():
            name = str(file.relative_to(place)) if place.is_dir() else place.name
            try:
                searched.file(name, file.read_bytes())
            except RecursionError:
                raise InputError(f"{name}: is nested too deeply to be searched.") from None
    found = searched.result()
    return {
        "documents": number,
        "words": len(searched.wanted),
        "found": {name: len(words) for name, words in found.items()},
        "text": {name: sorted(words) for name, words in found.items()} if show_text else None,
    }


class _Search:
    """Looks for words in files, and in what they hold."""

    def __init__(self, wanted: set[str]) -> None:
        self.wanted = wanted
        self._lengths = sorted({len(w) for w in wanted if len(w.encode()) >= SHORTEST_PACKED})
        self._found: dict[str, set[str]] = defaultdict(set)
        self._own: set[str] = set()
        self._defining: set[str] = set()

    def result(self) -> dict[str, set[str]]:
        """The words by file, without those that the model has of itself."""
        self.wanted -= self._own
        found = {
            name: words - self._own - (self._defining if name.endswith(_DEFINED_IN) else set())
            for name, words in self._found.items()
        }
        return {name: words for name, words in found.items() if words}

    def file(self, name: str, data: bytes) -> None:
        """Search what a file, or a part of one, holds, and its name."""
        self._text(name, name)
        if data.startswith(b"PK\x03\x04"):
            self._archive(name, data)
        elif (unpacked := _unpacked(name, data)) is not None:
            self.file(name, unpacked)
        else:
            for leaf in leaves(data):
                if isinstance(leaf, dict):
                    self._own.update(_own_words(leaf))
                    self._defining.update(_defining_words(leaf))
                elif not isinstance(leaf, bytes):
                    self._text(name, str(leaf))
                elif leaf is data:
                    self._bytes(name, data)
                else:
                    self.file(name, leaf)

    def _archive(self, name: str, data: bytes) -> None:
        # What zipfile says to an archive that is damaged, or encrypted.
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                for member in archive.infolist():
                    if member.file_size > LARGEST:
                        raise _too_large(name)
                    self.file(f"{name}/{member.filename}", archive.read(member))
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
            raise InputError(f"{name}: is a damaged archive. Build or copy it again.") from error

    def _bytes(self, name: str, data: bytes) -> None:
        try:
            self._text(name, data.decode("utf-8"))
            return
        except UnicodeDecodeError:
            pass
        # Without the zeros between the letters of UTF-16 and of NumPy's strings.
        packed = data.replace(b"\0", b"")
        for run in _PRINTED.findall(packed):
            self._text(name, run.decode())
        for run in _PACKED.findall(packed):
            letters = run.decode(errors="ignore").lower()
            for start in range(len(letters)):
                parts = {letters[start : start + length] for length in self._lengths}
                self._found[name] |= parts & self.wanted

    def _text(self, name: str, text: str) -> None:
        self._found[name] |= self.wanted & set(_words(_DIGESTS.sub("", text)))


def _words(text: str) -> Iterator[str]:
    """The words of a text that are searched for, in lower case."""
    for word in _WORDS.findall(text.lower()):
        if len(word) >= (SHORTEST_NUMBER if word.isdigit() else SHORTEST):
            yield word


def _defining_words(table: dict[Any, Any]) -> Iterator[str]:
    """Words of the definitions of labels in a meta.json."""
    card = table.get(CARD)
    if "spacy_version" in table and isinstance(card, dict):
        yield from _words(json.dumps(card.get("definitions"), ensure_ascii=False))


def _own_words(table: dict[Any, Any]) -> Iterator[str]:
    """Words of a meta.json and of the language that it names; all of a transformer's tokenizer."""
    if "spacy_version" in table and isinstance(table.get("lang"), str):
        yield from _words(json.dumps([table.get(key) for key in _TOLD], ensure_ascii=False))
        # A language that spaCy lacks, or whose tokenizer is another package.
        with suppress(ImportError):
            language = spacy.blank(table["lang"])
            yield from _words(" ".join([*language.vocab.strings, *language.Defaults.stop_words]))
    model = table.get("model")
    if isinstance(model, dict) and "vocab" in model:
        # The mark of a space before a piece is a letter.
        yield from _words(json.dumps(table, ensure_ascii=False).replace("Ġ", " "))


def _unpacked(name: str, data: bytes) -> bytes | None:
    """What data of zlib or gzip hold, None for other data."""
    if not data.startswith(_ZLIB):
        return None
    stream = zlib.decompressobj(wbits=47)
    try:
        unpacked = stream.decompress(data, LARGEST)
    except zlib.error:
        return None
    if stream.unconsumed_tail:
        raise _too_large(name)
    return unpacked


def _too_large(name: str) -> InputError:
    return InputError(f"{name}: holds more than {LARGEST >> 30} GiB, too much to be searched.")


def _place(model: str) -> Path:
    """The folder or wheel to search."""
    if Path(model).exists():
        return Path(model)
    if is_package(model):
        return get_package_path(model)
    raise InputError(f"{model}: neither a folder nor a wheel nor an installed package.")
