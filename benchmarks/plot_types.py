"""Draw the F1 of every entity type for two results of compare.py, the commonest type first.

    python benchmarks/plot_types.py results/A.json results/B.json types

Writes OUTPUT.png and OUTPUT.svg; readable in black and white.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import typer

matplotlib.use("Agg")
# The same file for the same numbers.
matplotlib.rcParams["svg.hashsalt"] = "clinical_ner"

import matplotlib.pyplot as plt  # noqa: E402


def main(
    first: Path = typer.Argument(..., help="Result drawn in black."),
    second: Path = typer.Argument(..., help="Result drawn in light grey."),
    output: Path = typer.Argument(..., help="Name of the pictures, without a suffix."),
) -> None:
    """Draw and save."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (first, second)]
    per_type = [result["ents_per_type"] for result in results]
    labels = sorted(
        (label for label, row in per_type[0].items() if row["support"]),
        key=lambda label: (-per_type[0][label]["support"], label),
    )
    at = np.arange(len(labels))
    figure, axes = plt.subplots(figsize=(10, 4.2), layout="constrained")
    for shift, scores, color, result in zip(
        (-0.2, 0.2), per_type, ("black", "0.75"), results, strict=True
    ):
        values = [scores.get(label, {"f": 0.0})["f"] for label in labels]
        name = result["method"].replace("_", " ")
        axes.bar(at + shift, values, 0.4, color=color, edgecolor="black", lw=0.4, label=name)
    axes.set_xticks(at, [f"{label} ({per_type[0][label]['support']})" for label in labels])
    axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    axes.set_ylabel("F1 on test")
    axes.set_ylim(0, 1)
    axes.set_xlim(-0.7, len(labels) - 0.3)
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
        figure.savefig(output.with_suffix(suffix), dpi=130, metadata=metadata)


if __name__ == "__main__":
    typer.run(main)
