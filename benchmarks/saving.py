"""What saving without words and without pickle changes: nothing in predictions; time and size.

A pipeline is saved as stock spaCy does, all strings and the encoder's weights as a pickle, and as
clinical-ner does, with checksums and without. Each is loaded in turn, in an order that alternates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy_transformers.layers.hf_shim import HFShim

from clinical_ner.data.gold import read_gold_for
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.runner import recognizer_of, unannotated
from clinical_ner.files import write_text
from clinical_ner.model.safe_shim import SafeShim
from clinical_ner.pipeline.loading import load_pipeline
from clinical_ner.pipeline.manifest import MANIFEST
from clinical_ner.pipeline.saving import save_pipeline

EXAMPLE = """example:
  python benchmarks/saving.py training/model-final corpus/test.spacy \\
    --output benchmarks/results/saving.json
"""


def main() -> None:
    """Parse the command line, save, load and compare, and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a pipeline's folder or package")
    parser.add_argument("data", metavar="DATA.spacy", type=Path, help="documents to predict")
    parser.add_argument("--rounds", type=int, default=5, help="loads of each, at least 1")
    parser.add_argument("--output", type=Path, help="JSON file for the measurements")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    try:
        report = measure(args.model, args.data, args.rounds)
    except ClinicalNerError as error:
        sys.exit(f"saving: {error}")
    report["command"] = " ".join(["python", *sys.argv])
    text = json.dumps(report, indent=2)
    print(text)
    if args.output:
        write_text(args.output, text + "\n")


def measure(model: str, data: Path, rounds: int) -> dict[str, Any]:
    """Size, seconds of processor time to load, and what differs in predictions, of each way."""
    nlp = load_pipeline(model)
    # Their words are in the string store from here on, as those of training notes are.
    references = read_gold_for(data, nlp)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("stock", "checksums", "digests")}
        _save_stock(nlp, folders["stock"])
        save_pipeline(nlp, folders["checksums"])
        save_pipeline(nlp, folders["digests"])
        (folders["digests"] / MANIFEST).unlink()
        seconds: dict[str, list[float]] = {name: [] for name in folders}
        for round_ in range(rounds):
            for name in list(folders)[:: -1 if round_ % 2 else 1]:
                start = time.process_time()
                spacy.load(folders[name])
                seconds[name].append(time.process_time() - start)
        found = {name: _predicted(load_pipeline(folder), references)
                 for name, folder in folders.items()}  # fmt: skip
        sizes = {
            name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            for name, folder in folders.items()
        }
    entities, rows = found["stock"]
    return {
        "documents": len(references),
        "entities": len(entities),
        **{
            name: {
                "bytes": sizes[name],
                "load_seconds": statistics.median(seconds[name]),
                "other_entities": len(set(entities) ^ set(found[name][0])),
                "largest_difference_of_probabilities": max(
                    float(abs(one - other).max())
                    for one, other in zip(rows, found[name][1], strict=True)
                ),
            }
            for name in folders
        },
    }


def _save_stock(nlp: Language, folder: Path) -> None:
    """Save as before: with every string, a pickle of the encoder, and no digests."""
    ours = SafeShim.to_bytes
    SafeShim.to_bytes = HFShim.to_bytes  # type: ignore[method-assign]
    try:
        nlp.to_disk(folder)
    finally:
        SafeShim.to_bytes = ours  # type: ignore[method-assign]
    found = recognizer_of(nlp)
    assert found, "no one recognizer with probabilities"
    cfg = folder / found[0] / "cfg"
    content = json.loads(cfg.read_text(encoding="utf-8"))
    content.pop("sha256")
    cfg.write_text(json.dumps(content), encoding="utf-8")


def _predicted(nlp: Language, references: Any) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """Entities with their probabilities, and the probabilities of all tags of all tokens."""
    found = recognizer_of(nlp)
    assert found
    entities, rows = [], []
    for number, reference in enumerate(references):
        doc = nlp(unannotated(nlp, reference))
        entities += [
            (number, ent.start_char, ent.end_char, ent.label_, ent._.probability)
            for ent in doc.ents
        ]
        rows.append(np.exp(found[1].predict([doc])[0]))
    return entities, rows


if __name__ == "__main__":
    main()
