"""Wordpieces of documents: their alignment with tokens, and the places to cut between them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.vocab import Vocab
from spacy_transformers.align import get_alignment_via_offset_mapping
from spacy_transformers.layers.transformer_model import huggingface_tokenize

from clinical_ner.model.windows.cutting import BETWEEN, END, GAP, INSIDE
from clinical_ner.model.windows.wordpieces import Wordpieces, wordpieces_of

TEXT = "Patient (58y) had fever,\nno cough.  Took aspirin 40mg/d; é\u0301tat. ok\n\n\nPlan: x."


@pytest.fixture(scope="module")
def bert() -> Any:
    """A tokenizer of BERT's kind that knows few words."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    letters = sorted({char.lower() for char in TEXT if not char.isspace()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fever", "patient", "40", "##mg"]
    vocabulary = [*words, *letters, *("##" + letter for letter in letters)]
    ids = {word: i for i, word in enumerate(vocabulary)}
    return BertTokenizerFast(tokenizer_object=BertWordPieceTokenizer(ids)._tokenizer)


def byte_level(*, trim_offsets: bool = True) -> Any:
    """A tokenizer of RoBERTa's kind, trained on TEXT."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import RobertaTokenizerFast

    tokenizer = ByteLevelBPETokenizer(trim_offsets=trim_offsets)
    tokenizer.train_from_iterator(
        [TEXT] * 3, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    tokenizer._tokenizer.post_processor = RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim_offsets
    )
    return RobertaTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, trim_offsets=trim_offsets, model_max_length=64
    )


def make_doc(text: str = TEXT) -> Doc:
    """A document of the text's words, with a token for more than one space."""
    return spacy.blank("en").make_doc(text)


def aligned(pieces: Wordpieces) -> list[list[int]]:
    return [list(range(*span)) for span in zip(pieces.starts, pieces.ends, strict=True)]


def stock(tokenizer: Any, doc: Doc) -> list[list[int]]:
    """What spacy-transformers aligns, without the special token in front."""
    encoded = huggingface_tokenize(tokenizer, [doc.text])
    align = get_alignment_via_offset_mapping([doc[:]], encoded["offset_mapping"])
    ends = np.cumsum(align.lengths)
    rows = [
        align.dataXd[start:end] - 1 for start, end in zip(ends - align.lengths, ends, strict=True)
    ]
    return [row.tolist() for row in rows]


@pytest.mark.parametrize("kind", ["bert", "bytes"])
def test_tokens_have_the_wordpieces_that_the_stock_alignment_finds(kind: str, bert: Any) -> None:
    tokenizer = bert if kind == "bert" else byte_level()
    doc = make_doc()
    (pieces,) = wordpieces_of(tokenizer, [doc])
    expected = stock(tokenizer, doc)
    words = [i for i, token in enumerate(doc) if not token.is_space]
    assert len(words) > 15
    assert [aligned(pieces)[i] for i in words] == [expected[i] for i in words]
    assert pieces.ids.tolist() == tokenizer(doc.text, add_special_tokens=False)["input_ids"]
    assert pieces.strings == tokenizer.convert_ids_to_tokens(pieces.ids)


def test_leading_spaces_in_a_wordpiece_do_not_align_it_with_the_word_before() -> None:
    doc = Doc(Vocab(), words=["fever", "had", "cough"])
    trimmed, whole = (
        wordpieces_of(byte_level(trim_offsets=trim), [doc])[0] for trim in (True, False)
    )
    assert aligned(whole) == aligned(trimmed)


def test_tokens_within_one_wordpiece_share_it(bert: Any) -> None:
    doc = Doc(Vocab(), words=["fe", "ver", "40"], spaces=[False, True, False])
    (pieces,) = wordpieces_of(bert, [doc])
    assert aligned(pieces) == [[0], [0], [1]]


def test_whitespace_has_no_wordpiece(bert: Any) -> None:
    doc = Doc(Vocab(), words=["fever", "\n", "40", "  "], spaces=[False] * 4)
    (pieces,) = wordpieces_of(bert, [doc])
    assert [len(span) for span in aligned(pieces)] == [1, 0, 1, 0]


def test_a_document_without_wordpieces(bert: Any) -> None:
    docs = [Doc(Vocab(), words=["\n"]), Doc(Vocab())]
    for doc, pieces in zip(docs, wordpieces_of(bert, docs), strict=True):
        assert len(pieces.ids) == 0
        assert pieces.cuts.tolist() == [BETWEEN]
        assert aligned(pieces) == [[] for _ in doc]


@pytest.mark.parametrize("kind", ["bert", "bytes"])
@pytest.mark.parametrize(
    ("text", "before", "rate"),
    [
        ("had fever", "fever", BETWEEN),
        ("had.\nfever", "fever", END),
        ("had \n fever", "fever", END),
        ("had\n \nfever", "fever", GAP),
        ("had. Fever", "Fever", END),
        ("had? 40", "40", END),
        ("had. fever", "fever", BETWEEN),
        ("had.Fever", "Fever", BETWEEN),
        ("had, Fever", "Fever", BETWEEN),
    ],
)
def test_lines_and_sentences_end_where_the_text_says_so(
    kind: str, text: str, before: str, rate: int, bert: Any
) -> None:
    doc = make_doc(text)
    (pieces,) = wordpieces_of(bert if kind == "bert" else byte_level(), [doc])
    index = next(token.i for token in doc if token.text == before)
    assert pieces.cuts[pieces.starts[index]] == rate


def test_sentences_of_the_document_come_before_those_of_its_punctuation(bert: Any) -> None:
    doc = Doc(Vocab(), words=["had", ".", "Fever", "40"], sent_starts=[True, False, False, True])
    (pieces,) = wordpieces_of(bert, [doc])
    assert pieces.cuts[pieces.starts].tolist() == [END, BETWEEN, BETWEEN, END]


def test_no_place_within_a_token(bert: Any) -> None:
    doc = Doc(Vocab(), words=["ok", "(a/b.\nA)", "x"])
    (pieces,) = wordpieces_of(bert, [doc])
    start, end = pieces.starts[1], pieces.ends[1]
    assert end - start == 7
    assert (pieces.cuts[start + 1 : end] == INSIDE).all()
    assert pieces.cuts[start] == pieces.cuts[end] == BETWEEN


def test_a_long_text_gives_no_warning(bert: Any, caplog: pytest.LogCaptureFixture) -> None:
    bert.model_max_length = 16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (pieces,) = wordpieces_of(bert, [Doc(Vocab(), words=["fever"] * 100)])
    assert len(pieces.ids) == 100
    assert not caplog.records
