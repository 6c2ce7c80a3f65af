"""Pipelines with a windowed transformer over random weights, small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import fix_random_seed
from transformers import BertConfig, BertModel, BertTokenizerFast

WORDS = ("fever", "and", "cough", "aspirin", "a", "/", ".", "##a", "##b", "b")
SETTINGS: dict[str, Any] = {
    "@architectures": "clinical_ner.WindowedTransformer.v1",
    "max_wordpieces": 12,
    "context": 2,
    "training_context": 1,
    "max_batch_items": 48,
    "tokenizer_config": {"use_fast": True},
    "transformer_config": {},
    "mixed_precision": False,
    "grad_scaler_config": {},
}
LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
}
LONG = " ".join(["fever and cough . aspirin"] * 8)
SHORT = "cough and fever"


def write_bert(folder: Path, *, places: int = 32, dropout: float = 0.0) -> Path:
    """Save a random BERT of two layers that knows WORDS."""
    folder.mkdir(parents=True)
    vocab = folder / "vocab.txt"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    vocab.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    BertTokenizerFast(str(vocab), model_max_length=places).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=places,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        # Weights large enough that vectors depend on their context.
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def make_nlp(encoder: Path, **settings: Any) -> Language:
    """A pipeline that is not initialized; settings are those of the transformer's model."""
    nlp = spacy.blank("en")
    model = {**SETTINGS, "name": str(encoder), **settings}
    nlp.add_pipe("transformer", config={"model": model, "max_batch_items": 10_000})
    settings = {"model": {"tok2vec": LISTENER}, "keep_transformer_output": True}
    nlp.add_pipe("clinical_ner", name="ner", config=settings)
    return nlp


def examples(nlp: Language) -> list[Example]:
    return [
        Example.from_dict(nlp.make_doc(LONG), {"entities": [(0, 5, "Sign"), (18, 25, "Drug")]}),
        Example.from_dict(nlp.make_doc(SHORT), {"entities": [(0, 5, "Sign")]}),
        Example.from_dict(nlp.make_doc(""), {"entities": []}),
    ]


def train(nlp: Language, *, steps: int = 2) -> Language:
    """Initialize and train on the three examples."""
    fix_random_seed(0)
    batch = examples(nlp)
    optimizer = nlp.initialize(lambda: batch)
    for _ in range(steps):
        nlp.update(batch, sgd=optimizer)
    return nlp
