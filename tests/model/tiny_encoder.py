"""A transformer for tests that needs no download: random weights of a BERT of two layers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from spacy.language import Language
from spacy.util import load_model_from_config
from thinc.api import Config

from clinical_ner.model.encoder import InstalledEncoder

CONFIG = """
[nlp]
lang = "en"
pipeline = ["transformer"]

[components]

[components.transformer]
factory = "transformer"
set_extra_annotations = {"@annotation_setters":"spacy-transformers.null_annotation_setter.v1"}

[components.transformer.model]
@architectures = "spacy-transformers.TransformerModel.v3"
name = "owner/encoder"
tokenizer_config = {"use_fast":true,"model_max_length":64}

[components.transformer.model.get_spans]
@span_getters = "spacy-transformers.strided_spans.v1"
window = 16
stride = 12

[initialize]
before_init = {"@callbacks":"clinical_ner.use_installed_encoder.v1"}
after_init = {"@callbacks":"clinical_ner.restore_encoder_name.v1"}
"""


def write_encoder(folder: Path, *, places: int = 64) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fever", "and", "cough", "aspirin"]
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizerFast(str(vocab)).save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=places,
        )
    ).save_pretrained(folder)
    return folder


def write_package(root: Path) -> InstalledEncoder:
    """A module ``tiny_encoder_package`` under root, which holds an encoder."""
    folder = write_encoder(root / "tiny_encoder_package" / "model")
    (folder.parent / "__init__.py").touch()
    return InstalledEncoder(
        package="tiny-encoder",
        version="1.2.3",
        module="tiny_encoder_package",
        folder="model",
        sha256={
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        },
        license="CC0-1.0",
    )


def pipeline(name: str = "owner/encoder") -> Language:
    config = Config().from_str(CONFIG, overrides={"components.transformer.model.name": name})
    return load_model_from_config(config, auto_fill=True)
