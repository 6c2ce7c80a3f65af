"""What becomes of entities and probabilities when several hands work on one Doc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from clinical_ner.pipeline.recognizer import ClinicalNer

DRUGS, SIGNS = ["aspirin", "heparin", "insulin"], ["fever", "back pain", "nausea"]
TEMPLATES = ("took {} today", "{} was given", "has {} and rests", "no {} now")
TEXT = "has back pain and took aspirin today"
LONG = "Patient has back pain and fever and back pain and nausea"


def trained(name: str, label: str, words: list[str], others: list[str], *further: str) -> Language:
    """A pipeline with a component that finds the words, and not the others.

    further: names of components behind it that learn the same.
    """
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    for component in (name, *further):
        nlp.add_pipe("clinical_ner", name=component)
    examples = []
    for word in words + others:
        for template in TEMPLATES:
            text = template.format(word)
            start = text.index(word)
            ents = [(start, start + len(word), label)] if word in words else []
            examples.append(Example.from_dict(nlp.make_doc(text), {"entities": ents}))
    nlp.initialize(lambda: examples)
    for _ in range(40):
        nlp.update(examples)
    return nlp


@pytest.fixture(scope="module")
def signs() -> Language:
    return trained("sign_ner", "Sign", SIGNS, DRUGS)


@pytest.fixture
def drugs() -> Language:
    return trained("drug_ner", "Drug", DRUGS, SIGNS)


def found(doc: Doc) -> list[tuple[str, str, float | None]]:
    return [(ent.text, ent.label_, ent._.probability) for ent in doc.ents]


def by_text(doc: Doc) -> dict[tuple[int, str], float | None]:
    return {(ent.start_char, ent.label_): ent._.probability for ent in doc.ents}


class TestTwoComponents:
    def expected(self, signs: Language, drugs: Language) -> list[tuple[str, str, float | None]]:
        return [*found(signs(TEXT)), *found(drugs(TEXT))]

    def test_sourced_into_one_pipeline(self, signs: Language, drugs: Language) -> None:
        expected = self.expected(signs, drugs)
        assert [of[:2] for of in expected] == [("back pain", "Sign"), ("aspirin", "Drug")]
        drugs.add_pipe("sign_ner", source=signs)
        doc = drugs(TEXT)
        assert found(doc) == expected
        assert {key: [span.text for span in group] for key, group in doc.spans.items()} == {
            "ner": ["aspirin"],
            "sign_ner": ["back pain"],
        }
        # Each finds its own again, whoever runs again.
        for name in ("drug_ner", "sign_ner"):
            assert found(drugs.get_pipe(name)(doc)) == expected
            assert sorted(doc.spans) == ["ner", "sign_ner"]
        assert [found(of) for of in drugs.pipe([TEXT, TEXT])] == [expected] * 2

    def test_saved_and_loaded(self, signs: Language, drugs: Language, tmp_path: Path) -> None:
        # Case A46 of the reports.
        drugs.add_pipe("sign_ner", source=signs)
        drugs.to_disk(tmp_path)
        for nlp in (drugs, spacy.load(tmp_path)):
            doc = nlp("has fever and took aspirin today")
            assert [of[:2] for of in found(doc)] == [("fever", "Sign"), ("aspirin", "Drug")]

    def test_trained_in_one_pipeline(self) -> None:
        nlp = trained("first", "Sign", SIGNS, DRUGS, "second")
        first, second = (nlp.get_pipe(name) for name in ("first", "second"))
        doc = nlp(TEXT)
        assert [of[:2] for of in found(doc)] == [("back pain", "Sign")]
        groups = [doc.spans[key] for key in ("ner", "second")]
        assert [[span.text for span in group] for group in groups] == [["back pain"]] * 2
        # The second one's has no room among the entities.
        alone = [component(nlp.make_doc(TEXT)).ents[0] for component in (first, second)]
        assert doc.ents[0]._.probability == alone[0]._.probability
        assert [group.attrs["scores"] for group in groups] == [[ent._.probability] for ent in alone]

    def test_on_a_document_of_another_pipeline(self, signs: Language, drugs: Language) -> None:
        expected = self.expected(signs, drugs)
        assert found(drugs(signs(TEXT))) == expected
        # Of one name, as those of most pipelines.
        drugs.get_pipe("drug_ner").name = signs.get_pipe("sign_ner").name
        doc = drugs(signs(TEXT))
        assert found(doc) == expected
        assert sorted(doc.spans) == ["ner", "sign_ner"]

    def test_overwrite_holds_between_them(self, signs: Language) -> None:
        other = trained("other", "Other", SIGNS, DRUGS)
        kept = other(signs(TEXT))
        assert found(kept) == found(signs(TEXT))
        # What had no room is in its group, with its own probability.
        (span,) = kept.spans["other"]
        assert (span.text, span.label_) == ("back pain", "Other")
        assert span._.probability == kept.spans["other"].attrs["scores"][0]
        other.get_pipe("other").overwrite = True
        assert [of[:2] for of in found(other(signs(TEXT)))] == [("back pain", "Other")]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_so_it_is_in_a_doc_bin_that_keeps_the_groups_alone(
        self, signs: Language, overwrite: bool
    ) -> None:
        same = trained("same", "Sign", SIGNS, ["cough"])
        alone = [nlp(TEXT).ents[0]._.probability for nlp in (signs, same)]
        same.get_pipe("same").overwrite = overwrite
        doc = same(signs(TEXT))
        (loaded,) = DocBin(docs=[doc]).get_docs(signs.vocab)
        for of in (doc, loaded):
            assert of.ents[0]._.probability == pytest.approx(alone[overwrite])
            assert [of.spans[key].attrs["scores"] for key in ("ner", "same")] == [
                [pytest.approx(probability)] for probability in alone
            ]

    def test_the_probability_is_of_the_component_that_made_the_entity(
        self, signs: Language
    ) -> None:
        same = trained("same", "Sign", SIGNS, ["cough"])
        alone = [nlp(TEXT).ents[0]._.probability for nlp in (signs, same)]
        assert alone[0] != alone[1]
        assert same(signs(TEXT)).ents[0]._.probability == alone[0]
        assert signs(same(TEXT)).ents[0]._.probability == alone[1]
        # Nor does the other one remove it when it finds it no more.
        doc = same(signs(TEXT))
        same.get_pipe("same").thresholds = {"Sign": 1.0}
        assert found(same.get_pipe("same")(doc)) == found(signs(TEXT))

    def test_groups_of_earlier_versions_are_their_own(self, signs: Language) -> None:
        doc = signs(TEXT)
        for key in ("owner", "in_ents"):
            del doc.spans["ner"].attrs[key]
        signs.get_pipe("sign_ner").thresholds = {"Sign": 1.0}
        try:
            assert signs.get_pipe("sign_ner")(doc).ents == ()
        finally:
            signs.get_pipe("sign_ner").thresholds = {}
        assert list(doc.spans) == ["ner"] and len(doc.spans["ner"]) == 0


def merge(doc: Doc, start: int, end: int) -> None:
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[start:end])


def split(doc: Doc, token: int) -> None:
    text = doc[token].text
    with doc.retokenize() as retokenizer:
        orths = [text[:2], text[2:]]
        retokenizer.split(doc[token], orths, [(doc[token], 1), doc[max(token - 1, 0)]])


class TestRetokenization:
    @pytest.fixture
    def expected(self, signs: Language) -> dict[tuple[int, str], float | None]:
        expected = by_text(signs(LONG))
        assert len(expected) == 4 and len(set(expected.values())) == 4
        return expected

    def outcomes(self, doc: Doc) -> Iterator[Doc]:
        """The document, and copies by every way that spaCy has."""
        yield doc
        yield doc.copy()
        yield Doc(doc.vocab).from_bytes(doc.to_bytes())
        yield next(DocBin(docs=[doc]).get_docs(doc.vocab))
        yield next(DocBin(docs=[doc], store_user_data=True).get_docs(doc.vocab))

    def test_entities_merged_by_a_component(self, signs: Language, expected: dict) -> None:
        signs.add_pipe("merge_entities")
        try:
            docs = [*self.outcomes(signs(LONG)), *signs.pipe([LONG, LONG])]
        finally:
            signs.remove_pipe("merge_entities")
        for doc in docs:
            assert by_text(doc) == expected
            group = doc.spans["ner"]
            assert [span.text for span in group] == [ent.text for ent in doc.ents]
            assert [span._.probability for span in group] == group.attrs["scores"]

    @pytest.mark.slow
    def test_entities_merged_in_other_processes(self, signs: Language, expected: dict) -> None:
        signs.add_pipe("merge_entities")
        try:
            docs = list(signs.pipe([LONG, TEXT, LONG], n_process=2, batch_size=1))
        finally:
            signs.remove_pipe("merge_entities")
        assert [by_text(doc) for doc in docs] == [expected, by_text(signs(TEXT)), expected]

    @pytest.mark.parametrize("token", [0, 4, 10])
    def test_a_token_split(self, signs: Language, expected: dict, token: int) -> None:
        doc = signs(LONG)
        split(doc, token)
        for copy in self.outcomes(doc):
            assert by_text(copy) == expected

    def test_tokens_merged_behind_and_split_before_keep_the_number(
        self, signs: Language, expected: dict
    ) -> None:
        doc = signs(LONG)
        merge(doc, 8, 10)
        split(doc, 0)
        for copy in self.outcomes(doc):
            found = by_text(copy)
            assert list(found.items())[:2] == list(expected.items())[:2]
            # "back pain and" is another entity, if any: no probability of ours.
            assert set(found.values()) <= {*expected.values(), None}

    def test_a_group_is_widened_to_merged_tokens(self, signs: Language) -> None:
        doc = signs(LONG)
        merge(doc, 1, 3)
        assert doc.spans["ner"][0].text == "has back pain"
        assert doc.spans["ner"][-1].text == "nausea"
        with pytest.raises(IndexError):
            doc.spans["ner"][4]
        # "pain" begins and ends where tokens do, and is not the entity.
        doc = signs(LONG)
        merge(doc, 1, 3)
        split(doc, 2)
        assert [token.text for token in doc][:4] == ["Patient", "has back", "pa", "in"]
        assert doc.spans["ner"][0].text == "has back pain"

    def test_a_group_that_nobody_looked_at_is_stored_right(self, signs: Language) -> None:
        doc = signs(LONG)
        expected = [span.text for span in doc.spans["ner"]]
        split(doc, 0)
        (stored,) = DocBin(docs=[doc]).get_docs(doc.vocab)
        assert [span.text for span in stored.spans["ner"]] == expected

    def test_a_second_run_replaces_the_first(self, signs: Language, expected: dict) -> None:
        doc = signs(LONG)
        split(doc, 0)
        again = signs.get_pipe("sign_ner")(doc)
        assert len(again.spans["ner"]) == len(again.ents) == 4


class TestWaysOfSpacy:
    def test_documents_joined(self, signs: Language) -> None:
        docs = [signs(LONG), signs(TEXT)]
        joined = Doc.from_docs(docs)
        expected = [of for doc in docs for of in found(doc)]
        assert found(joined) == expected

    def test_a_span_as_a_document(self, signs: Language) -> None:
        doc = signs(LONG)
        assert found(doc[4:].as_doc(copy_user_data=True)) == found(doc)[1:]
        assert [(e.text, e.label_, e._.probability) for e in doc[4:].ents] == found(doc)[1:]
        # spaCy leaves groups and user data out here.
        assert {of[2] for of in found(doc[4:].as_doc())} == {None}

    def test_json_and_back(self, signs: Language) -> None:
        doc = signs(TEXT)
        data = doc.to_json(underscore=["probability"])
        (value,) = data["underscore_span"]["probability"]
        assert value == {"start": 4, "end": 13, "value": {"Sign": doc.ents[0]._.probability}}
        assert found(Doc(signs.vocab).from_json(data)) == found(doc)

    def test_what_is_dropped_leaves_nothing_behind(self, signs: Language) -> None:
        doc = signs(TEXT)
        component = signs.get_pipe("sign_ner")
        component.thresholds = {"Sign": 1.0}
        try:
            component(doc)
        finally:
            component.thresholds = {}
        assert "underscore_span" not in doc.to_json()
        assert not [key for key in doc.user_data if key[0] == "._."]


class TestBlockedTokens:
    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("blocked", [(1, 2), (2, 3), (1, 3), (0, 7)])
    def test_no_entity_is_on_them(
        self, signs: Language, blocked: tuple[int, int], overwrite: bool
    ) -> None:
        component = signs.get_pipe("sign_ner")
        assert isinstance(component, ClinicalNer)
        doc = signs.make_doc(TEXT)
        doc.set_ents([], blocked=[doc[slice(*blocked)]], default="missing")
        component.overwrite = overwrite
        try:
            doc = signs(doc)
        finally:
            component.overwrite = False
        assert doc.ents == ()
        assert [t.i for t in doc if t.ent_iob_ == "B" and not t.ent_type] == list(range(*blocked))
        assert signs(doc).ents == ()

    def test_a_component_before_it_blocks_them(self, drugs: Language) -> None:
        # Case A48 of the reports.
        @spacy.Language.component("test_block_second")
        def block_second(doc: Doc) -> Doc:
            doc.set_ents([], blocked=[doc[1:2]], default="missing")
            return doc

        assert [ent.text for ent in drugs("took aspirin today").ents] == ["aspirin"]
        drugs.add_pipe("test_block_second", first=True)
        assert drugs("took aspirin today").ents == ()

    def test_others_are_found(self, signs: Language) -> None:
        doc = signs.make_doc(LONG)
        doc.set_ents([], blocked=[doc[2:3]], default="missing")
        assert found(signs(doc)) == found(signs(LONG))[1:]

    def test_they_are_blocked_when_a_model_is_evaluated(self, signs: Language) -> None:
        from clinical_ner.evaluation.one_pass_counts import evaluate_pipeline

        @spacy.Language.component("test_blocker")
        def blocker(doc: Doc) -> Doc:
            doc.set_ents([], blocked=[doc[1:3]], default="missing")
            return doc

        reference = signs.make_doc(TEXT)
        reference.set_ents([Span(reference, 1, 3, label="Sign")])
        signs.add_pipe("test_blocker", first=True)
        try:
            evaluation = evaluate_pipeline(signs, [reference], prior_strengths=[0.5])
        finally:
            signs.remove_pipe("test_blocker")
        assert evaluation.entities == 0
        assert evaluation.decisions[0.5].entities.spans.totals().tolist() == [[0, 0, 1]]
