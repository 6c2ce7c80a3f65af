"""Why inverse weights lost mass on a corpus with permuted labels: one change at a time.

    python benchmarks/inverse_weights.py CORPUS.spacy

A linear model in place of the component of `clinical-ner bias --corpus`, on the vectors of the
encoder as it is before training; Adam at that command's rates, from logits of 0. Its vectors are
those of other words, so that they say nothing of the tags, but in the row "in their places". Per
row: mass of all mentions on fresh text after the inverse, and judged tags outside the tolerance.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.arrays import log_softmax
from clinical_ner.data.gold import read_gold
from clinical_ner.losses.weights import tag_weights
from clinical_ner.model.encoder import use_installed_encoders
from clinical_ner.research.bias import one_pass, randomised
from clinical_ner.research.bias.bias import WORDS
from clinical_ner.research.bias.bias_test import JUDGED_FROM, TOLERANCE
from clinical_ner.tags.encode import encode_example
from clinical_ner.tags.statistics import TagStatistics

CHANGES: dict[str, dict[str, Any]] = {
    "as it was": {},
    "batches of 1,000 words": {"words": 1000},
    "no decay of the rate": {"decay": False},
    "gradients clipped at 1": {"clip": 1.0},
    "second moment of Adam over 10 steps": {"second": 0.9},
    "mean of the parameters over the last half": {"mean": True},
    "five times the rate": {"rate": 2e-3},
    "ten passes": {"steps": 1200},
    "ten passes at five times the rate": {"steps": 1200, "rate": 2e-3},
    "ten passes, mentions in their places": {"steps": 1200, "in_place": True},
}
Array = NDArray[np.float64]


def vectors_and_tags(corpus: Path) -> tuple[TagStatistics, list[tuple[Array, NDArray[np.int64]]]]:
    """Statistics of the training texts; vectors and tag ids of the training and fresh tokens."""
    with patch.object(randomised, "move_mentions", lambda text, generator: text):
        docs = read_gold(corpus, Vocab())
        data = randomised.permuted_corpus(docs, words=WORDS, seed=0, source=str(corpus))
    nlp = spacy.blank("en")
    tok2vec = one_pass.transformer(one_pass.ENCODER)(nlp)
    model = {"@architectures": "clinical_ner.TokenClassifier.v1", "tok2vec": tok2vec}
    nlp.add_pipe("clinical_ner", name=one_pass.RECOGNIZER, config={"model": model})
    use_installed_encoders(nlp)
    train, fresh = (
        [Example(text.to_plain_doc(nlp.vocab), text.to_doc(nlp.vocab)) for text in texts]
        for texts in (data.train, data.fresh)
    )
    nlp.initialize(lambda: train)
    component = one_pass.recognizer(nlp)
    others = {label for text in data.fresh for *_, label in text.mentions}
    labels = [*component.labels, *sorted(others - set(component.labels))]
    index = {label: i for i, label in enumerate(labels)}
    found = []
    for examples in (train, fresh):
        batches = one_pass.encode(nlp, (example.predicted for example in examples))
        rows = np.concatenate([v for docs in batches for v in component.token_vectors(docs)])
        ids = np.concatenate([encode_example(eg, index, name="ner") for eg in examples])
        found.append((rows[ids >= 0].astype(np.float64), ids[ids >= 0]))
    return component.statistics, found


def train(
    vectors: Array,
    tags: NDArray[np.int64],
    weights: Array,
    *,
    steps: int = 120,
    words: int = 200,
    rate: float = one_pass.LEARN_RATE * one_pass.LEARN_RATE_FACTOR,
    second: float = 0.999,
    decay: bool = True,
    clip: float = 0.0,
    mean: bool = False,
    in_place: bool = False,
) -> Array:
    """Parameters of the linear model, the last row those of the bias."""
    generator = np.random.default_rng(0)
    if not in_place:
        tags = generator.permutation(tags)
    inputs = np.c_[vectors, np.ones(len(vectors))]
    parameters = np.zeros((inputs.shape[1], len(weights)))
    moment, square, total = (np.zeros_like(parameters) for _ in range(3))
    averaged = 0
    order = np.zeros(0, dtype=int)
    for step in range(1, steps + 1):
        if len(order) < words:
            order = np.r_[order, generator.permutation(len(inputs))]
        rows, order = order[:words], order[words:]
        errors = np.exp(log_softmax(inputs[rows] @ parameters))
        errors[np.arange(words), tags[rows]] -= 1
        gradient = inputs[rows].T @ (errors * weights[tags[rows], None]) / words
        if clip:
            gradient *= min(1.0, clip / np.sqrt((gradient**2).sum()))
        moment = 0.9 * moment + 0.1 * gradient
        square = second * square + (1 - second) * gradient**2
        passed = (step - 0.5) / steps
        factor = one_pass.rate_at(passed) if decay else 1.0
        scaled = np.sqrt(square / (1 - second**step)) + 1e-8
        parameters = parameters - rate * factor * moment / (1 - 0.9**step) / scaled
        if passed > 0.5:
            total += parameters
            averaged += 1
    return total / averaged if mean else parameters


def main() -> None:
    """Print a row per change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, metavar="CORPUS.spacy")
    statistics, ((vectors, tags), (fresh, _)) = vectors_and_tags(parser.parse_args().corpus)
    seen = np.flatnonzero(statistics.seen)
    tags = np.searchsorted(seen, tags)
    weights = tag_weights(statistics, "inverse", beta=0.0)[seen]
    shares, judged = statistics.prior[seen], statistics.counts[seen] >= JUDGED_FROM
    print("| inverse weights | mass of mentions | judged tags off |\n|---|---|---|")
    for name, change in CHANGES.items():
        parameters = train(vectors, tags, weights, **change)
        logits = fresh @ parameters[:-1] + parameters[-1] - np.log(weights)
        mean = np.exp(log_softmax(logits)).mean(axis=0)
        mass = mean[judged] / shares[judged]
        off = ((mass < TOLERANCE[0]) | (mass > TOLERANCE[1])).sum()
        mentions = (1 - mean[0]) / (1 - shares[0])
        print(f"| {name} | {mentions:.2f} | {off} of {judged.sum()} |", flush=True)


if __name__ == "__main__":
    main()
