"""The test for bias: does a loss, trained on texts without signal, give back the shares?

Without signal the best probability of a tag is its share among the training tokens, whatever the
text, and its argmax is always the commonest tag. A loss that weighs tokens or draws documents
predicts other shares. The test measures, per tag and on fresh texts, the ratio to the training
share of the mean predicted probability (mass) and of the tokens for which the tag is the most
probable (argmax):

    before the loss's inverse, with softmax(z) over the tags that occur in training, where z are the
    raw logits. That is what a library without inverses hands out. Also for one-vs-rest, whose
    logits other libraries put through one at prediction. For Binary Token Labels with the
    probabilities that each type's problem was trained to give, under its weights and as its tokens
    were drawn; p(O) is what is left of 1 by their sum. A softmax over all raw logits would say
    nothing: they were never trained against each other, and are all 0 without signal.
    after it, with the probabilities that the component hands out.

The mass is to be 1 for every tag after the inverse, if the loss promises one.

Where tokens may have tags of several types, the probabilities are those of each type's problem, and
O, which has no problem, is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.training import Example
from thinc.util import to_numpy

from ...arrays import log_softmax
from ...data.gold import overlapping_gold
from ...losses.binary_token_labels import BinaryTokenLabels
from ...tags.encode import encode_example, encode_overlapping
from ...tags.problems import BEGIN, INSIDE, by_type, exceeds_one
from ...tags.scheme import OUTSIDE, begin_id, inside_id
from .loss_choices import LOSSES
from .one_pass import (
    HEAD_RATE,
    LEARN_RATE,
    LEARN_RATE_FACTOR,
    RECOGNIZER,
    WORDS_PER_BATCH,
    AddEncoder,
    Progress,
    encode,
    recognizer,
    train_one_pass,
)
from .randomised import RandomisedData

#: The least and the largest mass ratio that count as given back.
TOLERANCE = (0.8, 1.25)
#: Tags with fewer training tokens are reported but not judged: chance alone moves their mass.
JUDGED_FROM = 50
#: What is measured of every tag.
RATIOS = ("mass_before", "argmax_before", "mass_after", "argmax_after")

Array = NDArray[np.float64]
#: From the name of a loss and its words to what is told of the words of each batch.
StartProgress = Callable[[str, int], Progress]


def run_bias_test(
    data: RandomisedData,
    names: Sequence[str],
    *,
    add_encoder: AddEncoder,
    seed: int,
    learn_rate: float = LEARN_RATE,
    learn_rate_factor: float = LEARN_RATE_FACTOR,
    head_passes: int = 0,
    start_progress: StartProgress | None = None,
) -> dict[str, Any]:
    """Train with every loss on the same texts and measure what it predicts.

    Args:
        data: texts without signal.
        names: keys of ``LOSSES``.
        add_encoder: see ``train_one_pass``.
        seed: see ``train_one_pass``.
        learn_rate: see ``train_one_pass``.
        learn_rate_factor: see ``train_one_pass``.
        head_passes: see ``train_one_pass``.
        start_progress: called with each loss's name and its words before its training, gives what
            is told of its batches.

    Returns:
        ``training`` (how), ``tags`` (the training tokens, share and fresh share of each, the
        commonest first), ``losses`` (the ratios of each loss and tag) and ``verdict``.

    Raises:
        ClinicalNerError: the encoder cannot be loaded, or a loss does not fit the data.
    """
    tags: list[dict[str, Any]] = []
    results = []
    for name in names:
        start = time.perf_counter()
        nlp = train_one_pass(
            data,
            LOSSES[name],
            add_encoder=add_encoder,
            seed=seed,
            learn_rate=learn_rate,
            learn_rate_factor=learn_rate_factor,
            head_passes=head_passes,
            progress=None if start_progress is None else start_progress(name, data.words),
        )
        tags, measured = measure(nlp, data)
        results.append(
            {
                "loss": name,
                "title": LOSSES[name].title,
                "seconds": round(time.perf_counter() - start, 1),
                **measured,
            }
        )
    return {
        "training": {
            "training_words": data.words,
            "fresh_words": sum(len(text.words) for text in data.fresh),
            "words_per_batch": WORDS_PER_BATCH,
            "learn_rate": learn_rate,
            "learn_rate_factor": learn_rate_factor,
            "head_passes": head_passes,
            "head_learn_rate": HEAD_RATE,
        },
        "tags": tags,
        "losses": results,
        "verdict": verdict(results),
    }


def measure(nlp: Language, data: RandomisedData) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compare what a pipeline predicts on the fresh texts with its training shares.

    Returns:
        The tags that occur in training, the commonest first; and ``has_posterior``,
        ``sum_above_1`` and ``tags`` of its loss. The last are the ratios of each tag, None after
        the inverse where the loss has none. The second is the share of the tokens for which the
        types' probabilities sum to more than 1, before and after the inverse, None where the loss
        is not Binary Token Labels.
    """
    component = recognizer(nlp)
    loss, statistics = component.loss, component.statistics
    # Labels of fresh texts alone come last: their tokens count, their tags are none to measure.
    fresh_labels = sorted({label for text in data.fresh for *_, label in text.mentions})
    labels = list(dict.fromkeys([*component.labels, *fresh_labels]))
    examples = [Example(t.to_plain_doc(nlp.vocab), t.to_doc(nlp.vocab)) for t in data.fresh]
    known = iter([_has_tag(example, labels, overlaps=data.overlaps) for example in examples])
    raw, after, gold = [], [], []
    for docs in encode(nlp, (example.predicted for example in examples)):
        for z, log_p in zip(component.model.predict(docs), component.predict(docs), strict=True):
            has_tag = next(known)
            labelled = has_tag.any(axis=1)
            raw.append(to_numpy(z)[labelled].astype(np.float64))
            after.append(np.exp(to_numpy(log_p)[labelled].astype(np.float64)))
            gold.append(has_tag[labelled])
    fresh = np.concatenate(gold).mean(axis=0)
    logits = np.concatenate(raw)
    above_1 = None
    if isinstance(loss, BinaryTokenLabels):
        of_problems = {"before": loss.trained(logits), "after": loss.posterior_logits(logits)}
        above_1 = {when: float(exceeds_one(of).mean()) for when, of in of_problems.items()}
        before = np.exp(of_problems["before"])
    else:
        before = np.exp(log_softmax(np.where(statistics.seen, logits, -np.inf)))
    shares = problem_shares_of if data.overlaps else shares_of
    measured = [
        *shares(before),
        *(shares(np.concatenate(after)) if loss.has_posterior else (None, None)),
    ]
    tags, ratios = [], []
    for tag in sorted(np.flatnonzero(statistics.seen), key=lambda c: -statistics.counts[c]):
        if data.overlaps and tag == OUTSIDE:
            continue
        tokens, share = int(statistics.counts[tag]), float(statistics.prior[tag])
        about = {
            "tag": statistics.tags[tag],
            "tokens": tokens,
            "share": share,
            "judged": tokens >= JUDGED_FROM,
        }
        tags.append({**about, "fresh_share": float(fresh[tag])})
        values = [None if of is None else float(of[tag] / share) for of in measured]
        ratios.append({**about, **dict(zip(RATIOS, values, strict=True))})
    return tags, {"has_posterior": loss.has_posterior, "sum_above_1": above_1, "tags": ratios}


def _has_tag(example: Example, labels: Sequence[str], *, overlaps: bool) -> NDArray[np.bool_]:
    """Which tags a token has in gold, none if it is masked. *Shape:* ``(n, K)``."""
    index = {label: i for i, label in enumerate(labels)}
    if overlaps:
        spans = overlapping_gold(example.reference)
        ids = encode_overlapping(example, spans, index, name=RECOGNIZER)
    else:
        ids = encode_example(example, index, name=RECOGNIZER)[:, None]
    has_tag = (ids[:, :, None] == np.arange(2 * len(labels) + 1)).any(axis=1)
    has_tag[:, OUTSIDE] = (ids == OUTSIDE).all(axis=1)
    return has_tag


def shares_of(probabilities: Array) -> tuple[Array, Array]:
    """Mean probability of every tag, and the share of the tokens for which it is the largest.

    Args:
        probabilities: *Shape:* ``(n, K)``.

    Returns:
        Two arrays. *Shape of each:* ``(K,)``.
    """
    largest = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return probabilities.mean(axis=0), largest / len(probabilities)


def problem_shares_of(probabilities: Array) -> tuple[Array, Array]:
    """``shares_of`` where a tag is compared with the others of its type's problem only.

    That of O is left 0.
    """
    with np.errstate(divide="ignore"):
        largest = by_type(np.log(probabilities)).argmax(axis=2)
    wins = np.zeros(probabilities.shape[1])
    wins[begin_id(0) :: 2] = (largest == BEGIN).mean(axis=0)
    wins[inside_id(0) :: 2] = (largest == INSIDE).mean(axis=0)
    return probabilities.mean(axis=0), wins


def verdict(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Judge the promised inverses.

    Args:
        results: ``losses`` of what ``run_bias_test`` gives.

    Returns:
        ``passed``, and ``sentence``, which names the worst where one is off.
    """
    low, high = TOLERANCE
    promised = [result for result in results if result["has_posterior"]]
    if not promised:
        sentence = f"no inverse promised by {', '.join(r['loss'] for r in results)}"
        return {"passed": True, "sentence": f"Bias: {sentence}, so nothing is judged."}
    judged = [
        (row["mass_after"], row["tag"], result["loss"])
        for result in promised
        for row in result["tags"]
        if row["judged"]
    ]
    if not judged:
        sentence = f"no tag has {JUDGED_FROM} training tokens, so nothing is judged"
        return {"passed": True, "sentence": f"Bias: {sentence}; give more words."}
    off = [row for row in judged if not low <= row[0] <= high]
    if not off:
        losses = _plural(len(promised), "loss", "losses")
        tags = _plural(len({tag for _, tag, _ in judged}), "tag", "tags")
        sentence = f"every promised inverse is within {low:g} to {high:g} ({losses}, {tags})"
        return {"passed": True, "sentence": f"Bias: {sentence}."}
    value, tag, loss = max(off, key=_distance)
    number = len({loss for *_, loss in off})
    sentence = (
        f"{number} of {_plural(len(promised), 'promised inverse', 'promised inverses')} "
        f"{'is' if number == 1 else 'are'} outside {low:g} to {high:g}; the worst is {loss} for "
        f"{tag}: {value:.3g}"
    )
    return {"passed": False, "sentence": f"Bias: {sentence}."}


def _distance(row: tuple[float, str, str]) -> float:
    """How far a ratio is from 1, as a factor."""
    ratio = row[0]
    return abs(float(np.log(ratio))) if ratio > 0 else np.inf


def _plural(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
