"""Token vectors and probabilities of annotated documents, beside their gold tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..evaluation.runner import before_recognizer
from ..pipeline.recognizer import ClinicalNer
from ..tags.encode import encode_example


class LabelledTokens(NamedTuple):
    """The tokens of a document that have a gold tag; arrays of the CPU.

    Attributes:
        vectors: what the head sees. *Shape:* ``(n, width)``.
        log_probs: log p(tag | text), with neighbours where the component has some. *Shape:* ``(n,
            K)``.
        gold: tag ids, none masked. *Shape:* ``(n,)``.
    """

    vectors: NDArray[np.floating]
    log_probs: NDArray[np.floating]
    gold: NDArray[np.int64]


def labelled_tokens(
    nlp: Language, name: str, references: Sequence[Doc]
) -> Iterator[LabelledTokens]:
    """Run a pipeline up to its recognizer over annotated documents, one after the other.

    What other components leave on a document, such as the output of a transformer, is gone with
    it, so only what is yielded can fill the memory.

    Args:
        nlp: the pipeline; its tokenizer makes the tokens, unless gold has words without spaces.
        name: the recognizer's.
        references: gold; documents without tokens are left out.

    Raises:
        ClinicalNerError: gold holds a label that the recognizer lacks.
    """
    component = nlp.get_pipe(name)
    assert isinstance(component, ClinicalNer)
    label_index = {label: i for i, label in enumerate(component.labels)}
    to_numpy = component.model.ops.to_numpy
    docs = before_recognizer(nlp, name, references)
    for doc, reference in zip(docs, references, strict=True):
        if len(doc) == 0:
            continue
        ids = encode_example(Example(doc, reference), label_index, name=name)
        labelled = ids >= 0
        vectors = component.token_vectors([doc])
        (log_probs,) = component.log_probs(vectors)
        yield LabelledTokens(
            vectors=to_numpy(vectors[0])[labelled],
            log_probs=to_numpy(log_probs)[labelled],
            gold=ids[labelled],
        )
