"""What a prior strength between 1 and 0 does to one loaded model, as JSON and as a picture.

The model runs over the documents once; every strength decodes the same probabilities. Bands are
95 % bootstrap intervals over documents, on the same resamples for all strengths.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clinical_ner.data.gold import read_gold_for
from clinical_ner.errors import ClinicalNerError, InputError
from clinical_ner.evaluation.one_pass_counts import evaluate_pipeline
from clinical_ner.evaluation.plots import check_can_draw
from clinical_ner.evaluation.runner import recognizer_of, sets_entities_later
from clinical_ner.files import replacing
from clinical_ner.pipeline.loading import load_pipeline
from clinical_ner.scoring.bootstrap import RESAMPLES, intervals, resample_weights
from clinical_ner.scoring.evaluation import evaluation_statistics

STRENGTHS = tuple(round(1 - step / 10, 1) for step in range(11))
#: Panels of the picture: scores by name, each with its title, line, marker and color. Colors are of
#: Okabe and Ito; lines and markers tell the scores apart without them.
PANELS: tuple[dict[str, tuple[str, str, str, str]], ...] = (
    {
        "ents_r": ("recall, micro", "--", "^", "#D55E00"),
        "ents_f": ("F1, micro", "-", "o", "black"),
        "ents_p": ("precision, micro", ":", "v", "#0072B2"),
    },
    {
        "token_unweighted_accuracy": ("unweighted accuracy", "--", "s", "#009E73"),
        "ents_macro_f": ("F1, macro", "-", "D", "black"),
    },
)
EXAMPLE = """example:
  python benchmarks/strength.py training/model-final corpus/test.spacy benchmarks/strength
"""


def main() -> None:
    """Parse the command line, measure, write three files and print a line for every strength."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a pipeline's folder or package")
    parser.add_argument("data", metavar="DATA.spacy", type=Path, help="gold documents")
    parser.add_argument(
        "output", metavar="OUTPUT", type=Path, help="path of the files, without .json, .png, .svg"
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    args = parser.parse_args()
    try:
        check_can_draw(f"{args.output}.png")
        curve = measure(args.model, args.data, resamples=args.resamples, seed=args.seed)
        write(curve, args.output)
    except ClinicalNerError as error:
        sys.exit(f"strength.py: {error}")
    names = [name for panel in PANELS for name in panel]
    print("s", *names, sep="\t")
    for number, strength in enumerate(curve["prior_strengths"]):
        values = (curve["scores"][name][number]["value"] for name in names)
        print(f"{strength:g}", *(f"{value:.4f}" for value in values), sep="\t")


def measure(model: str, data: Path, *, resamples: int, seed: int) -> dict[str, Any]:
    """Scores of one pass over the documents, decoded at every strength.

    RETURNS: ``scores``, by name one ``value`` per strength with the ``low`` and ``high`` end of its
        interval; ``changes``, the same for the difference from the first strength; ``thresholds``
        of the model, which hold at every strength; and the settings.
    RAISES ClinicalNerError: the pipeline or the documents cannot be read, or the pipeline has no
        probabilities, or a later component that changes entities.
    """
    nlp = load_pipeline(model)
    found = recognizer_of(nlp)
    if found is None:
        raise ClinicalNerError(f"{model}: has not one clinical_ner component with probabilities.")
    name, component = found
    if later := sets_entities_later(nlp, name):
        raise InputError(
            f"{model}: component '{later}' sets doc.ents after '{name}', so decisions at other "
            "prior strengths would lack what it does. Omit the prior strengths."
        )
    evaluation = evaluate_pipeline(nlp, read_gold_for(data, nlp), prior_strengths=STRENGTHS)
    decisions = {component.prior_strength: evaluation.counts, **evaluation.decisions}
    weights = resample_weights(len(evaluation.counts.documents), resamples=resamples, seed=seed)
    names = [score for panel in PANELS for score in panel]
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    changes: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    first = evaluation_statistics(decisions[STRENGTHS[0]])
    first_resampled = evaluation_statistics(decisions[STRENGTHS[0]], weights)
    for strength in STRENGTHS:
        values = evaluation_statistics(decisions[strength])
        resampled = evaluation_statistics(decisions[strength], weights)
        ends = intervals({of: resampled[of] for of in names})
        change_ends = intervals({of: resampled[of] - first_resampled[of] for of in names})
        for score in names:
            scores[score].append(_entry(values[score], ends[score]))
            changes[score].append(_entry(values[score] - first[score], change_ends[score]))
    return {
        "model": model,
        "data": str(data),
        "documents": len(evaluation.counts.documents),
        "resamples": resamples,
        "seed": seed,
        "calibrated": component.calibration is not None,
        "thresholds": dict(component.thresholds),
        "prior_strengths": list(STRENGTHS),
        "scores": scores,
        "changes": changes,
    }


def _entry(value: Any, ends: tuple[float, float] | None) -> dict[str, float]:
    assert ends is not None  # Gold has an entity, so some resample does.
    return {"value": float(value), "low": ends[0], "high": ends[1]}


def write(curve: Mapping[str, Any], output: Path) -> None:
    """Write OUTPUT.json, OUTPUT.png and OUTPUT.svg."""
    text = json.dumps(curve, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with replacing(output.with_name(f"{output.name}.json")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    for kind in ("png", "svg"):
        with replacing(output.with_name(f"{output.name}.{kind}")) as temporary:
            draw(curve, temporary, kind=kind)


def draw(curve: Mapping[str, Any], path: Path, *, kind: str) -> None:
    """Draw scores against the prior strength, 1 on the left; the same JSON gives the same file.

    kind: "png" or "svg".
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    strengths: Sequence[float] = curve["prior_strengths"]
    panels = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
    for axes, panel in zip(panels, PANELS, strict=True):
        for name, (title, line, marker, color) in panel.items():
            entries = curve["scores"][name]
            low, high = ([entry[end] for entry in entries] for end in ("low", "high"))
            axes.fill_between(strengths, low, high, color=color, alpha=0.13, lw=0)
            for end in (low, high):
                axes.plot(strengths, end, ls=line, lw=0.5, color=color)
            axes.plot(
                strengths,
                [entry["value"] for entry in entries],
                ls=line,
                marker=marker,
                ms=5,
                lw=1.6,
                color=color,
                label=title,
            )
        axes.set_xlim(max(strengths) + 0.03, min(strengths) - 0.03)
        axes.set_xlabel("prior strength s (1: as learned, 0: all tags alike)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", lw=0.6)
        axes.legend(loc="best", frameon=False, fontsize=8, handlelength=3.5)
    panels[0].set_title("Over all entities", fontsize=10, loc="left")
    panels[1].set_title("Every type, or tag, alike", fontsize=10, loc="left")
    panels[0].set_ylabel("score")
    figure.supxlabel(
        f"{curve['documents']} documents; bands: 95 % bootstrap intervals over documents",
        fontsize=8,
    )
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}}[kind]
    with matplotlib.rc_context({"svg.hashsalt": "clinical_ner"}):
        figure.savefig(path, dpi=150, metadata=metadata, format=kind)


if __name__ == "__main__":
    main()
