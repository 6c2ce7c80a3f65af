"""Speed of prediction with windows of wordpieces, beside the bare encoder and strided spans.

All in one process, in alternating rounds, so that what else the machine does hits all alike; the
figures are medians over the rounds, of the speed and of its ratio to that of the bare encoder.

    python benchmarks/windows.py MODEL NOTES [--limit 100] [--rounds 5] [--windows 254,32 510,64]
                                 [--batch-items 4096] [--profile]

MODEL is a trained pipeline of a transformer and ``ner``; its weights go into every variant.
NOTES is a folder of .txt files.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc

from clinical_ner.model.windowed_transformer import WindowedTransformer
from clinical_ner.model.windows import batches_by_length, cut_windows
from clinical_ner.model.wordpieces import wordpieces_of

#: What spacy-transformers does by default.
STRIDED = {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 128, "stride": 96}
#: Documents of one call of the transformer are chosen by their number alone.
NO_LIMIT = 10**9


def with_transformer(path: Path, model: dict[str, Any], max_batch_items: int) -> Language:
    """The trained pipeline with another model around the same encoder."""
    config = spacy.util.load_config(path / "config.cfg")
    trained = config["components"]["transformer"]
    shared = ("name", "tokenizer_config", "transformer_config", "mixed_precision")
    kept = {key: trained["model"][key] for key in (*shared, "grad_scaler_config")}
    trained["model"] = {**kept, **model}
    trained["max_batch_items"] = max_batch_items
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    return nlp.from_disk(path)


def windowed(path: Path, size: int, context: int, batch_items: int) -> Language:
    """The trained pipeline with windows of wordpieces."""
    model = {
        "@architectures": "clinical_ner.WindowedTransformer.v1",
        "max_wordpieces": size,
        "context": context,
        "training_context": context,
        "max_batch_items": batch_items,
    }
    return with_transformer(path, model, NO_LIMIT)


def strided(path: Path) -> Language:
    """The trained pipeline with the windows of spacy-transformers' default config."""
    model = {"@architectures": "spacy-transformers.TransformerModel.v3", "get_spans": STRIDED}
    return with_transformer(path, model, 4096)


def bare_forward(nlp: Language, texts: list[str]) -> Callable[[], None]:
    """The encoder's own arithmetic over the windows of a pipeline: all else is done before."""
    model = nlp.get_pipe("transformer").model
    assert isinstance(model, WindowedTransformer)
    settings, special = model.settings, model.special_tokens()
    windows = []
    for pieces in wordpieces_of(model.tokenizer, [nlp.make_doc(text) for text in texts]):
        size = settings.max_wordpieces - special.count
        for start, end, _, _ in zip(*cut_windows(pieces.cuts, size, settings.context), strict=True):
            windows.append([*special.prefix, *pieces.ids[start:end], *special.suffix])
    batches = []
    for rows in batches_by_length(np.array([len(w) for w in windows]), settings.max_batch_items):
        ids = torch.full((len(rows), len(windows[rows[0]])), special.pad)
        for row, index in enumerate(rows):
            ids[row, : len(windows[index])] = torch.tensor(windows[index])
        batches.append((ids, (ids != special.pad).float()))
    encoder = model.transformer

    def run() -> None:
        encoder.eval()
        with torch.inference_mode():
            for ids, mask in batches:
                encoder(input_ids=ids, attention_mask=mask)

    return run


def prediction(nlp: Language, texts: list[str]) -> Callable[[], list[Doc]]:
    """From text to entities."""
    return lambda: list(nlp.pipe(texts))


def seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Wall time, and time on the CPU: less of it is lost to others, but not the caches."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def variants(args: argparse.Namespace, texts: list[str]) -> Iterator[tuple[str, Callable, str]]:
    """Name, what to run, and the name of the bare encoder to compare it with."""
    first = ""
    for size, context in (tuple(map(int, w.split(","))) for w in args.windows):
        nlp = windowed(args.model, size, context, args.batch_items)
        bare = f"bare encoder {size}, context {context}"
        first = first or bare
        yield bare, bare_forward(nlp, texts), bare
        yield f"windowed {size}, context {context}", prediction(nlp, texts), bare
    yield "strided spans 128/96", prediction(strided(args.model), texts), first


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", nargs="+", default=["254,32"])
    parser.add_argument("--batch-items", type=int, default=4096)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    files = sorted(args.notes.glob("*.txt"))[: args.limit]
    texts = [file.read_text(encoding="utf-8") for file in files]
    words = sum(len(doc) for doc in spacy.blank("en").pipe(texts))
    runs = list(variants(args, texts))
    if args.profile:
        profile = cProfile.Profile()
        profile.runcall(runs[1][1])
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    times: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in runs}
    for _ in range(args.rounds):
        for name, run, _ in runs:
            times[name].append(seconds(run))
    print(f"{len(texts)} notes, {words} words, {torch.get_num_threads()} threads")
    print(f"{'':36}{'words/s':>10}{'by CPU':>10}{'of bare':>10}{'by CPU':>10}")
    for name, _, bare in runs:
        speed = [statistics.median(words / t[i] for t in times[name]) for i in (0, 1)]
        pairs = list(zip(times[bare], times[name], strict=True))
        share = [statistics.median(b[i] / t[i] for b, t in pairs) for i in (0, 1)]
        print(f"{name:36}{speed[0]:10.0f}{speed[1]:10.0f}{share[0]:10.3f}{share[1]:10.3f}")


if __name__ == "__main__":
    main()
