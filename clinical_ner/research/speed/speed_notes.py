"""The notes that speed is measured on: read from files, and made longer, shorter or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from spacy.language import Language
from spacy.vocab import Vocab

from ...data.formats.docbin import DOCUMENT_ID, read_docbin
from ...errors import InputError
from ...files import corpus_files, read_text


def read_notes(path: Path, nlp: Language, *, limit: int) -> list[str]:
    """Read the texts of notes; annotations are left alone.

    path: a folder of .txt files, one of them, or a .spacy file.
    nlp: the pipeline that is to read them.
    limit: largest number of notes; the first ones, by file name, are taken.

    RAISES ClinicalNerError: there is nothing there, no note with a word, another kind of file, one
        that cannot be read, or a note too long for the pipeline.
    """
    if path.is_file() and path.suffix == ".spacy":
        docs = read_docbin(path, Vocab())[:limit]
        names = [str(doc.user_data.get(DOCUMENT_ID, index)) for index, doc in enumerate(docs)]
        texts = [doc.text for doc in docs]
    elif path.is_file() and path.suffix.lower() != ".txt":
        raise InputError(
            f"{path}: is neither a .txt nor a .spacy file. Name one, or a folder of .txt files."
        )
    else:
        files = corpus_files(path, (".txt",))[:limit]
        names = [file.stem for file in files]
        texts = [read_text(file) for file in files]
    if not any(text.strip() for text in texts):
        raise InputError(
            f"{path}: holds no note with words, so there is nothing to measure. Name a folder of "
            ".txt files, or a .spacy file."
        )
    for name, text in zip(names, texts, strict=True):
        if len(text) > nlp.max_length:
            raise InputError(
                f"{path}: document {name} has {len(text)} characters, more than the "
                f"{nlp.max_length} that the pipeline takes. Divide the document."
            )
    return texts


def pieces_of(nlp: Language, texts: Sequence[str]) -> list[str]:
    """The tokens of texts, each with the space that follows it: joined they are the text again.

    Between two texts there is a line end at least.
    """
    pieces: list[str] = []
    for text in texts:
        pieces += [token.text_with_ws for token in nlp.make_doc(text)]
        if pieces and not pieces[-1][-1:].isspace():
            pieces[-1] += "\n"
    return pieces


def made_notes(pieces: Sequence[str], *, notes: int, words: int) -> Iterator[str]:
    """Make notes of a given length out of pieces, one at a time.

    pieces: see `pieces_of`; begun anew as often as needed.
    notes: number of notes.
    words: pieces of each.
    """
    endless = cycle(pieces)
    for _ in range(notes):
        yield "".join(islice(endless, words))
