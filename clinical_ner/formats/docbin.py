"""spaCy's binary format: lists of Docs in one .spacy file, written whole or not at all."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab
from srsly.msgpack.exceptions import UnpackException

from ..errors import ClinicalNerError, Errors

DOCUMENT_ID = "clinical_ner.id"
"""Key of ``doc.user_data`` under which a document's id (str) stands."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` if the block succeeds.

    If the block fails the temporary file is removed and `path` is what it was before. The missing
    parent folders of `path` are created.

    path: the file to write.
    Raises ClinicalNerError if the system does not let the file be written.
    """
    # Not tempfile: its files are readable by their owner only, and keep that when renamed.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ClinicalNerError(
            Errors.E101.format(path=path, reason=error.strerror or type(error).__name__)
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_docbin(docs: Iterable[Doc], path: Path) -> None:
    """Write docs, with their user data and span groups, as one .spacy file.

    docs: any number of Docs, also of different vocabularies.
    path: the file to write; an existing one is replaced, missing parent folders are created.
    Raises ClinicalNerError if the file cannot be written.
    """
    with replacing(path) as temporary:
        DocBin(docs=docs, store_user_data=True).to_disk(temporary)


def read_docbin(path: Path, vocab: Vocab) -> list[Doc]:
    """Read the Docs of a .spacy file, in the order in which they were written.

    path: a file that write_docbin or spaCy wrote.
    vocab: the vocabulary of the Docs returned; strings of the file are added to it.
    Raises ClinicalNerError if the file is missing, unreadable, truncated, or of another format.
    """
    if not path.is_file():
        raise ClinicalNerError(Errors.E060.format(path=path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ClinicalNerError(Errors.E100.format(path=path, reason=error.strerror)) from error
    # What zlib, msgpack and the arrays inside say to bytes that are no DocBin, or half of one.
    try:
        return list(DocBin(store_user_data=True).from_bytes(data).get_docs(vocab))
    except (
        zlib.error,
        UnpackException,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
    ) as error:
        raise ClinicalNerError(Errors.E061.format(path=path)) from error
