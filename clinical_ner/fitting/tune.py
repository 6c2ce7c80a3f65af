"""Thresholds per label, and the prior strength, chosen on held-out documents."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..data.gold import read_gold_for
from ..decoding.decision import check_prior_strength
from ..errors import InputError, check_number
from ..evaluation.one_pass_counts import evaluate_pipeline
from ..evaluation.runner import sets_entities_later
from ..pipeline.loading import load_to_fit, write_pipeline
from ..scoring.evaluation import evaluation_scores
from ..types import Track, untracked
from .decisions import SearchedDecision, own_decision, per_label, predict, search_decisions
from .held_out import cross_fitted, out_of_fold_documents
from .out_of_fold import is_out_of_fold, read_out_of_fold
from .promise import check_confidence
from .thresholds import Objective


def tune(
    model: str | Path,
    dev: str | Path,
    output: str | Path,
    *,
    objective: Objective | str = "macro_f",
    confidence: float | None = None,
    prior_strengths: Iterable[float] = (),
    min_support: int = 10,
    gpu_id: int = -1,
    track: Track = untracked,
) -> dict[str, Any]:
    """Search thresholds, and among prior strengths, and write the pipeline with them.

    On a folder of ``folds`` the probabilities are those of its models, each for the documents that
    it did not see. If the pipeline is calibrated, each fold's are calibrated by the other folds, as
    by ``calibrate`` on the same folder (see ``held_out.cross_fitted``). What is chosen, and
    promised, is of the models of the folds. It holds for the pipeline as far as its probabilities
    are like theirs, which no document is left to show.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        dev: gold documents to choose on, as a .spacy file, or the folder of ``folds``.
        output: folder of the new pipeline; an existing pipeline is replaced.
        objective: what to search for: "macro_f", or for instance "recall@precision=0.9".
        confidence: in (0, 1); promise the precision of the objective on documents like those of
            ``dev`` for groups of labels, and say for which it is refused (see ``promise``). None
            promises nothing.
        prior_strengths: to choose from, in [0, 1]; by default the component's own. Of two that
            are equally good the larger is taken, which is nearer to what was learned.
        min_support: labels with fewer predicted entities share the threshold of their frequency
            group.
        gpu_id: the GPU to use, -1 for the CPU.
        track: shows progress.

    Returns:
        The decision, the scores on ``dev`` ``before`` and ``after``, overall and per label, where
        each label's threshold comes from, and the ``promise``, None without a confidence. With
        ``overlaps`` all of it is over all spans, and the scores are named "spans_..." in place of
        "ents_...".

    Raises:
        ClinicalNerError: an input is missing or not what it should be, a setting is out of range,
            nothing can be promised, or the output would destroy an input. Nothing is written then.
    """
    if isinstance(objective, str):
        objective = Objective.parse(objective)
    check_number("min_support", min_support, least=1)
    if confidence is not None:
        check_confidence(confidence, objective)
    tried = {check_prior_strength(float(strength)) for strength in prior_strengths}
    dev, output = Path(dev), Path(output)
    nlp, name, component = load_to_fit(model, output, "tune", inputs=[dev], gpu_id=gpu_id)
    if later := sets_entities_later(nlp, name):
        raise InputError(
            f"{model}: component '{later}' sets doc.ents after '{name}', so what thresholds do to "
            "the entities of the pipeline is unknown. Tune the pipeline without it."
        )
    store = read_out_of_fold(dev, nlp.vocab) if is_out_of_fold(dev) else None
    if store is None:
        references = read_gold_for(dev, nlp)
        documents = list(track(predict(nlp, name, references), dev.name, len(references)))
    else:
        unseen = out_of_fold_documents(nlp, name, store)
        calibrated = component.calibration is not None
        documents = (
            cross_fitted(unseen, store) if calibrated else [of.predicted(None) for of in unseen]
        )
    before = own_decision(component, documents)
    # The larger strength first, so that it wins where two are equally good.
    strengths = sorted(tried or {before.prior_strength}, reverse=True)
    candidates = search_decisions(
        component,
        documents,
        strengths,
        objective=objective,
        min_support=min_support,
        confidence=confidence,
    )
    mean = f"{before.prefix}_macro_" + ("f" if objective.min_precision is None else "r")
    after = max(candidates, key=lambda of: (of.promised, of.scores()[mean]))
    if confidence is not None and not after.promised:
        refused = "; ".join(f"{', '.join(of.labels)}: {of.refusal}" for of in after.promises)
        raise InputError(
            f"{dev}: no promise of {objective} with confidence {confidence:g}. {refused}. Ask for "
            "a lower precision or confidence, or give more documents."
        )
    component.prior_strength, component.threshold = after.prior_strength, 0.0
    component.thresholds = after.thresholds
    decision = {
        "objective": str(objective),
        "thresholds": after.thresholds,
        "prior_strength": after.prior_strength,
        "documents": len(documents),
        "promise": None if confidence is None else _promise(after, confidence),
        "before": before.scores(),
        "after": after.scores(),
    }
    # The pipeline itself may have been trained on the documents of folds.
    scores = {} if store else evaluation_scores(evaluate_pipeline(nlp, references).counts)
    write_pipeline(nlp, output, "tune", scores=scores, decision={name: decision})
    return {
        **decision,
        "labels": per_label(before, after),
        "silenced": [of for of, choice in after.choices.items() if choice.source == "silenced"],
        "prior_strengths": {
            f"{candidate.prior_strength:g}": candidate.scores()[mean] for candidate in candidates
        },
        "calibrated": component.calibration is not None,
        "component": name,
        "min_support": min_support,
        "model": str(model),
        "dev": str(dev),
        "output": str(output),
    }


def _promise(decision: SearchedDecision, confidence: float) -> dict[str, Any]:
    """What meta.json holds of a promise."""
    return {"confidence": confidence, "groups": [of._asdict() for of in decision.promises]}
