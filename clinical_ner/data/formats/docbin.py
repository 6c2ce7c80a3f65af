"""spaCy's binary format: lists of Docs in one .spacy file, written whole or not at all."""

from __future__ import annotations

import gc
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from spacy.attrs import ENT_IOB, IDS, SENT_START, SPACY
from spacy.tokens import Doc, DocBin
from spacy.tokens._dict_proxies import SpanGroups
from spacy.vocab import Vocab
from srsly import msgpack_loads
from srsly.msgpack import Packer

from ...errors import ClinicalNerError, InputError, cannot_be_read
from ...files import mark, new_folder, regular, replacing

DOCUMENT_ID = "clinical_ner.id"
"""Key of ``doc.user_data`` under which a document's id (str) is."""
LANGUAGE = "clinical_ner.lang"
"""Key of the language (str) whose tokenizer conversion used; spaCy's format does not hold it."""
_ENTITY_ATTRS = ("NORM", "ENT_IOB", "ENT_TYPE", "SENT_START")
#: As spaCy packs a span: its id, knowledge base id and label, tokens and characters.
_SPAN = struct.Struct(">QQQllll")
#: What a file holds one of for each document.
_LISTS = ("cats", "flags", "span_groups", "user_data")
#: Bytes that a file may unpack to, and how many for each of its own; notes have about 10.
_MOST_BYTES, _MOST_TIMES = 2**28, 64


def write_docbin(docs: Iterable[Doc], path: Path, *, command: str = "") -> None:
    """Write docs, with their user data and span groups, as one .spacy file.

    Args:
        docs: any number of Docs, also of different vocabularies.
        path: the file to write; an existing one is replaced, missing parent folders are created.
        command: see `packed`.

    Raises:
        ClinicalNerError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(packed(DocBin(docs=docs, store_user_data=True), command))


def packed(docs: DocBin, command: str) -> bytes:
    """What a .spacy file holds, with the command that writes it, if any, behind its content.

    Readers, spaCy's too, decompress up to the end of the content and see nothing of it; by it the
    command knows a file that it may replace, see `is_written_by`.
    """
    return docs.to_bytes() + (mark(command).encode() if command else b"")


class EntityDocBin(DocBin):
    """A DocBin of what conversion makes: words, sentences, entities, span groups and user data.

    It takes a third of the memory of a DocBin of everything, and a fifth of the time: no second
    pass over the tokens for their strings, and no search for msgpack's encoders among all installed
    packages, which srsly makes at each call.
    """

    def __init__(self, docs: Iterable[Doc] = ()) -> None:
        super().__init__(attrs=_ENTITY_ATTRS, store_user_data=True)
        self._hashes: set[int] = set()
        self._packer = Packer(use_bin_type=True)
        for doc in docs:
            self.add(doc)

    def add(self, doc: Doc) -> None:
        """Add a Doc; see DocBin.add."""
        attrs: list[int | str] = list(self.attrs)
        array = doc.to_array(attrs).reshape(len(doc), len(attrs))
        self.tokens.append(array)
        self.spaces.append(doc.to_array(SPACY).astype(bool).reshape(-1, 1))
        self.flags.append({"has_unknown_spaces": doc.has_unknown_spaces})
        self.cats.append(doc.cats)
        self.user_data.append(self._packer.pack(doc.user_data))
        self.span_groups.append(self._packed(doc.spans))
        columns = [index for index, attr in enumerate(attrs) if attr not in (ENT_IOB, SENT_START)]
        hashes: set[int] = set(map(int, array[:, columns].flat)) - self._hashes
        self._hashes |= hashes
        self.strings.update(doc.vocab.strings[value] for value in hashes)

    def _packed(self, groups: SpanGroups) -> bytes:
        """Give what SpanGroups.to_bytes does, and keep the labels' strings."""
        packed: dict[bytes, list[str]] = {}
        for key, group in groups.items():
            spans = []
            for span in group:
                self.strings.add(span.label_)
                tokens, characters = (span.start, span.end), (span.start_char, span.end_char)
                spans.append(_SPAN.pack(span.id, span.kb_id, span.label, *tokens, *characters))
            content = {"name": group.name, "attrs": group.attrs, "spans": spans}
            packed.setdefault(self._packer.pack(content), []).append(key)
        return self._packer.pack(packed) if packed else groups.to_bytes()


def write_entities(docs: Iterable[Doc], path: Path) -> None:
    """Write the sentences, entities, span groups and user data of docs as one .spacy file.

    Other annotations (tags, heads, lemmas, ...) are left out.

    Args:
        docs: they may come from a generator; what is written of them is held in memory, about 160
            bytes a token.
        path: as for write_docbin, which see for errors too.
    """
    with replacing(path) as temporary:
        _save(EntityDocBin(docs), temporary, path)


def write_entities_in_parts(docs: Iterable[Doc], folder: Path, *, docs_per_file: int) -> None:
    """Write docs as write_entities does, to NAME-00001.spacy and so on in a folder NAME.

    Args:
        docs: they may come from a generator; what is written of those of one file is held in
            memory.
        folder: absent or empty; spaCy's readers take a folder as they take a file.
        docs_per_file: at least 1.

    Raises:
        ClinicalNerError: out leaving a folder, if it cannot be written.
    """
    remaining = iter(docs)
    name = os.path.basename(os.path.abspath(folder))
    with new_folder(folder) as temporary:
        for number in count(1):
            part = EntityDocBin(islice(remaining, docs_per_file))
            if not len(part):
                break
            file = f"{name}-{number:05}.spacy"
            _save(part, temporary / file, folder / file)


def _save(docs: DocBin, temporary: Path, path: Path) -> None:
    try:
        temporary.write_bytes(packed(docs, "convert"))
    except ValueError as error:
        # spaCy's own, of more than the 4 GiB that msgpack counts.
        raise InputError(
            f"{path}: {len(docs)} documents are too much for one .spacy file. Write several, with "
            "--docs-per-file."
        ) from error


def docbin_id(doc: Doc, path: Path, number: int) -> str:
    """A document's id: that of its user data, otherwise the file's name and its number from 1."""
    return str(doc.user_data.get(DOCUMENT_ID, f"{path.stem}-{number}"))


def read_docbin(path: Path, vocab: Vocab) -> list[Doc]:
    """Read the Docs of a .spacy file, in the order in which they were written.

    Args:
        path: a file that write_docbin or spaCy wrote.
        vocab: the vocabulary of the Docs returned; strings of the file are added to it.

    Raises:
        ClinicalNerError: the file is missing, unreadable, truncated, or of another format.
    """
    found = read_bin(path)
    with _damage(path):
        docs = list(found.get_docs(vocab))
        for doc in docs:
            # spaCy takes what the file says, and reads memory that is not the document's.
            for span in (*doc.ents, *(span for group in doc.spans.values() for span in group)):
                # A label that the file does not hold is a KeyError.
                if span.label_ is None or not 0 <= span.start <= span.end <= len(doc):
                    raise ValueError
            if not isinstance(doc.user_data.get(LANGUAGE, ""), str):
                raise TypeError
    return docs


def read_bin(path: Path) -> DocBin:
    """Read a .spacy file without making its Docs; see read_docbin."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder. Name a .spacy file.")
    if not path.exists():
        raise InputError(
            f"{path}: no such file. Run clinical-ner convert and clinical-ner split first."
        )
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise cannot_be_read(path, error.strerror) from error
    most = max(_MOST_BYTES, _MOST_TIMES * len(data))
    with _damage(path):
        unpacker, content, rest = zlib.decompressobj(), bytearray(), data
        # Behind the end of what is packed may be the mark of the command that wrote it.
        while rest and len(content) <= most and not unpacker.eof:
            content += unpacker.decompress(rest, 2**20)
            rest = unpacker.unconsumed_tail
        if len(content) > most:
            raise InputError(
                f"{path}: {len(data)} bytes unpack to more than {most}, which is no corpus but a "
                "compression bomb. Do not open it; of a corpus, write several files with "
                "clinical-ner convert --docs-per-file."
            )
        _check_lengths(msgpack_loads(content))
        found = DocBin(store_user_data=True).from_bytes(data)
        if not {*found.attrs} <= {*IDS.values()}:
            raise ValueError
    return found


def _check_lengths(content: dict[str, Any]) -> None:
    """Raise ValueError unless the lengths of the documents add up to what the file holds.

    spaCy leaves out tokens, and documents, that they do not name, and says nothing.
    """
    lengths = np.frombuffer(content["lengths"], dtype="int32")
    words = int(lengths.sum(dtype="int64"))
    parts = [content[key] for key in _LISTS if key in content]
    if (
        (lengths < 0).any()
        or len(content["spaces"]) != words
        or len(content["tokens"]) != 8 * words * len(content["attrs"])
        or any(len(part) != len(lengths) for part in parts)
    ):
        raise ValueError


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what zlib, msgpack, numpy and spaCy say to bytes that are no DocBin into one line."""
    collects = gc.isenabled()
    try:
        yield
    except ClinicalNerError:
        raise
    # "from None": an error may quote the strings of the file.
    except Exception:
        raise InputError(
            f"{path}: not a readable .spacy file. Write it again with clinical-ner convert."
        ) from None
    finally:
        # srsly switches it off, and not on again after an error.
        if collects:
            gc.enable()
