"""One pass of a pipeline over annotated documents, made into a page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ...errors import InputError, check_number, missing_extra
from ...files import check_not_read, check_replaceable, is_written_by, write_text
from ...pipeline.loading import files_of
from ...scoring.bootstrap import RESAMPLES
from ...types import Track, untracked
from ..evaluate import check_found, metrics_of, opened
from ..one_pass_counts import evaluate_pipeline
from .candidates import Candidates
from .page import page


def make_report(
    model: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    show_text: bool = False,
    card: str | None = None,
    overwrite: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    gpu_id: int = -1,
    track: Track = untracked,
) -> dict[str, Any]:
    """Write a page with the scores of a pipeline, which can decide again in the browser.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        data: a .spacy file with gold entities.
        output: HTML file; that of an earlier call is replaced.
        show_text: whether the page holds the notes.
        card: of the model, as HTML, to stand in the page.
        overwrite: replace another existing file, too.
        resamples: of the bootstrap over documents.
        seed: of the bootstrap.
        gpu_id: the GPU to use, -1 for the CPU.
        track: shows progress.

    Returns:
        The scores; see ``metrics_of``.

    Raises:
        ClinicalNerError: a package is missing, or see ``evaluate``. No file is written then.
    """
    check_number("resamples", resamples, least=1)
    check_number("seed", seed, least=0)
    for package, installed in (("altair", "altair"), ("vl-convert-python", "vl_convert")):
        if importlib.util.find_spec(installed) is None:
            raise missing_extra("clinical-ner report", package, "report")
    output = Path(output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{output}: a report is a page: name a file that ends in .html.")
    check_not_read(output, Path(data), *files_of(model))
    check_replaceable(output, own=is_written_by(output, "report"), overwrite=overwrite)
    nlp, references = opened(model, data, gpu_id=gpu_id)
    candidates = Candidates(nlp)
    evaluation = evaluate_pipeline(
        nlp,
        references,
        watch=candidates.take,
        track=lambda documents: track(documents, "Predicting", len(references)),
    )
    check_found(model, nlp, evaluation)
    metrics = metrics_of(evaluation, model=model, data=data, resamples=resamples, seed=seed)
    write_text(output, page(metrics, candidates, show_text=show_text, card=card))
    return metrics
