"""Compare losses with spaCy's own ner: same encoder, windows, documents, epochs and seed.

    python benchmarks/compare.py ../shared/maccrobat --work training/compare --seed 0 --epochs 6

Trains one model per method, evaluates it on the test documents, keeps its scores as
benchmarks/results/METHOD-seedS-epochsE.json, and prints the table of benchmarks/README.md. A method
whose result is there already is not run again; one whose model lies in the folder is only
evaluated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import spacy
import typer
from thinc.api import Config

from clinical_ner.cli.convert import convert
from clinical_ner.cli.evaluate import evaluate
from clinical_ner.cli.split import split
from clinical_ner.cli.train import RECORD, train

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RECIPE = ROOT / "configs" / "minilm.cfg"

OWN = {
    "logit_adjusted": {"@losses": "clinical_ner.LogitAdjusted.v1", "tau": 1.0},
    "cross_entropy": {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": "none"},
    "paper_weights": {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": "paper"},
}
SPACY_NER = """
[components]

[components.ner]
factory = "ner"

[components.ner.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "ner"
extra_state_tokens = false
hidden_width = 64
maxout_pieces = 2
use_upper = false
nO = null

[components.ner.model.tok2vec]
@architectures = "spacy-transformers.TransformerListener.v1"
grad_factor = 1.0
upstream = "*"
pooling = {"@layers":"reduce_mean.v1"}
"""
METHODS = [*OWN, "spacy_ner"]


def recipe(method: str) -> Config:
    """The default recipe with the method in place of its loss, or of its whole component."""
    config = Config().from_disk(RECIPE, interpolate=False)
    if method in OWN:
        words = config["components"]["ner"]["loss"]["tokens_per_batch"]
        config["components"]["ner"]["loss"] = {**OWN[method], "tokens_per_batch": words}
    else:
        config["components"]["ner"] = Config().from_str(SPACY_NER)["components"]["ner"]
        config["training"]["score_weights"] = {"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0}
    return config


def run(method: str, work: Path, *, seed: int, epochs: int, command: str) -> dict[str, Any]:
    """Train and evaluate one method; return and keep its result."""
    result_path = RESULTS / f"{method}-seed{seed}-epochs{epochs}.json"
    if result_path.exists():
        return json.loads(result_path.read_text(encoding="utf-8"))
    folder = work / f"{method}-seed{seed}-epochs{epochs}"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / f"{method}.cfg"
    if not (folder / RECORD).exists():
        recipe(method).to_disk(config, interpolate=False)
        train(
            config,
            folder,
            train_path=work / "train.spacy",
            dev_path=work / "dev.spacy",
            seed=seed,
            epochs=epochs,
        )
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    metrics = evaluate(str(folder / "model-best"), work / "test.spacy")
    result = {**metrics, "method": method, "seed": seed, "epochs": epochs, "command": command}
    for key in ("model", "data"):
        result.pop(key)
    result["training_words_per_second"] = record["words_per_second"]
    RESULTS.mkdir(exist_ok=True)
    result_path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return result


def table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table, scores in percent with their 95 % intervals."""
    scores = ("ents_f", "ents_macro_f", "token_unweighted_accuracy")
    lines = [
        "| method | micro-F | macro-F | unweighted accuracy | training words/s |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        cells = []
        for key in scores:
            low, high = result["intervals"][key]
            cells.append(f"{100 * result[key]:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        rate = f"{result['training_words_per_second']:.0f}"
        lines.append(f"| {result['method']} | {' | '.join(cells)} | {rate} |")
    return "\n".join(lines)


def main(
    corpus: Path = typer.Argument(..., help="Folder of brat files."),
    work: Path = typer.Option(Path("training/compare"), help="Folder for data and models."),
    methods: str = typer.Option(",".join(METHODS), help="Comma-separated."),
    seed: int = 0,
    epochs: int = 6,
) -> None:
    """Train, evaluate and tabulate."""
    unknown = set(methods.split(",")) - set(METHODS)
    if unknown:
        raise typer.BadParameter(f"unknown methods: {', '.join(sorted(unknown))}")
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "test.spacy").exists():
        convert(corpus, work / "all.spacy", nlp=spacy.blank("en"))
        split(work / "all.spacy", work, dev=0.1, test=0.2, seed=0)
    results = []
    for method in methods.split(","):
        command = (
            f"python benchmarks/compare.py {corpus} --methods {method} "
            f"--seed {seed} --epochs {epochs}"
        )
        results.append(run(method, work, seed=seed, epochs=epochs, command=command))
    print(table(results))


if __name__ == "__main__":
    typer.run(main)
