"""How well training notes can be told apart from others by what a model says of them.

This is the attack by a threshold of Yeom et al. 2018, Privacy risk in machine learning: analyzing
the connection to overfitting, section 3.3: a note on which the model is surer, or more often right,
is taken for one of its training notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..arrays import log_softmax
from ..errors import InputError
from ..scoring.bootstrap import RESAMPLES, percentile_interval, resample_weights
from ..tags.encode import gold_tags, taggable
from ..types import Track, untracked
from .runner import Runner

#: What a document is scored by: the mean over its tokens of the log-probability of ...
SCORES = ("most_probable_tag", "gold_tag")


def membership(
    nlp: Language,
    members: Sequence[Doc],
    others: Sequence[Doc],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    track: Track = untracked,
) -> dict[str, Any]:
    """Measure by how much a pipeline's probabilities give its training documents away.

    Args:
        nlp: a pipeline with one recognizer, whose loss has a posterior.
        members: documents that it was trained on, at least one with a word.
        others: documents of the same kind that had no part in its training, likewise.
        resamples: of the bootstrap over documents.
        seed: of the bootstrap.
        track: shows progress.

    Returns:
        "members" and "others", the numbers of documents with a word; and for each name of SCORES
        the "auc" with its 95 % "interval", of the probabilities as they are and, if these are
        calibrated, "before_calibration". "gold_tag" takes who has the annotation of the note, too.

    Raises:
        InputError: no document of one kind has a word.
    """
    scores = [np.array(list(_scores(nlp, docs, track))) for docs in (members, others)]
    if not all(map(len, scores)):
        raise InputError("The documents of one side hold no word: name others.")
    after, before = (
        {
            name: _separation([of[:, stage, column] for of in scores], resamples, seed)
            for column, name in enumerate(SCORES)
        }
        for stage in (0, 1)
    )
    component: Any = Runner(nlp).component
    return {
        "members": len(scores[0]),
        "others": len(scores[1]),
        **after,
        "before_calibration": before if component.calibration else None,
    }


def auc(
    members: NDArray[np.float64], others: NDArray[np.float64], weights: Any, other_weights: Any
) -> NDArray[np.float64]:
    """Probability that a member scores higher than another document; ties count half.

    Args:
        members: scores. *Shape:* ``(n,)``.
        others: scores. *Shape:* ``(m,)``.
        weights: how often each resample holds each member. *Shape:* ``(resamples, n)``.
        other_weights: likewise. *Shape:* ``(resamples, m)``.

    Returns:
        The area under the ROC curve of each resample, as the statistic of Mann and Whitney.
        *Shape:* ``(resamples,)``.
    """
    order = np.argsort(others)
    below = np.pad(np.cumsum(other_weights[:, order], axis=1), ((0, 0), (1, 0)))
    first, last = (np.searchsorted(others[order], members, side) for side in ("left", "right"))
    wins = (below[:, first] + below[:, last]) / 2
    result: NDArray[np.float64] = (weights * wins).sum(axis=1) / (
        weights.sum(axis=1) * below[:, -1]
    )
    return result


def _separation(scores: Sequence[Any], resamples: int, seed: int) -> dict[str, Any]:
    """The AUC of the scores of members and of others, and its interval."""
    once = [np.ones((1, len(of))) for of in scores]
    drawn = [
        resample_weights(len(of), resamples=resamples, seed=seed + number)
        for number, of in enumerate(scores)
    ]
    interval = percentile_interval(auc(*scores, *drawn))
    return {"auc": float(auc(*scores, *once)[0]), "interval": interval}


def _scores(nlp: Language, docs: Sequence[Doc], track: Track) -> Any:
    """Yield the scores of each document that has a word. *Shape:* ``(2, 2)``, see `membership`."""
    runner = Runner(nlp)
    component: Any = runner.component
    ids = {tag: number for number, tag in enumerate(component.statistics.tags)}
    for reference, _, recognized in runner.run(
        docs, track=lambda of: track(of, "Predicting", len(docs))
    ):
        assert recognized is not None
        rows, words = recognized.log_probs, taggable(recognized.doc)
        if not words.any():
            continue
        tags = gold_tags(Example(recognized.doc, reference))
        gold = np.array([-1 if tag is None else ids.get(tag, -1) for tag in tags])
        calibration = component.calibration
        raw = rows if calibration is None else calibration.tokens.undo(rows)
        yield [_document(of, words, gold, component.overlaps) for of in (rows, raw)]


def _document(rows: Any, words: Any, gold: Any, overlaps: bool) -> tuple[float, float]:
    """Mean log-probability of the most probable tags, and of the gold tags that training had."""
    # As `Recorder` scores the tokens of a component with overlaps.
    flat = np.asarray(log_softmax(rows) if overlaps else rows, dtype=np.float64)
    of_gold = flat[gold >= 0, gold[gold >= 0]]
    possible = of_gold[np.isfinite(of_gold)]
    return flat[words].max(axis=1).mean(), possible.mean() if len(possible) else -np.inf
