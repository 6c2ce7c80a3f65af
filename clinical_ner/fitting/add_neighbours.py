"""Mixing the tags of similar training tokens into a pipeline's probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from ..data.read_gold import read_gold_for
from ..errors import ClinicalNerError, ConfigError, InputError
from ..evaluation.labelled_tokens import LabelledTokens, labelled_tokens
from ..evaluation.one_pass_counts import evaluate_pipeline
from ..model.gpu import use_gpu
from ..neighbours.datastore import Datastore, half_precision
from ..pipeline.loading import load_pipeline, only_recognizer
from ..pipeline.pipeline_folder import check_output, write_pipeline
from ..pipeline.recognizer import ClinicalNer
from ..scoring.evaluation import evaluation_scores
from ..tags.scheme import OUTSIDE
from .fit_neighbours import NeighboursFit, fit_neighbours

#: Passes over DEV with and without neighbours, in turn, behind the two speeds.
PAIRS = 2


def neighbours(
    model: str,
    train: Path,
    dev: Path,
    output: Path,
    *,
    max_k: int = 64,
    outside_ratio: float = 1.0,
    seed: int = 0,
    gpu_id: int = -1,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Fill a datastore, fit its settings, and write the pipeline with it to another folder.

    Neighbours that the pipeline has already are replaced, and have no part in what is compared.
    A calibration is dropped: it was fitted for other probabilities.

    model: a pipeline's folder, or the name of an installed package.
    train: gold documents whose tokens fill the datastore, as a rule those of training.
    dev: gold documents to fit on, none of which should be in ``train``.
    output: folder of the new pipeline; an existing pipeline is replaced. If neighbours do not
        help, it is written without them.
    max_k: the largest number of neighbours to try.
    outside_ratio, seed: see ``Datastore.build``.
    gpu_id: the GPU to use, -1 for the CPU; the search is always on the CPU.
    show_progress: draw progress bars on stderr.

    RETURNS: whether ``neighbours_help``, and ``calibration_dropped``; the number of vectors by
        kind, and their size; the settings; the scores on ``dev`` and the speed ``before`` and
        ``after``, the latter None if they do not help. A likelihood is None where a gold tag has
        probability 0. The fit has seen ``dev``, so what is gained there flatters.
    RAISES ClinicalNerError: an input is missing or not what it should be, the two corpora are the
        same, the output would destroy an input, or k exceeds the datastore. Nothing is written
        then.
    """
    if train.exists() and dev.exists() and train.samefile(dev):
        raise InputError(
            f"{dev}: holds the same documents as {train}, where every token would find itself. "
            "Name documents that were not trained on."
        )
    check_output(output, inputs=[Path(model), train, dev])
    use_gpu(gpu_id)
    nlp = load_pipeline(model)
    # Where the name is a package's, this is the folder inside it.
    check_output(output, inputs=[nlp.path])
    name, component = only_recognizer(nlp, model)
    if not component.loss.has_posterior:
        raise ConfigError(
            f"Loss '{type(component.loss).__name__}' does not lead back to the empirical "
            f"probability, so component '{name}' has none to mix with that of the neighbours: "
            "train with a loss, and a reduction, that does."
        )
    was_calibrated = component.calibration is not None
    # Of the probabilities that are about to change; first, so that dropping it is no surprise.
    component.calibration = None
    nlp.meta.pop("calibration", None)
    component.neighbours = None
    train_docs, dev_docs = read_gold_for(train, nlp), read_gold_for(dev, nlp)
    shared = _shared_documents(train_docs, dev_docs)
    if shared == sum(len(doc) > 0 for doc in dev_docs):
        raise InputError(
            f"{dev}: holds the same documents as {train}, where every token would find itself. "
            "Name documents that were not trained on."
        )

    def tokens_of(path: Path, docs: Sequence[Doc]) -> Iterator[LabelledTokens]:
        found: Iterable[LabelledTokens] = labelled_tokens(nlp, name, docs)
        if show_progress:
            from rich.console import Console
            from rich.progress import track

            found = track(found, path.name, len(docs), console=Console(stderr=True))
        try:
            yield from found
        except ClinicalNerError as error:
            # What a component refuses, it refuses without knowing of which file.
            raise ClinicalNerError(f"{error} (In {path}.)") from error

    found = tokens_of(train, train_docs)
    datastore, outside_tokens = _fill(
        found, train, component, outside_ratio=outside_ratio, seed=seed
    )
    if max_k > len(datastore):
        raise InputError(
            f"{max_k} neighbours were asked for, but the datastore has {len(datastore)} vectors: "
            "ask for fewer (--max-k), or give more training documents."
        )
    fit = _fit(tokens_of(dev, dev_docs), dev, datastore, max_k=max_k)
    helps = fit.neighbours.mixing > 0
    before, after = _measure(nlp, component, dev_docs, fit)
    component.neighbours = fit.neighbours if helps else None
    write_pipeline(nlp, output, scores=after or before)
    outside_vectors = int((datastore.tags == OUTSIDE).sum())
    return {
        "neighbours_help": helps,
        "calibration_dropped": was_calibrated,
        "entity_vectors": len(datastore) - outside_vectors,
        "outside_vectors": outside_vectors,
        "outside_tokens": outside_tokens,
        "megabytes": datastore.nbytes / 1e6,
        "k": fit.neighbours.k if helps else None,
        "mixing": fit.neighbours.mixing,
        "temperature": fit.neighbours.temperature if helps else None,
        "before": before,
        "after": after,
        "dev_tokens": fit.tokens,
        "dev_tokens_without_vector": fit.unseen,
        "dev_documents_in_train": shared,
        "model": model,
        "train": str(train),
        "dev": str(dev),
        "output": str(output),
        "max_k": max_k,
        "outside_ratio": outside_ratio,
        "seed": seed,
    }


def _shared_documents(train: Sequence[Doc], dev: Sequence[Doc]) -> int:
    """Number of documents with tokens in `dev` whose text stands in `train`, too."""
    texts = {doc.text for doc in train}
    return sum(len(doc) > 0 and doc.text in texts for doc in dev)


def _fill(
    found: Iterable[LabelledTokens],
    path: Path,
    component: ClinicalNer,
    *,
    outside_ratio: float,
    seed: int,
) -> tuple[Datastore, int]:
    """A datastore of labelled tokens, and the number of those of O before the choice."""
    vectors, gold = [], []
    for tokens in found:
        # As the datastore will hold them, since a large corpus must fit the memory until then.
        vectors.append(half_precision(tokens.vectors))
        gold.append(tokens.gold)
    tags = np.concatenate(gold)
    if len(tags) == 0:
        raise InputError(
            f"{path}: holds no token with a known gold tag. Name a file with gold annotations."
        )
    datastore = Datastore.build(
        np.concatenate(vectors),
        tags,
        n_tags=len(component.statistics.tags),
        outside_ratio=outside_ratio,
        seed=seed,
    )
    return datastore, int((tags == OUTSIDE).sum())


def _fit(
    found: Iterable[LabelledTokens], path: Path, datastore: Datastore, *, max_k: int
) -> NeighboursFit:
    vectors, log_probs, gold = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    if len(gold) == 0:
        raise InputError(
            f"{path}: holds no token with a known gold tag. Name a file with gold annotations."
        )
    return fit_neighbours(datastore, log_probs, vectors, gold, max_k=max_k)


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
