"""What is written holds strings that a pipeline refers to, none that training left in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.kb import InMemoryLookupKB
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from clinical_ner.pipeline.saving import leaves, save_pipeline

from .examples import TRAIN

#: Words that no part of the pipeline is made of; the tagger's own tag is one of its labels.
NOTE, TAG = "quixley", "ZZTAG"
TEXT = "patient quixley has fever in Springfield and ran homewards"


@Language.factory("packs_hashes")
class PacksHashes:
    """A component that refers to a string by its hash only, packed at an odd distance."""

    def __init__(self, nlp: Language, name: str) -> None:
        self.vocab, self.packed = nlp.vocab, b""

    def __call__(self, doc: Doc) -> Doc:
        doc.user_data["unpacked"] = doc.vocab.strings[int.from_bytes(self.packed[3:11], "little")]
        return doc

    def to_bytes(self, exclude: Any = ()) -> bytes:
        return self.packed

    def to_disk(self, path: Path, exclude: Any = ()) -> None:
        path.write_bytes(self.packed)

    def from_disk(self, path: Path, exclude: Any = ()) -> PacksHashes:
        self.packed = path.read_bytes()
        return self


@pytest.fixture(scope="module")
def nlp() -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("tagger")
    nlp.add_pipe("morphologizer")
    nlp.add_pipe("trainable_lemmatizer", config={"min_tree_freq": 1, "top_k": 5})
    nlp.add_pipe("clinical_ner", name="ner")
    examples = [
        Example.from_dict(
            nlp.make_doc(f"{text} {NOTE} ran"),
            {
                "entities": entities,
                "tags": [TAG] * (len(text.split()) + 2),
                "pos": ["NOUN"] * (len(text.split()) + 2),
                "morphs": ["Number=Sing"] * (len(text.split()) + 2),
                "lemmas": [*text.split(), NOTE, "run"],
            },
        )
        for text, entities in TRAIN
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(5):
        nlp.update(examples, sgd=optimizer)
    ruler: Any = nlp.add_pipe("entity_ruler", config={"overwrite_ents": False})
    ruler.add_patterns([{"label": "Place", "pattern": "Springfield", "id": "place-1"}])
    attributes: Any = nlp.add_pipe("attribute_ruler")
    attributes.add([[{"LOWER": "homewards"}]], {"TAG": "ZZADV", "NORM": "homeward"})
    base = InMemoryLookupKB(nlp.vocab, entity_vector_length=3)
    base.add_entity("Q1", freq=1, entity_vector=[1, 2, 3])
    base.add_alias("Springfield", ["Q1"], [1.0])
    linker: Any = nlp.add_pipe("entity_linker", config={"use_gold_ents": True})
    linker.set_kb(lambda vocab: base)
    linker.initialize(lambda: [example for example in examples if example.reference.ents], nlp=nlp)
    packs: Any = nlp.add_pipe("packs_hashes")
    packs.packed = b"\xff\xff\xff" + nlp.vocab.strings.add("packed").to_bytes(8, "little") + b"\xff"
    return nlp


def outputs(nlp: Language) -> list[Any]:
    doc = nlp(TEXT)
    names = ("tag_", "pos_", "lemma_", "norm_", "ent_type_", "ent_id_", "ent_kb_id_")
    return [
        doc.user_data["unpacked"],
        *[[str(token.morph), *(getattr(token, name) for name in names)] for token in doc],
        *[(ent.text, ent._.probability) for ent in doc.ents],
    ]


def test_pipelines_of_many_components_predict_the_same(nlp: Language, tmp_path: Path) -> None:
    before, strings = outputs(nlp), sorted(nlp.vocab.strings)
    save_pipeline(nlp, tmp_path)
    assert (sorted(nlp.vocab.strings), outputs(nlp)) == (strings, before)
    assert outputs(spacy.load(tmp_path)) == before
    flat = str(before)
    assert all(word in flat for word in (TAG, "ZZADV", "homeward", "Place", "Q1", "packed"))


def test_no_list_of_strings_holds_words_of_the_notes(nlp: Language, tmp_path: Path) -> None:
    nlp.to_disk(tmp_path / "stock")
    save_pipeline(nlp, tmp_path / "ours")
    lists = {
        path.relative_to(tmp_path / "stock"): json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "stock").rglob("strings.json")
    }
    # The vocabulary's, and the knowledge base's copy of it.
    assert len(lists) == 2
    for path, before in lists.items():
        after = json.loads((tmp_path / "ours" / path).read_text(encoding="utf-8"))
        assert set(after) < set(before)
        assert {NOTE, "aspirin", "knee"} <= set(before) - set(after)


def test_leaves_are_found_at_any_depth() -> None:
    inner = json.dumps({"a": [1, {"b": "c"}], "d": True})
    packed = srsly.msgpack_dumps({"in": inner, "raw": b"\x00\xff", "list": ["x", 2**63]})
    assert [leaf for leaf in leaves({"top": packed, 7: 8}) if not isinstance(leaf, dict)] == [
        *["top", "in", "raw", "list"],
        *["a", "d", 1, "b", "c", b"\x00\xff", "x", 2**63, 8],
    ]
