"""Ways to quantise an encoder to 8 bits: scores, what changes, and speed in paired rounds.

    python benchmarks/quantizers.py MODEL GOLD.spacy [--rounds 5] [--output FILE.json]

MODEL is a trained pipeline with a transformer and `ner`. It is compared with itself on ONNX Runtime
in single precision; quantised by us, and by ONNX Runtime's quantize_dynamic, with attention as one
operator and written out; and, where torchao is installed, with its dynamic int8 of linear layers,
one scale per row. One thread. For each:

changed      entities that only it or only MODEL found, over those that either found
by_batch     the same, between documents read together and one at a time
ours_over    speed of ours over its own, within rounds of changing order

quantize_dynamic gives all activations of a call one scale. "rows alone": each row is a call.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import onnx
import spacy
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from spacy.language import Language
from spacy.tokens import Doc

from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.evaluation.labelled_tokens import unannotated
from clinical_ner.evaluation.one_pass_counts import evaluate_pipeline
from clinical_ner.files import replacing
from clinical_ner.onnx import session
from clinical_ner.onnx.export import export
from clinical_ner.onnx.optimize import optimize_encoder, transformer_to_optimize
from clinical_ner.onnx.quantization import quantize
from clinical_ner.scoring.evaluation import evaluation_scores

BASE, OURS, ALONE = "PyTorch, fp32", "ours, int8", "rows alone"
SCORES = ("ents_f", "ents_macro_f", "token_ece")


def by_runtime(file: bytes, *, reduce_range: bool) -> bytes:
    """ONNX Runtime's quantizer: a scale per column of a weight, one for all activations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            onnx.load_from_string(file),
            path,
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        model = onnx.load(path)
    # It cannot infer what the attention in one operator gives, and leaves an undefined type.
    del model.graph.value_info[:]
    for node in model.graph.node:
        for attribute in node.attribute:
            if (node.op_type, attribute.name, attribute.i) == ("Cast", "to", 0):
                attribute.i = onnx.TensorProto.FLOAT
    return bytes(model.SerializeToString())


class Variant(NamedTuple):
    """A pipeline, and the most wordpieces of a call to ONNX Runtime."""

    nlp: Language
    call_wordpieces: int = session.CALL_WORDPIECES

    def pipe(self, documents: Sequence[Doc], batch_size: int | None = None) -> list[Doc]:
        """Documents with entities."""
        given = [unannotated(self.nlp, document) for document in documents]
        with mock.patch.object(session, "CALL_WORDPIECES", self.call_wordpieces):
            return list(self.nlp.pipe(given, batch_size=batch_size))

    def scores(self, documents: Sequence[Doc]) -> dict[str, Any]:
        """Scores on gold documents."""
        with mock.patch.object(session, "CALL_WORDPIECES", self.call_wordpieces):
            return evaluation_scores(evaluate_pipeline(self.nlp, documents).counts)


def variants(model: str) -> Iterator[tuple[str, Variant]]:
    """What is compared, MODEL first."""
    base = spacy.load(model)
    yield BASE, Variant(base)
    name = transformer_to_optimize(base)
    transformer: Any = base.get_pipe(name)
    given = transformer.model.attrs["name"], transformer.model.transformer
    file = export(*given, transformer.model.tokenizer)
    with mock.patch("clinical_ner.onnx.export.attention_in_one_operator", nullcontext):
        written_out = export(*given, transformer.model.tokenizer)
    files = {
        "ONNX Runtime, fp32": file,
        "ONNX Runtime, fp32, attention written out": written_out,
        OURS: quantize(file),
        f"{OURS}, attention written out": quantize(written_out),
    }
    for reduced in (False, True):
        title = "quantize_dynamic" + ", reduce_range" * reduced
        files[title] = files[f"{title}, {ALONE}"] = by_runtime(file, reduce_range=reduced)
    title = "quantize_dynamic, reduce_range, attention written out"
    files[title] = files[f"{title}, {ALONE}"] = by_runtime(written_out, reduce_range=True)
    for title, content in files.items():
        with mock.patch("clinical_ner.onnx.optimize.export", return_value=content):
            nlp = optimize_encoder(base, name, "fp32")
        yield title, Variant(nlp, 1 if title.endswith(ALONE) else session.CALL_WORDPIECES)
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    except ImportError:
        print("torchao is not installed: not measured", file=sys.stderr)
        return
    nlp = spacy.load(model)
    of_torchao: Any = nlp.get_pipe(name)
    quantize_(of_torchao.model.transformer, Int8DynamicActivationInt8WeightConfig())
    yield "torchao, int8 rows", Variant(nlp)


def changed(documents: Sequence[Doc], others: Sequence[Doc]) -> float:
    """Entities that only one of two readings found, over those that either found."""
    both: list[set[tuple[int, int, int, str]]] = [
        {(i, e.start, e.end, e.label_) for i, doc in enumerate(docs) for e in doc.ents}
        for docs in (documents, others)
    ]
    return len(both[0] ^ both[1]) / max(len(both[0] | both[1]), 1)


def main() -> None:
    """Measure, print a line for each, and write them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("gold", metavar="GOLD.spacy", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = dict(variants(args.model))
    gold = read_docbin(args.gold, found[BASE].nlp.vocab)
    # These runs are also the warm-up.
    scores = {title: variant.scores(gold) for title, variant in found.items()}
    together = {title: variant.pipe(gold) for title, variant in found.items()}
    seconds: dict[str, list[float]] = {title: [] for title in found}
    orders = random.Random(0)
    for _ in range(args.rounds):
        for title in orders.sample(list(found), len(found)):
            start = time.perf_counter()
            found[title].pipe(gold)
            seconds[title].append(time.perf_counter() - start)
    rows = []
    for title, variant in found.items():
        ratios = [own / ours for own, ours in zip(seconds[title], seconds[OURS], strict=True)]
        row = {
            "variant": title,
            **{key: round(scores[title][key], 4) for key in SCORES},
            "changed": round(changed(together[title], together[BASE]), 4),
            "by_batch": round(changed(together[title], variant.pipe(gold, batch_size=1)), 4),
            "words_per_second": round(sum(map(len, gold)) / statistics.median(seconds[title])),
            "ours_over": {
                "median": round(statistics.median(ratios), 3),
                "low": round(min(ratios), 3),
                "high": round(max(ratios), 3),
            },
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.output:
        command = f"python benchmarks/quantizers.py MODEL {args.gold.name} --rounds {args.rounds}"
        record = {"command": command, "documents": len(gold), "threads": 1, "variants": rows}
        with replacing(args.output) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
