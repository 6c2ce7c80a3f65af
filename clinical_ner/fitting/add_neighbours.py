"""Mixing the tags of similar training tokens into a pipeline's probabilities."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from ..data.gold import read_gold_for
from ..errors import (
    ClinicalNerError,
    ClinicalNerWarning,
    ConfigError,
    InputError,
    check_number,
    one_tag_per_token,
    shown_label,
)
from ..evaluation.one_pass_counts import evaluate_pipeline
from ..neighbours.datastore import Datastore, half_precision
from ..pipeline.ensemble import ENSEMBLE
from ..pipeline.loading import load_to_fit, write_pipeline
from ..pipeline.recognizer import ClinicalNer
from ..scoring.evaluation import evaluation_scores
from ..tags.scheme import OUTSIDE, tag_names
from ..training.recipes import asks_for_neighbours
from ..types import TagIds, Track, untracked
from .fit_neighbours import NeighboursFit, fit_neighbours
from .labelled_tokens import LabelledTokens, labelled_tokens

#: Passes over DEV with and without neighbours, in turn, behind the two speeds.
PAIRS = 2


def add_neighbours(
    model: str | Path,
    train: str | Path,
    dev: str | Path,
    output: str | Path,
    *,
    max_k: int = 64,
    outside_ratio: float = 1.0,
    seed: int = 0,
    if_asked: bool = False,
    gpu_id: int = -1,
    track: Track = untracked,
) -> dict[str, Any]:
    """Fill a datastore, fit its settings, and write the pipeline with it to another folder.

    Neighbours that the pipeline has already are replaced, and have no part in what is compared.
    A calibration is dropped: it was fitted for other probabilities.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        train: gold documents whose tokens fill the datastore, as a rule those of training. Of
            labels that they lack and the model has learned (``keep_labels``), tags are drawn from
            its probabilities.
        dev: gold documents to fit on, none of which should be in ``train``.
        output: folder of the new pipeline; an existing pipeline is replaced. If neighbours do not
            help, it is written without them.
        max_k: the largest number of neighbours to try.
        outside_ratio: see ``Datastore.build``.
        seed: of the random choices.
        if_asked: write the pipeline as it is, unless its recipe asks for neighbours.
        gpu_id: the GPU to use, -1 for the CPU; the search is always on the CPU.
        track: shows progress.
        outside_ratio, seed: see ``Datastore.build``.

    Returns:
        Whether ``neighbours_help``, None for a pipeline that is written as it is. Then
        ``calibration_dropped``; the number of vectors by kind, and their size; the settings; the
        scores on ``dev`` and the speed ``before`` and ``after``, the latter None if they do not
        help. A likelihood is None where a gold tag has probability 0. The fit has seen ``dev``, so
        the gain there is optimistic.

    Raises:
        ClinicalNerError: an input is missing or not what it should be, the two corpora are the
            same, the output would destroy an input, k exceeds the datastore, or the component has
            ``overlaps``. Nothing is written then.
    """
    check_number("max_k", max_k, least=1)
    check_number("outside_ratio", outside_ratio, above=0)
    train, dev, output = Path(train), Path(dev), Path(output)
    same = InputError(
        f"{dev}: holds the same documents as {train}, where every token would find itself. "
        "Name documents that were not trained on."
    )
    if train.exists() and dev.exists() and train.samefile(dev):
        raise same
    nlp, name, component = load_to_fit(
        model, output, "neighbours", inputs=[train, dev], gpu_id=gpu_id
    )
    if if_asked and not asks_for_neighbours(nlp.config):
        write_pipeline(nlp, output, "neighbours", scores={})
        return {"neighbours_help": None, "model": str(model), "output": str(output)}
    if component.overlaps:
        raise one_tag_per_token(name)
    if component.model.name == ENSEMBLE:
        raise ConfigError(
            f"Component '{name}' is an ensemble, whose models share no token vectors: add "
            "neighbours to a single model."
        )
    was_calibrated = component.calibration is not None
    # Of the probabilities that are about to change; first, so that dropping it is no surprise.
    component.calibration = None
    component.neighbours = None
    train_docs, dev_docs = read_gold_for(train, nlp), read_gold_for(dev, nlp)
    shared = _shared_documents(train_docs, dev_docs)
    if shared == sum(len(doc) > 0 for doc in dev_docs):
        raise same

    def tokens_of(path: Path, docs: Sequence[Doc]) -> Iterator[LabelledTokens]:
        try:
            yield from track(labelled_tokens(nlp, name, docs), path.name, len(docs))
        except ClinicalNerError as error:
            # A component that refuses documents does not know the file.
            raise type(error)(f"{error} (In {path}.)") from error

    absent = _absent(component, train_docs)
    absent_tags = [component.statistics.tags.index(tag) for tag in tag_names(absent)[1:]]
    generator = np.random.default_rng(seed)
    # In the datastore's precision, and without probabilities: a large corpus must fit in memory.
    vectors, gold = _joined(
        (
            (half_precision(of.vectors), _drawn(of, absent_tags, generator))
            for of in tokens_of(train, train_docs)
        ),
        train,
    )
    if absent:
        warnings.warn(
            f"{train}: has no entity of {', '.join(map(shown_label, absent))}, which the model has "
            "learned. Tokens outside entities may be some: their tags in the datastore are drawn "
            "from the model's probabilities.",
            ClinicalNerWarning,
            stacklevel=2,
        )
    datastore = Datastore.build(
        vectors,
        gold,
        n_tags=len(component.statistics.tags),
        outside_ratio=outside_ratio,
        seed=seed,
    )
    if max_k > len(datastore):
        raise InputError(
            f"{max_k} neighbours were asked for, but the datastore has {len(datastore)} vectors: "
            "ask for fewer (--max-k), or give more training documents."
        )
    dev_vectors, log_probs, dev_gold = _joined(tokens_of(dev, dev_docs), dev)
    fit = fit_neighbours(datastore, log_probs, dev_vectors, dev_gold, max_k=max_k)
    helps = fit.neighbours.mixing > 0
    before, after = _measure(nlp, component, dev_docs, fit)
    component.neighbours = fit.neighbours if helps else None
    write_pipeline(nlp, output, "neighbours", scores=after or before)
    outside_vectors = int((datastore.tags == OUTSIDE).sum())
    return {
        "neighbours_help": helps,
        "calibration_dropped": was_calibrated,
        "entity_vectors": len(datastore) - outside_vectors,
        "outside_vectors": outside_vectors,
        "outside_tokens": int((gold == OUTSIDE).sum()),
        "megabytes": datastore.nbytes / 1e6,
        "k": fit.neighbours.k if helps else None,
        "mixing": fit.neighbours.mixing,
        "temperature": fit.neighbours.temperature if helps else None,
        "before": before,
        "after": after,
        "dev_tokens": fit.tokens,
        "dev_tokens_without_vector": fit.unseen,
        "dev_documents_in_train": shared,
        "model": str(model),
        "train": str(train),
        "dev": str(dev),
        "output": str(output),
        "max_k": max_k,
        "outside_ratio": outside_ratio,
        "seed": seed,
    }


def _absent(component: ClinicalNer, docs: Sequence[Doc]) -> list[str]:
    """Labels that the model has learned, and of which the documents have no entity."""
    held = {entity.label_ for doc in docs for entity in doc.ents}
    return [of for of, n in component.statistics.mentions.items() if n and of not in held]


def _drawn(tokens: LabelledTokens, absent: list[int], generator: np.random.Generator) -> TagIds:
    """Gold tags, where those of O may be of labels that gold lacks.

    Each is drawn, so that the votes of a tag are in the mean its probability: the best tag would
    make rare ones rarer still.

    Args:
        tokens: of a document.
        absent: the tags that gold lacks.
        generator: of the draw.

    Returns:
        *Shape:* ``(n,)``.
    """
    gold = tokens.gold.copy()
    outside = np.flatnonzero(gold == OUTSIDE)
    ends = np.exp(tokens.log_probs[outside][:, absent].astype(np.float64)).cumsum(axis=1)
    beyond = (generator.random((len(outside), 1)) >= ends).sum(axis=1)
    gold[outside] = np.array([*absent, OUTSIDE])[beyond]
    return gold


def _shared_documents(train: Sequence[Doc], dev: Sequence[Doc]) -> int:
    """Number of documents with tokens in `dev` whose text is in `train`, too."""
    texts = {doc.text for doc in train}
    return sum(len(doc) > 0 and doc.text in texts for doc in dev)


def _joined(found: Iterable[tuple[NDArray[Any], ...]], path: Path) -> list[NDArray[Any]]:
    """The arrays of all documents of a file, those of gold tags last."""
    joined = [np.concatenate(arrays) for arrays in zip(*found, strict=True)]
    if len(joined[-1]) == 0:
        raise InputError(
            f"{path}: holds no token with a known gold tag. Name a file with gold annotations."
        )
    return joined


def _measure(
    nlp: Language, component: ClinicalNer, docs: Sequence[Doc], fit: NeighboursFit
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Scores and speed without and with neighbours; None if they do not help."""
    helps = fit.neighbours.mixing > 0
    variants = [(None, fit.nll_before), (fit.neighbours, fit.nll_after)][: 1 + helps]
    found: list[dict[str, Any]] = [{} for _ in variants]
    seconds = [0.0 for _ in variants]
    tokens = [0 for _ in variants]
    # In turn, so that what else the machine does falls on both.
    for _ in range(PAIRS):
        for i, (neighbours_, nll) in enumerate(variants):
            component.neighbours = neighbours_
            evaluation = evaluate_pipeline(nlp, docs)
            seconds[i] += evaluation.seconds
            tokens[i] += evaluation.tokens
            found[i] = {
                **evaluation_scores(evaluation.counts),
                "nll": nll if math.isfinite(nll) else None,
                "tokens_per_second": tokens[i] / seconds[i],
            }
    return found[0], found[1] if helps else None
