"""What a component learns from: the gold of a batch, and the counts of all of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from spacy.training import Example

from ..errors import ConfigError, InputError
from ..losses.base import TokenLoss
from ..tags.batch_sampling import BATCH_SAMPLING, BatchSampling
from ..tags.encode import taggable
from ..tags.soft_targets import SOFT_TARGETS, mixed_tags, stack_soft_targets

if TYPE_CHECKING:
    from .recognizer import ClinicalNer


def sampling_of(component: ClinicalNer, examples: list[Example]) -> BatchSampling | None:
    """What a sampling batcher left in the gold documents of a batch."""
    found = [example.reference.user_data.get(BATCH_SAMPLING) for example in examples]
    if any(batch is not found[0] for batch in found):
        raise ConfigError(
            f"Component '{component.name}' was given a batch whose documents were drawn in "
            "different ways: let one batcher make all batches."
        )
    if component.overlaps and found[0] is not None:
        raise ConfigError(
            f"Component '{component.name}' has overlaps = true, but its batches are drawn by "
            "shares of entities that do not overlap: set training.batcher to "
            "spacy.batch_by_words.v1."
        )
    return found[0]


def soft_targets_of(component: ClinicalNer, examples: list[Example]) -> tuple[Any, Any] | None:
    """Soft targets of the tokens of a batch and their weights, None without any."""
    data = [example.reference.user_data for example in examples]
    if not any(SOFT_TARGETS in of for of in data):
        return None
    if not (isinstance(component.loss, TokenLoss) and component.loss.takes_soft_targets):
        raise ConfigError(
            f"Component '{component.name}' was given soft targets, which its loss "
            f"'{type(component.loss).__name__}' cannot learn with these settings: choose "
            "WeightedCrossEntropy, LogitAdjusted or MajorityOrMinority with the reduction "
            "tokens or documents."
        )
    if any(of.get(BATCH_SAMPLING) for of in data):
        raise ConfigError(
            f"Component '{component.name}' was given soft targets, but its batches are drawn by "
            "the shares of gold's entities: set training.batcher to spacy.batch_by_words.v1."
        )
    return stack_soft_targets(examples, component.labels)


def count_tags(component: ClinicalNer, get_examples: Callable[[], Iterable[Example]]) -> None:
    """Count the tags of the training data, and which are neighbours, into its statistics.

    Raises:
        InputError: there is no entity among them.
    """
    documents, neighbours = [], []
    masked_tokens = masked_documents = 0
    for example in get_examples():
        ids = component.gold_ids(example)
        masked = ids < 0 if ids.ndim == 1 else (ids < 0).any(axis=1)
        if soft := soft_targets_of(component, [example]):
            ids = mixed_tags(ids, *soft)
            masked = ~ids.any(axis=1)
        # Neighbours of a tag are those beyond whitespace.
        neighbours.append(ids[taggable(example.predicted)])
        n_masked = int((masked & taggable(example.predicted)).sum())
        masked_tokens += n_masked
        masked_documents += n_masked > 0
        documents.append(ids)
    component.statistics.count(component.labels, documents)
    if not component.overlaps:
        component.statistics.count_pairs(neighbours)
    if not component.statistics.counts[1:].any():
        references = (example.reference for example in get_examples())
        # An empty document has every annotation.
        if not any(doc.has_annotation("ENT_IOB") for doc in references if len(doc)):
            raise InputError(
                f"Component '{component.name}' needs training examples with entities: call "
                "nlp.initialize(get_examples) with those of the training data. The examples "
                "that it was given say nothing of entities (spaCy makes such, where there is "
                "no get_examples)."
            )
        raise InputError(
            f"The corpus for component '{component.name}' has no entity: annotate at least one, or "
            "check that the annotations were converted (clinical-ner convert prints a table "
            "per label)."
        )
    if masked_tokens:
        warnings.warn(
            f"{masked_tokens} tokens of {masked_documents} documents in the training data of "
            f"'{component.name}' have no usable gold tag (unknown, or not aligned with the "
            "tokenizer); they are masked, never trained as O.",
            stacklevel=2,
        )
