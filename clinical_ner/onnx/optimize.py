"""A pipeline with its encoder on ONNX Runtime, written if it is as good as before and measured."""

from __future__ import annotations

import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_config, load_model_from_config
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers import TransformerModel
from spacy_transformers.layers.transformer_model import set_pytorch_transformer

from ..data.gold import read_gold_for
from ..errors import ClinicalNerError, InputError
from ..evaluation.one_pass_counts import evaluate_pipeline
from ..evaluation.runner import unannotated
from ..files import scratch_folder
from ..locks import leaving_no_empty_folder
from ..pipeline.loading import check_output, load_pipeline, write_pipeline
from ..scoring.evaluation import evaluation_scores
from ..types import Track, untracked
from .architecture import ARCHITECTURE
from .export import export
from .quantization import quantize
from .session import OnnxEncoder

#: Key of meta.json under which a pipeline says how it was optimised.
META = "optimization"
#: Scores that are compared, None where the pipeline has none.
SCORES = ("ents_f", "ents_macro_f", "token_ece", "ents_ece", "token_nll")
#: Those that a pipeline with overlaps has besides.
SPAN_SCORES = ("spans_f", "spans_macro_f")


def optimize(
    model: str | Path,
    dev: str | Path,
    output: str | Path,
    *,
    precision: str,
    max_f_loss: float,
    max_macro_f_loss: float,
    max_ece_loss: float,
    rounds: int,
    track: Track = untracked,
) -> dict[str, Any]:
    """Move a pipeline's encoder to ONNX Runtime, and write it to a folder if it is as good.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        dev: gold documents to measure on, none of them trained on, as a .spacy file.
        output: folder of the new pipeline; an existing pipeline is replaced.
        precision: "int8" or "fp32".
        max_f_loss: most points of micro-F on DEV that may be lost; with overlaps, of that over all
            mentions, too.
        max_macro_f_loss: the same of macro-F.
        max_ece_loss: largest growth of the calibration error of tokens, where there is one.
        rounds: how often each pipeline reads the documents for its speed.
        track: shows progress.

    Returns:
        ``before`` and ``after``, each with the SCORES, None where undefined, with overlaps the
        SPAN_SCORES, ``words_per_second``,
        and the bytes of its folder and of its encoder; ``speed_ratio``, the median ratio of paired
        rounds; and the settings. meta.json holds it under "optimization", without bytes and paths.

    Raises:
        InputError: an input is missing or not what it should be, the pipeline has no transformer
            that could be optimised, what is needed is not installed, or the encoder cannot be
            written as ONNX.
        ClinicalNerError: the result is worse than the bounds allow. Nothing is written.
    """
    dev, output = Path(dev), Path(output)
    check_output(output, "optimize", inputs=[Path(model), dev])
    nlp = load_pipeline(model)
    references = read_gold_for(dev, nlp)
    check_output(output, "optimize", inputs=[nlp.path])
    name = transformer_to_optimize(nlp)
    with _temporary_files_beside(output):
        optimized = optimize_encoder(nlp, name, precision)
    pipelines = {"before": nlp, "after": optimized}

    def scores_of(pipeline: Language, title: str) -> dict[str, Any]:
        def tracked(documents: Iterable[Doc]) -> Iterable[Doc]:
            return track(documents, title, len(references))

        return evaluation_scores(evaluate_pipeline(pipeline, references, track=tracked).counts)

    scores = {key: scores_of(pipeline, key.capitalize()) for key, pipeline in pipelines.items()}
    bounds = {
        "max_f_loss": max_f_loss,
        "max_macro_f_loss": max_macro_f_loss,
        "max_ece_loss": max_ece_loss,
    }
    _check_bounds(output, scores["before"], scores["after"], bounds)
    seconds = _reading_seconds(pipelines, references, rounds=rounds)
    pairs = zip(seconds["before"], seconds["after"], strict=True)
    words = sum(map(len, references))
    report: dict[str, Any] = {
        "component": name,
        "precision": precision,
        "documents": len(references),
        "threads": torch.get_num_threads(),
        "speed_ratio": statistics.median(slow / fast for slow, fast in pairs),
    }
    for key in pipelines:
        report[key] = {score: scores[key].get(score) for score in SCORES}
        report[key] |= {score: scores[key][score] for score in SPAN_SCORES if score in scores[key]}
        report[key]["words_per_second"] = words / statistics.median(seconds[key])
    write_pipeline(optimized, output, "optimize", scores=scores["after"], **{META: report})
    for key, folder in (("before", nlp.path), ("after", output)):
        report[key]["folder_bytes"] = _size(folder)
        report[key]["encoder_bytes"] = _size(folder / name)
    paths = {"model": str(model), "dev": str(dev), "output": str(output)}
    return {**report, **bounds, "rounds": rounds, **paths}


@contextmanager
def _temporary_files_beside(output: Path) -> Iterator[None]:
    """Let libraries write their temporary files beside the output: weights come from notes."""
    before = tempfile.tempdir
    with leaving_no_empty_folder(output), scratch_folder(output) as folder:
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


def transformer_to_optimize(nlp: Language) -> str:
    """Name of the component whose model is a transformer with an encoder of PyTorch.

    Raises:
        InputError: there is none, or more than one, or its encoder runs on ONNX Runtime.
    """
    found = [
        name
        for name, pipe in nlp.components
        if isinstance(getattr(pipe, "model", None), TransformerModel)
    ]
    if len(found) != 1:
        components = ", ".join(nlp.component_names) or "none"
        raise InputError(
            f"{nlp.path}: has {len(found) or 'no'} components that hold a transformer to optimize "
            f"(components: {components}), not one. Name a pipeline that was trained with an "
            "encoder."
        )
    pipe: Any = nlp.get_pipe(found[0])
    if isinstance(pipe.model.transformer, OnnxEncoder):
        raise InputError(
            f"{nlp.path}: is optimized already. Name the pipeline that it was made from."
        )
    return found[0]


def optimize_encoder(nlp: Language, name: str, precision: str) -> Language:
    """Load a pipeline a second time from its folder, with its encoder on ONNX Runtime.

    Raises:
        InputError: what it needs is not installed, or the encoder cannot be written as ONNX; see
            `export.export`.
    """
    old: Any = nlp.get_pipe(name)
    model = old.model
    tokenizer, encoder = model.tokenizer, model.transformer
    file = export(model.attrs["name"], encoder, tokenizer)
    if precision == "int8":
        file = quantize(file)
    folder = Path(nlp.path)
    config = load_config(folder / "config.cfg")
    settings = config["components"][name]
    settings["model"] = {"@architectures": ARCHITECTURE, "transformer": settings["model"]}
    optimized = load_model_from_config(config, meta=nlp.meta)
    optimized.from_disk(folder, exclude=[name])
    pipe: Any = optimized.get_pipe(name)
    pipe.cfg = copy.deepcopy(old.cfg)
    pipe.model.attrs["name"] = model.attrs["name"]
    loaded = HFObjects(
        copy.deepcopy(tokenizer),
        OnnxEncoder(copy.deepcopy(encoder.config), file),
        model.layers[0].shims[0]._hfmodel.vocab_file_contents,
    )
    set_pytorch_transformer(pipe.model, loaded)
    return optimized


def _size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _check_bounds(
    output: Path, before: Mapping[str, Any], after: Mapping[str, Any], bounds: Mapping[str, float]
) -> None:
    """Raise ClinicalNerError if a score is worse than its bound allows."""
    faults = []
    for key, title, bound in (
        ("ents_f", "micro-F1", bounds["max_f_loss"]),
        ("ents_macro_f", "macro-F1", bounds["max_macro_f_loss"]),
        ("spans_f", "micro-F1 over all mentions", bounds["max_f_loss"]),
        ("spans_macro_f", "macro-F1 over all mentions", bounds["max_macro_f_loss"]),
    ):
        if key not in before:
            continue
        points = 100 * before[key], 100 * after[key]
        if points[0] - points[1] > bound:
            faults.append(f"{title} {points[0]:.2f} -> {points[1]:.2f} (at most {bound:g} less)")
    errors = before["token_ece"], after["token_ece"]
    bound = bounds["max_ece_loss"]
    if None not in errors and errors[1] - errors[0] > bound:
        faults.append(f"token ECE {errors[0]:.4f} -> {errors[1]:.4f} (at most {bound:g} more)")
    if faults:
        raise ClinicalNerError(
            f"{output}: not written, since optimizing costs too much on DEV: {', '.join(faults)}. "
            "Use --precision fp32, or allow more with --max-f-loss, --max-macro-f-loss and "
            "--max-ece-loss."
        )


def _reading_seconds(
    pipelines: Mapping[str, Language], references: Sequence[Doc], *, rounds: int
) -> dict[str, list[float]]:
    """Seconds in which each pipeline reads the documents, by round; the order alternates.

    All should have run before, so that everything is loaded.
    """
    seconds: dict[str, list[float]] = {key: [] for key in pipelines}
    order = list(pipelines)
    for _ in range(rounds):
        for key in order:
            nlp = pipelines[key]
            gc.collect()
            start = time.perf_counter()
            for _doc in nlp.pipe(unannotated(nlp, reference) for reference in references):
                pass
            seconds[key].append(time.perf_counter() - start)
        order.reverse()
    return seconds
