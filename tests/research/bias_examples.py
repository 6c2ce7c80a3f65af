"""A pipeline for the test for bias that learns in seconds, and a result made by hand."""

from __future__ import annotations

from typing import Any

from spacy.language import Language


def tiny_encoder(nlp: Language) -> dict[str, Any]:
    """Convolutions over hashed words, inside the component."""
    return {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 16,
        "depth": 1,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": False,
    }


def row(tag: str, *, tokens: int, share: float, before: float, after: float | None) -> dict:
    return {
        "tag": tag,
        "tokens": tokens,
        "share": share,
        "judged": tokens >= 50,
        "mass_before": before,
        "argmax_before": before,
        "mass_after": after,
        "argmax_after": None if after is None else 0.0,
    }


def result(loss: str, after: float | None, *, tokens: int = 100) -> dict[str, Any]:
    """What one loss gave: O is right, B-L1 is as said."""
    return {
        "loss": loss,
        "title": f"title of {loss}",
        "has_posterior": after is not None,
        "seconds": 1.5,
        "sum_above_1": None,
        "tags": [
            row("O", tokens=9900, share=0.99, before=0.6, after=after and 1.0),
            row("B-L1", tokens=tokens, share=0.01, before=40.0, after=after),
        ],
    }
