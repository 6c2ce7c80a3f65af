from __future__ import annotations

from pathlib import Path

import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.checks.check import check
from clinical_ner.checks.masking import write_masked
from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin, write_docbin
from clinical_ner.data.gold import GOLD_ALL, get_gold, overlapping_gold, set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import InputError
from clinical_ner.scoring.spans import count_spans
from clinical_ner.tags.encode import encode_example, encode_overlapping

WORDS = ["chest", "pain", "and", "cough", ",", "chest", "pain", "with", "cough/fever", "."]
LABELS = {"Body": 0, "Sign": 1}


def make_doc(vocab: Vocab, *mentions: tuple[int, int, str], name: str) -> Doc:
    doc = Doc(vocab, words=WORDS, pos=["NOUN"] * len(WORDS))
    doc.user_data |= {DOCUMENT_ID: name, "ward": 7}
    doc.set_ents([Span(doc, start, end, label) for start, end, label in mentions if end - start])
    return doc


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Labelled: "chest pain" twice and "Chest" within it; "cough" three times, "fever" never."""
    vocab = Vocab()
    whole = make_doc(vocab, (0, 2, "Sign"), (3, 4, "Sign"), (5, 7, "Sign"), name="a")
    half = make_doc(vocab, (0, 2, "Sign"), (3, 4, "Sign"), name="b")
    for doc in (whole, half):
        spans = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
        mentions = [(0, 5, "Body"), *spans]
        set_gold(
            doc,
            [Mention(f"T{i}", of, ((start, end),)) for i, (start, end, of) in enumerate(mentions)],
        )
    write_docbin([whole, half], tmp_path / "all.spacy")
    return tmp_path / "all.spacy"


def test_places_are_unknown_to_training_and_scores_and_all_else_stays(corpus: Path) -> None:
    copy = corpus.with_name("masked.spacy")
    findings = check(corpus, encoder=None).findings
    # Of both documents "cough" before the slash; of the second its other "chest pain".
    assert write_masked(corpus, copy, findings) == {"Sign": 3}
    vocab = Vocab()
    for number, (before, after) in enumerate(
        zip(read_docbin(corpus, vocab), read_docbin(copy, vocab), strict=True)
    ):
        masked = [[8], [5, 6, 8]][number]
        assert [token.i for token in after if not token.ent_iob] == masked
        assert (after.user_data, get_gold(after)) == (before.user_data, get_gold(before))
        assert [token.pos_ for token in after] == [token.pos_ for token in before]
        assert after.spans[GOLD_ALL].attrs == before.spans[GOLD_ALL].attrs
        plain = Doc(vocab, words=WORDS)
        old, new = Example(plain, before), Example(plain, after)
        flat = [encode_example(of, LABELS, name="ner").tolist() for of in (old, new)]
        both = [
            encode_overlapping(of, overlapping_gold(of.reference), LABELS, name="ner").tolist()
            for of in (old, new)
        ]
        for was, now, unknown in ((*flat, -1), (*both, [-1, -1])):
            assert now == [unknown if i in masked else of for i, of in enumerate(was)]
        # What a model finds there is no error.
        found = Doc(vocab, words=WORDS)
        found.set_ents([Span(found, masked[0], masked[-1] + 1 - (number * 2), "Sign")])
        counts = [count_spans(Example(found, of))["Sign"] for of in (before, after)]
        assert [counts[0][1], counts[1][1]] == [1, 0]


def test_a_token_that_a_mention_has_too_stays(corpus: Path) -> None:
    [first, second] = read_docbin(corpus, Vocab())
    # A mention of part of the token beside the place.
    slash = first[8].idx + len("cough")
    set_gold(first, [*get_gold(first), Mention("T9", "Sign", ((slash, slash + 6),))])
    write_docbin([first, second], corpus)
    copy = corpus.with_name("masked.spacy")
    assert write_masked(corpus, copy, check(corpus, encoder=None).findings) == {"Sign": 2}
    assert all(token.ent_iob for token in read_docbin(copy, Vocab())[0])
    with pytest.raises(InputError, match=r"masked\.spacy.*which is read"):
        write_masked(copy, copy, [])
