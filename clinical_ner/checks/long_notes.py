"""Documents that are longer than an encoder reads at once, counted in its own wordpieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..model.encoder import INSTALLED_ENCODERS
from ..model.windows.window_settings import longest_window
from .corpus import Part, all_documents
from .findings import Finding, document_place, found

#: That of the default recipe.
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
_BATCH = 64


def find_long(parts: Sequence[Part], *, encoder: str = ENCODER) -> list[Finding]:
    """Find documents that do not fit into the encoder's window, special tokens included.

    Nothing is downloaded: where the encoder, a public name or a folder, is not on this machine,
    that is the finding.
    """
    # Costs seconds, and only this check needs it.
    from transformers import AutoConfig, AutoTokenizer

    installed = INSTALLED_ENCODERS.get(encoder)
    source = str((installed.locate() if installed else None) or encoder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        config = AutoConfig.from_pretrained(source, local_files_only=True)
    # The hub's client, the configuration and the tokenizer each raise whatever suits them.
    except Exception:
        return _not_counted(f"encoder {_shown(encoder)} is not installed, or cannot be read")
    limit = longest_window(tokenizer, config)
    if limit is None:
        return _not_counted(f"encoder {_shown(encoder)} names no limit")
    pairs = list(all_documents(parts))
    places = []
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        # Lone surrogates, which JSON can hold, are no UTF-8, and tokenizers take nothing else.
        texts = [document.text.encode("utf-8", "replace").decode() for _, document in batch]
        for (part, document), ids in zip(
            batch, tokenizer(texts, truncation=False, verbose=False)["input_ids"], strict=True
        ):
            if len(ids) > limit:
                places.append(document_place(part, document, f"{len(ids)} wordpieces"))
    detail = f"over {limit} wordpieces of {_shown(encoder)}"
    return found({"C070": places}, of=len(pairs), details={"C070": detail})


def _not_counted(reason: str) -> list[Finding]:
    """Give the finding that nothing was counted, and why."""
    return [Finding("C071", 1, detail=reason)]


def _shown(encoder: str) -> str:
    return Path(encoder).name if Path(encoder).is_dir() else encoder
