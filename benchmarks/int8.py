"""Where the time of an encoder in int8 goes, beside the same encoder and its products in fp32.

    python benchmarks/int8.py MODEL3 [--rows 4] [--length 126] [--repeats 20] [--rounds 3]

MODEL3 is what `clinical-ner optimize --precision int8` wrote. One call of --rows windows of
--length wordpieces drawn by chance, one thread: milliseconds of each operator of ONNX Runtime by
its own profile, and those of PyTorch for the whole encoder in fp32 (with weights drawn by chance)
and for its products of activations and weights; medians. For BERT and what is built like it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import spacy
import torch
from transformers import AutoModel

from clinical_ner.model.onednn import without_onednn
from clinical_ner.onnx.session import INPUTS, OnnxEncoder

#: Calls before those that count.
WARM_UP = 3


def encoder_of(path: str) -> OnnxEncoder | None:
    """The encoder of a pipeline that `optimize` wrote, None in any other."""
    transformer: Any = spacy.load(path).get_pipe("transformer")
    modules = (
        module
        for node in transformer.model.walk()
        for shim in node.shims
        for module in shim._model.modules()
    )
    return next((module for module in modules if isinstance(module, OnnxEncoder)), None)


def by_operator(encoder: OnnxEncoder, ids: Any, repeats: int) -> Counter[str]:
    """Milliseconds of a call, by operator, from the profile of ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = onnxruntime.InferenceSession(
            encoder.file, options, providers=["CPUExecutionProvider"]
        )
        given = {node.name for node in session.get_inputs()}
        inputs = {
            name: table
            for name, table in zip(INPUTS, (ids, np.zeros_like(ids)), strict=True)
            if name in given
        }
        for _ in range(WARM_UP + repeats):
            session.run(None, inputs)
        with open(session.end_profiling(), encoding="utf-8") as profile:
            events = [e for e in json.load(profile) if e["name"].endswith("_kernel_time")]
    each = len(events) // (WARM_UP + repeats)
    calls = [events[start : start + each] for start in range(WARM_UP * each, len(events), each)]
    median: Counter[str] = Counter()
    # The operators of a call come in the same order each time.
    for same in zip(*calls, strict=True):
        name = same[0]["args"]["op_name"]
        median[name] += statistics.median(event["dur"] for event in same) / 1000
    return median


def milliseconds(function: Callable[[], Any], repeats: int) -> float:
    """Median time of a call in PyTorch, as it computes in prediction."""
    found = []
    with torch.inference_mode(), without_onednn():
        for _ in range(WARM_UP + repeats):
            start = time.perf_counter()
            function()
            found.append(1000 * (time.perf_counter() - start))
    return statistics.median(found[WARM_UP:])


def products(config: Any, wordpieces: int) -> Callable[[], None]:
    """The products of activations and weights of all layers, in fp32."""
    width, inner = config.hidden_size, config.intermediate_size
    shapes = [(width, width)] * 4 + [(width, inner), (inner, width)]
    rows = {size: torch.randn(wordpieces, size) for size in (width, inner)}
    weights = [torch.randn(given, taken) for taken, given in shapes]

    def multiply() -> None:
        for _ in range(config.num_hidden_layers):
            for weight in weights:
                torch.nn.functional.linear(rows[weight.shape[1]], weight)

    return multiply


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL3")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=126)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder = encoder_of(args.model)
    if encoder is None:
        parser.error("MODEL3 is not a pipeline that clinical-ner optimize wrote")
    words = encoder.config.vocab_size
    ids = np.random.default_rng(0).integers(words, size=(args.rows, args.length))
    in_fp32 = AutoModel.from_config(encoder.config).eval()
    tensor = torch.from_numpy(ids)
    mask = torch.ones_like(tensor)
    multiply = products(encoder.config, ids.size)
    for number in range(1, args.rounds + 1):
        whole = milliseconds(lambda: in_fp32(tensor, attention_mask=mask), args.repeats)
        part = milliseconds(multiply, args.repeats)
        operators = by_operator(encoder, ids, args.repeats)
        print(f"round {number}: fp32 {whole:.1f} ms, of which products {part:.1f} ms")
        print(f"  int8 {operators.total():.1f} ms")
        for name, taken in operators.most_common(8):
            print(f"  {name:24} {taken:7.1f} ms {100 * taken / operators.total():5.1f} %")


if __name__ == "__main__":
    main()
