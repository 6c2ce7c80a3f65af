"""A small corpus whose documents differ much in length and in what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.tags.batch_sampling import BATCH_SAMPLING, BatchSampling

Entities = list[tuple[int, int, str]]

VOCAB = Vocab()
#: Types and tags of the small corpus.
LABELS = ["Dose", "Drug", "Mass", "Sign"]
TAGS = ["O", *(f"{prefix}-{label}" for label in LABELS for prefix in ("B", "I"))]


def make_example(
    length: int, ents: Entities, *, missing: tuple[int, int] | None = None, name: str = ""
) -> Example:
    """A document of some words with entities; outside but for a stretch where gold is unknown."""
    doc = Doc(VOCAB, words=["word"] * length)
    unknown = [Span(doc, *missing)] if missing else []
    spans = [Span(doc, start, end, label) for start, end, label in ents]
    doc.set_ents(spans, missing=unknown, default="outside")
    doc.user_data["clinical_ner.id"] = name
    return Example(Doc(VOCAB, words=["word"] * length), doc)


def entities(*wanted: tuple[str, int, int]) -> Entities:
    """Entities side by side from the start: label, how many, tokens of each."""
    found: Entities = []
    position = 0
    for label, number, tokens in wanted:
        for _ in range(number):
            found.append((position, position + tokens, label))
            position += tokens
    return found


def small_corpus() -> list[Example]:
    """Eleven documents: Sign is common, Drug is not, Mass is in one, and three have no entity."""
    contents: list[tuple[int, Entities]] = [
        (60, entities(("Sign", 9, 2))),
        (25, entities(("Sign", 2, 1), ("Drug", 4, 2))),
        (90, entities(("Sign", 4, 3))),
        (40, entities(("Drug", 1, 1))),
        (33, entities(("Sign", 1, 1), ("Drug", 2, 3), ("Dose", 2, 2))),
        (75, entities(("Sign", 12, 2), ("Dose", 1, 4), ("Mass", 1, 2))),
        (12, entities(("Dose", 3, 1))),
        (130, entities(("Sign", 20, 1), ("Drug", 3, 2))),
    ]
    examples = [make_example(n, ents, name=str(i)) for i, (n, ents) in enumerate(contents)]
    examples.append(make_example(50, [], name="8"))
    examples.append(make_example(21, [], missing=(5, 12), name="9"))
    examples.append(make_example(8, [], missing=(0, 8), name="10"))
    return examples


def name_of(example: Example) -> str:
    return str(example.reference.user_data["clinical_ner.id"])


def words_of(batch: list[Example]) -> int:
    return sum(len(example.predicted) for example in batch)


def tags_of(example: Example) -> Counter[str]:
    """Tokens per tag, taken from the gold tokens themselves."""
    prefixes = {1: "I-", 2: "O", 3: "B-"}
    return Counter(
        prefixes[token.ent_iob] + token.ent_type_
        for token in example.reference
        if token.ent_iob in prefixes
    )


def types_of(example: Example) -> set[str]:
    return {ent.label_ for ent in example.reference.ents}


def said(batch: list[Example]) -> BatchSampling:
    """What is in the documents of a batch, the same object in all."""
    found = [example.reference.user_data[BATCH_SAMPLING] for example in batch]
    assert all(sampling is found[0] for sampling in found)
    return found[0]


def endless(batcher: Any, examples: list[Example]) -> Iterator[tuple[BatchSampling, list[Example]]]:
    """Batches one by one, with what was said of each when it came."""
    while True:
        for batch in batcher(examples):
            yield said(batch), batch
