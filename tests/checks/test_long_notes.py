from __future__ import annotations

import json
from pathlib import Path

import pytest

from clinical_ner.checks.long_notes import find_long

from .examples import document, notes, part, where


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that takes words apart into letters; two special tokens, 12 positions."""
    from transformers import BertTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "letters"
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    vocabulary += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "bert", "max_position_embeddings": 12})
    )
    return folder


def set_limit(folder: Path, limit: int | None) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings.pop("model_max_length", None)
    if limit is not None:
        settings["model_max_length"] = limit
    path.write_text(json.dumps(settings))


CORPUS = [part("x", document("a", "fever"), document("b", "a fever"), document("c", "\ud800"))]


def test_documents_are_measured_in_wordpieces_with_special_tokens(encoder: Path) -> None:
    set_limit(encoder, 7)
    [finding] = find_long(CORPUS, encoder=str(encoder))
    assert where([finding], "C070") == [("b", None, None)]
    assert notes([finding], "C070") == ["8 wordpieces"]
    assert finding.of == 3
    assert finding.detail == "over 7 wordpieces of letters"
    set_limit(encoder, 8)
    assert find_long(CORPUS, encoder=str(encoder)) == []


def test_the_positions_of_the_encoder_are_the_limit_where_the_tokenizer_has_none(
    encoder: Path,
) -> None:
    set_limit(encoder, None)
    texts = [document("a", "x" * 10), document("b", "x" * 11)]
    [finding] = find_long([part("x", *texts)], encoder=str(encoder))
    assert where([finding], "C070") == [("b", None, None)]


def test_no_tokenizer_lifts_the_limit_of_the_positions(encoder: Path) -> None:
    set_limit(encoder, 100)
    [finding] = find_long([part("x", document("a", "x" * 11))], encoder=str(encoder))
    assert finding.detail == "over 12 wordpieces of letters"


@pytest.mark.parametrize("name", ["nobody/has-this-encoder", "."])
def test_an_encoder_that_is_not_here_is_the_finding(name: str) -> None:
    [finding] = find_long(CORPUS, encoder=name)
    assert (finding.code, finding.kind.severity) == ("C071", "warning")
    assert "is not installed" in finding.detail
