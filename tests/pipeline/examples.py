"""Pipelines small enough to train in a test: four documents, vectors from convolutions or from a
random transformer of 2 layers x 32 units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.training import Example
from thinc.api import fix_random_seed

KINDS = ("tok2vec", "transformer")

Offsets = list[tuple[int, int, str]]

TRAIN: list[tuple[str, Offsets]] = [
    ("patient has fever and left knee pain", [(12, 17, "Sign"), (22, 36, "Sign")]),
    ("patient took aspirin 40 mg", [(13, 20, "Drug"), (21, 26, "Dose")]),
    ("cough and fever", [(0, 5, "Sign"), (10, 15, "Sign")]),
    ("the patient has a left ear", []),
]
LABELS = ("Dose", "Drug", "Sign")


def write_transformer(folder: Path) -> Path:
    """Save a random BERT whose wordpieces are the words of TRAIN and single letters."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(exist_ok=True)
    words = {word for text, _ in TRAIN for word in text.split()}
    letters = {prefix + letter for word in words for letter in word for prefix in ("", "##")}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *sorted(words | letters)]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def make_nlp(kind: str, transformer: Path, **settings: Any) -> Language:
    """A pipeline that is not initialized.

    kind: one of KINDS; tok2vec is the default model, which shares its vectors with nobody.
    transformer: the folder that write_transformer filled.
    settings: of the component.
    """
    nlp = spacy.blank("en")
    if kind == "transformer":
        nlp.add_pipe(
            "transformer",
            config={
                "model": {
                    "@architectures": "spacy-transformers.TransformerModel.v3",
                    "name": str(transformer),
                    "tokenizer_config": {"use_fast": True},
                    "get_spans": {
                        "@span_getters": "spacy-transformers.strided_spans.v1",
                        "window": 16,
                        "stride": 12,
                    },
                }
            },
        )
        listener = {
            "@architectures": "spacy-transformers.TransformerListener.v1",
            "grad_factor": 1.0,
            "pooling": {"@layers": "reduce_mean.v1"},
        }
        settings = {"learn_rate_factor": 10.0, "model": {"tok2vec": listener}, **settings}
    nlp.add_pipe("clinical_ner", name="ner", config=settings)
    return nlp


def make_examples(nlp: Language, data: list[tuple[str, Offsets]] = TRAIN) -> list[Example]:
    return [Example.from_dict(nlp.make_doc(text), {"entities": ents}) for text, ents in data]


def train(nlp: Language, *, steps: int = 40, seed: int = 0) -> Language:
    """Initialize and train on TRAIN."""
    fix_random_seed(seed)
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    return nlp


def predicted(nlp: Language) -> list[Offsets]:
    """Entities found in the texts of TRAIN."""
    return [offsets(nlp(text)) for text, _ in TRAIN]


def offsets(doc: Any) -> Offsets:
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


GOLD = [ents for _, ents in TRAIN]
