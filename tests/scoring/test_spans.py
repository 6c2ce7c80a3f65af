from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.scoring.spans import GoldSpans, count_spans, label_scores, macro_f, micro_scores

from .examples import LABELS, make_doc, random_example

WORDS = ["A", "man", "of", "60", "with", "fever"]


def example(
    predicted: list[tuple[int, int, str]],
    gold: list[tuple[int, int, str]],
    words: list[str] = WORDS,
) -> Example:
    vocab = Vocab()
    return Example(make_doc(vocab, words, predicted), make_doc(vocab, words, gold))


def test_boundary_and_label_must_both_agree() -> None:
    counts = count_spans(
        example(
            predicted=[(0, 2, "Sex"), (3, 4, "Age"), (5, 6, "Disease")],
            gold=[(1, 2, "Sex"), (3, 4, "Age"), (5, 6, "Sign")],
        )
    )
    assert counts == {"Sex": [0, 1, 1], "Age": [1, 0, 0], "Disease": [0, 1, 0], "Sign": [0, 0, 1]}


@given(seed=st.sampled_from(range(20)))
def test_counts_give_the_scores_of_spacy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocab = Vocab()
    examples = [random_example(rng, vocab) for _ in range(int(rng.integers(1, 30)))]
    expected = get_ner_prf(examples)

    per_document = [count_spans(eg) for eg in examples]
    labels = sorted({label for counts in per_document for label in counts})
    totals = np.array(
        [
            [sum(c.get(label, [0] * 3)[k] for c in per_document) for k in range(3)]
            for label in labels
        ],
        dtype=float,
    ).reshape(len(labels), 3)
    p, r, f = micro_scores(totals)

    if expected["ents_f"] is None:
        assert np.isnan([p, r, f]).all()
        return
    assert [p, r, f] == pytest.approx([expected[f"ents_{key}"] for key in "prf"], abs=1e-12)
    per_type = label_scores(tuple(labels), totals)
    assert set(per_type) == set(expected["ents_per_type"])
    for label, scores in per_type.items():
        for key in "prf":
            value = 0.0 if scores[key] is None else scores[key]
            assert value == pytest.approx(expected["ents_per_type"][label][key], abs=1e-12)


def test_random_examples_reach_every_branch() -> None:
    rng = np.random.default_rng(0)
    vocab = Vocab()
    examples = [random_example(rng, vocab) for _ in range(200)]
    assert any(not eg.reference.has_annotation("ENT_IOB") for eg in examples)
    assert any(0 < sum(t.ent_iob == 0 for t in eg.reference) < len(eg.reference) for eg in examples)
    assert any(len(eg.predicted) != len(eg.reference) for eg in examples)
    totals = np.sum([c for eg in examples for c in count_spans(eg).values()], axis=0)
    assert (totals > 10).all()
    assert {label for eg in examples for label in count_spans(eg)} == set(LABELS)


def test_prediction_over_unknown_gold_is_ignored() -> None:
    vocab = Vocab()
    gold = make_doc(vocab, WORDS, [(3, 4, "Age")])
    gold.set_ents(list(gold.ents), missing=[gold[5:6]], default="outside")
    predicted = make_doc(vocab, WORDS, [(3, 4, "Age"), (5, 6, "Sign")])
    assert count_spans(Example(predicted, gold)) == {"Age": [1, 0, 0], "Sign": [0, 0, 0]}


def test_document_without_gold_annotation_counts_nothing() -> None:
    vocab = Vocab()
    predicted = make_doc(vocab, WORDS, [(3, 4, "Age")])
    assert count_spans(Example(predicted, Doc(vocab, words=WORDS))) == {}


def test_type_with_support_never_predicted_has_f_zero() -> None:
    scores = label_scores(("Age",), np.array([[0.0, 0.0, 3.0]]))["Age"]
    assert scores == {"p": 0.0, "r": 0.0, "f": 0.0, "support": 3, "predicted": 0}


def test_type_without_support_has_no_recall_and_no_f() -> None:
    scores = label_scores(("Age",), np.array([[0.0, 2.0, 0.0]]))["Age"]
    assert scores == {"p": 0.0, "r": None, "f": None, "support": 0, "predicted": 2}


def test_macro_f_is_over_types_with_support() -> None:
    # F1 of 2/3 and 0; the third type has only false positives and is left out.
    value, number = macro_f(np.array([[1.0, 1, 0], [0, 0, 4], [0, 5, 0]]))
    assert (value, number) == (pytest.approx(1 / 3), 2)


def test_macro_f_without_support_is_undefined() -> None:
    value, number = macro_f(np.array([[0.0, 5, 0]]))
    assert np.isnan(value)
    assert number == 0


def test_micro_scores_without_predictions_are_zero_as_in_spacy() -> None:
    assert micro_scores(np.array([[0.0, 0, 2]])) == (0.0, 0.0, 0.0)


def offsets(doc: Doc) -> list[tuple[int, int, str]]:
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


@given(seed=st.sampled_from(range(10)))
def test_what_was_missed_would_be_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocab = Vocab()
    number = 0
    for _ in range(30):
        example = random_example(rng, vocab)
        gold, spans = GoldSpans(example), offsets(example.predicted)
        missed = gold.missed(spans)
        n_right = sum(verdict is True for verdict in gold.match(spans)[0])
        assert n_right + len(missed) <= gold.support.total()
        verdicts = gold.match([*missed, *spans])[0][: len(missed)]
        # None: a token of unknown status that is cut otherwise may lie inside.
        assert set(verdicts) <= {True, None}
        number += verdicts.count(True)
    assert number > 10


def test_missed_spans_are_given_in_the_tokens_of_the_prediction() -> None:
    vocab = Vocab()
    gold = Doc(vocab, words=["a", "bc", "d", "e"], spaces=[False] * 4)
    ents = [gold.char_span(0, 3, label="Age"), gold.char_span(4, 5, label="Sex")]
    gold.set_ents(ents, default="outside")
    predicted = Doc(vocab, words=["ab", "c", "de"], spaces=[False] * 3)
    # "a bc" is "ab c"; "e" is only a part of "de".
    assert GoldSpans(Example(predicted, gold)).missed([]) == [(0, 2, "Age")]


def test_of_two_spans_that_align_with_one_entity_the_first_finds_it() -> None:
    vocab = Vocab()
    gold = Doc(vocab, words=["ab"], spaces=[False])
    gold.set_ents([gold.char_span(0, 2, label="Age")], default="outside")
    example = Example(Doc(vocab, words=["a", "b"], spaces=[False, False]), gold)
    assert GoldSpans(example).match([(0, 1, "Age"), (1, 2, "Age")])[0] == [True, False]


@given(seed=st.sampled_from(range(20)))
def test_judged_spans_keep_their_order_labels_and_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    doc = Doc(Vocab(), words=["w"] * 8)
    status = [["missing", "entity", "outside"][i] for i in rng.integers(3, size=8)]
    wanted = {(i, i + 1, str(rng.choice(LABELS))) for i in range(8) if status[i] == "entity"}
    doc.set_ents(
        [Span(doc, *span) for span in sorted(wanted)],
        missing=[Span(doc, i, i + 1) for i in range(8) if status[i] == "missing"],
        default="outside",
    )
    starts = rng.integers(7, size=30)
    spans = [(int(i), int(i + rng.integers(1, 3)), str(rng.choice(LABELS))) for i in starts]
    scores = rng.random(30).tolist()
    # The tokens are the same, so a span is right that gold has and that did not come before.
    expected = [
        (span[2], score, span in wanted and span not in spans[:number])
        for number, (span, score) in enumerate(zip(spans, scores, strict=True))
        if "missing" not in status[span[0] : span[1]]
    ]
    example = Example(Doc(doc.vocab, words=["w"] * 8), doc)
    assert GoldSpans(example).judge_scored(spans, scores) == expected


def test_a_document_without_annotation_judges_nothing() -> None:
    vocab = Vocab()
    example = Example(make_doc(vocab, ["a"], [(0, 1, "Age")]), Doc(vocab, words=["a"]))
    gold = GoldSpans(example)
    assert gold.match([(0, 1, "Age")])[0] == [None]
    assert gold.judge_scored([(0, 1, "Age")], [0.5]) == []
    assert gold.missed([]) == [] and not gold.support


def nested(vocab: Vocab) -> Doc:
    """Gold entities (0, 3, "Sign") and (4, 5, "Sex"), of which the first is around others."""
    return make_doc(vocab, ["left", "lung", "cancer", "of", "man"], [(0, 3, "Sign"), (4, 5, "Sex")])


def test_gold_spans_may_overlap() -> None:
    vocab = Vocab()
    gold = nested(vocab)
    wanted = [(0, 3, "Sign"), (0, 2, "Site"), (1, 2, "Site"), (0, 3, "Age"), (4, 5, "Sex")]
    # The second of the sites is there twice.
    spans = [Span(gold, *of) for of in [*wanted, wanted[2]]]
    found = GoldSpans(Example(make_doc(vocab, [t.text for t in gold], []), gold), spans)
    assert found.support == {"Sign": 1, "Site": 2, "Age": 1, "Sex": 1}
    predicted = [(0, 2, "Site"), (0, 3, "Site"), (0, 3, "Age"), (0, 3, "Age"), (2, 3, "Sign")]
    assert found.match(predicted)[0] == [True, False, True, False, False]
    assert found.missed(predicted) == [(0, 3, "Sign"), (1, 2, "Site"), (4, 5, "Sex")]
    assert found.count(predicted) == {
        "Sign": [0, 1, 1],
        "Site": [1, 1, 1],
        "Age": [1, 1, 0],
        "Sex": [0, 0, 1],
    }


def test_gold_spans_on_unknown_tokens_are_left_out() -> None:
    vocab = Vocab()
    gold = nested(vocab)
    gold.set_ents([gold.ents[1]], missing=[gold[0:1]], default="outside")
    spans = [Span(gold, 0, 3, "Sign"), Span(gold, 1, 2, "Site")]
    found = GoldSpans(Example(make_doc(vocab, [t.text for t in gold], []), gold), spans)
    assert found.support == {"Site": 1}
    assert found.count([(0, 3, "Sign")]) == {"Sign": [0, 0, 0], "Site": [0, 0, 1]}
