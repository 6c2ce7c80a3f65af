"""Thresholds per label, and the prior strength, chosen on held-out documents."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..data.read_gold import read_gold_for
from ..errors import InputError, no_posterior
from ..evaluation.one_pass_counts import evaluate_pipeline, sets_entities_later
from ..model.gpu import use_gpu
from ..pipeline.loading import load_pipeline, only_recognizer
from ..pipeline.pipeline_folder import check_output, write_pipeline
from ..scoring.evaluation import evaluation_scores
from .decisions import Predicted, own_decision, per_label, predict, search_decisions
from .thresholds import Objective


def tune(
    model: str,
    dev: Path,
    output: Path,
    *,
    objective: Objective,
    prior_strengths: Iterable[float] = (),
    min_support: int = 10,
    gpu_id: int = -1,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Search thresholds, and among prior strengths, and write the pipeline with them.

    model: a pipeline's folder, or the name of an installed package.
    dev: gold documents to choose on.
    output: folder of the new pipeline; an existing pipeline is replaced.
    objective: what to search for.
    prior_strengths: to choose from, in [0, 1]; by default the component's own. Of two that are
        equally good the larger is taken, which is nearer to what was learned.
    min_support: labels with fewer predicted entities share the threshold of their frequency group.
    gpu_id: the GPU to use, -1 for the CPU.
    show_progress: draw a progress bar on stderr.

    RETURNS: the decision, the scores on ``dev`` ``before`` and ``after``, overall and per label,
        and where each label's threshold comes from.
    RAISES ClinicalNerError: an input is missing or not what it should be, or the output would
        destroy an input. Nothing is written then.
    """
    check_output(output, inputs=[Path(model), dev])
    use_gpu(gpu_id)
    nlp = load_pipeline(model)
    # Where the name is a package's, this is the folder inside it.
    check_output(output, inputs=[nlp.path])
    name, component = only_recognizer(nlp, model)
    if not component.loss.has_posterior:
        raise no_posterior(type(component.loss).__name__)
    if later := sets_entities_later(nlp, name):
        raise InputError(
            f"{model}: component '{later}' sets doc.ents after '{name}', so what thresholds do to "
            "the entities of the pipeline is unknown. Tune the pipeline without it."
        )
    references = read_gold_for(dev, nlp)
    predicted: Iterable[Predicted] = predict(nlp, name, references)
    if show_progress:
        from rich.console import Console
        from rich.progress import track

        predicted = track(predicted, dev.name, len(references), console=Console(stderr=True))
    documents = list(predicted)
    before = own_decision(component, documents)
    # The larger strength first, so that it wins where two are equally good.
    strengths = sorted({float(s) for s in prior_strengths} or {before.prior_strength}, reverse=True)
    candidates = search_decisions(
        component, documents, strengths, objective=objective, min_support=min_support
    )
    mean = "ents_macro_f" if objective.min_precision is None else "ents_macro_r"
    after = max(candidates, key=lambda candidate: candidate.scores()[mean])
    component.prior_strength, component.thresholds = after.prior_strength, after.thresholds
    decision = {
        "objective": str(objective),
        "thresholds": after.thresholds,
        "prior_strength": after.prior_strength,
        "documents": len(references),
        "before": before.scores(),
        "after": after.scores(),
    }
    scores = evaluation_scores(evaluate_pipeline(nlp, references).counts)
    write_pipeline(nlp, output, scores=scores, decision={name: decision})
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
        "model": model,
        "dev": str(dev),
        "output": str(output),
    }
