"""What a sampling batcher says of its batches, and where it says it.

spaCy rebuilds the Examples of a batch before a component sees them, and only ``user_data`` of the
gold Doc survives. A batcher that draws documents at other rates than the corpus holds them leaves
there what the component needs to undo it.
"""

from __future__ import annotations

from typing import TypedDict

#: Key of ``doc.user_data`` under which a ``BatchSampling`` stands.
BATCH_SAMPLING = "clinical_ner.batch"


class BatchSampling(TypedDict):
    """How the batches are drawn, and this one: expected shares of tags, not those that came out.

    Shares are by tag name and sum to 1 over the labelled tokens; those of documents are means of
    the shares in each document drawn.

    Attributes:
        type: the entity type that the batch is for, or None.
        shares: over all batches.
        document_shares: see `shares`.
        batch_shares: over the batches of this type; as above without a type.
        batch_document_shares: see `batch_shares`.
        type_odds: odds of the type's own tags against all but the type, in batches of this type;
            empty without a type.
        type_document_odds: see `type_odds`.
    """

    type: str | None
    shares: dict[str, float]
    document_shares: dict[str, float]
    batch_shares: dict[str, float]
    batch_document_shares: dict[str, float]
    type_odds: dict[str, float]
    type_document_odds: dict[str, float]
