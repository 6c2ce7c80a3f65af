"""Reading annotated documents for a command."""

from __future__ import annotations

from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..errors import InputError
from .formats.docbin import DOCUMENT_ID, read_docbin


def read_gold(path: Path, vocab: Vocab) -> list[Doc]:
    """Read documents that hold an entity, at least one of them.

    Raises:
        ClinicalNerError: the file cannot be read, or holds none.
    """
    docs = read_docbin(path, vocab)
    if not any(doc.ents for doc in docs):
        raise InputError(
            f"{path}: holds no entity in doc.ents, so there is nothing to learn or to score. Name "
            "a file with gold annotations."
        )
    return docs


def read_gold_for(path: Path, nlp: Language) -> list[Doc]:
    """Read documents that a pipeline is to annotate.

    Raises:
        ClinicalNerError: see ``read_gold``, or a text is longer than the pipeline takes.
    """
    docs = read_gold(path, nlp.vocab)
    for index, doc in enumerate(docs):
        length = len(doc.text)
        if length > nlp.max_length and not doc.has_unknown_spaces:
            id_ = doc.user_data.get(DOCUMENT_ID, index)
            raise InputError(
                f"{path}: document {id_} has {length} characters, more than the {nlp.max_length} "
                "that the pipeline takes. Divide the document."
            )
    return docs
