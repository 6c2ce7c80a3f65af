"""Whatever is done to a file, reading it gives documents or one line of error, nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy

from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.formats.conll import write_conll
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError

from .examples import (
    documents,
    write_bioc_json,
    write_huggingface,
    write_pubtator,
    write_webanno,
)

NLP = spacy.blank("en")
#: What formats are made of, and what no UTF-8 text holds.
BYTES = b'\n\r\t |#-0123456789{}[]",:TBIOSE\xff\xf0\x00'
PIECES = [b"\n", b"\xef\xbb\xbf", b"null", b"-1", b"\\ud83d", b"\\n"]
Texts = list[AnnotatedText]


def _docs(texts: Texts) -> list[spacy.tokens.Doc]:
    return [to_flat_doc(text.text, text.mentions, NLP, document=text.id)[0] for text in texts]


WRITERS: dict[str, Callable[[Texts, Path], object]] = {
    "brat": write_brat,
    "conll": lambda texts, path: write_conll(_docs(texts), path),
    "jsonl": write_jsonl,
    "huggingface": write_huggingface,
    "webanno": write_webanno,
    "pubtator": write_pubtator,
    "bioc": write_bioc_json,
    "docbin": lambda texts, path: write_docbin(_docs(texts), path),
}


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut, repeat, swap or overwrite some bytes; the new ones are those that formats live on."""
    if not data:
        return rng.choice([b"\xff", b"\n", b"T"])
    start, end = sorted(rng.choices(range(len(data) + 1), k=2))
    end = min(end, start + rng.choice([1, 2, 5, 20, len(data)]))
    kind = rng.choice(["cut", "truncate", "repeat", "swap", "overwrite", "insert"])
    if kind == "truncate":
        return data[:start]
    new = {
        "cut": b"",
        "repeat": data[start:end] * 2,
        "swap": data[start:end][::-1],
        "overwrite": bytes(rng.choices(BYTES, k=end - start)),
        "insert": data[start:end] + rng.choice(PIECES),
    }[kind]
    return data[:start] + new + data[end:]


@pytest.mark.parametrize("format", WRITERS)
def test_damaged_files(tmp_path: Path, format: str) -> None:
    for seed in range(25):
        _damage(tmp_path / str(seed), format, seed)


def _damage(folder: Path, format: str, seed: int) -> None:
    rng = random.Random(seed)
    folder.mkdir()
    path = folder / "notes"
    WRITERS[format](documents(seed, number=2), path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    whole = {file: file.read_bytes() for file in files}
    for _ in range(8):
        file = rng.choice(files)
        file.write_bytes(_damaged(whole[file], rng))
        for name in (format, "auto"):
            try:
                texts = list(read_texts(path, format=name))  # type: ignore[arg-type]
            except ClinicalNerError as error:
                message = str(error)
                assert str(folder) in message and "\n" not in message
                continue
            for text in texts:
                for mention in text.mentions:
                    for start, end in mention.fragments:
                        assert 0 <= start <= end <= len(text.text)
        file.write_bytes(whole[file])
