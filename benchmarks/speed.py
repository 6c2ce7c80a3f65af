"""Speed and memory of a pipeline on the CPU, beside the encoder alone and other pipelines.

On the same notes, in one process, in rounds of changing order:

  (a)   the encoder alone over MODEL's windows, in PyTorch's way: all threads share a call
  (a1)  the same in (b)'s way, each thread making calls of its own: the ceiling
  (a0)  the same as (a) without context, so without overlap
  (b)   MODEL, from text to entities
  (c)   spaCy's ner on the same encoder, with spacy-transformers' default spans
  (d)   Hugging Face's token-classification pipeline on the same encoder, with chunks as long as
        the encoder allows and as long as MODEL's windows, in batches of 1 and of 8
  (e)   MODEL3, if --optimized names it

MODEL has the components "transformer", with windows, and "ner". The heads of (c) and (d) need no
training: (c) takes one action per token whatever its weights are, (d) has those of MODEL's head.
Memory is that of a process of its own for each: when it is loaded, and the most while it reads.
With --growth, ever more and ever longer notes are made and read, each size in a process of its own:
by (b) all of them, by (c), (d) with the last chunks, and (e) those that take minutes.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import multiprocessing
import os
import platform
import random
import re
import statistics
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from rich.console import RenderableType
from spacy.language import Language
from spacy.training import Example
from spacy.vocab import Vocab
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers import TransformerModel
from spacy_transformers.layers.transformer_model import set_pytorch_transformer
from spacy_transformers.span_getters import configure_strided_spans
from thinc.api import fix_random_seed, xp2torch
from transformers import AutoModelForTokenClassification, pipeline
from transformers.utils import logging

from clinical_ner.cli._shared import columns, number, print_content, track
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.errors import ClinicalNerError, InputError
from clinical_ner.evaluation.plots import check_can_draw, drawing
from clinical_ner.files import corpus_files, read_text, replacing, write_text
from clinical_ner.model.threads import side_by_side
from clinical_ner.model.windows.cutting import batches_by_length, cut_windows
from clinical_ner.model.windows.encoder_calls import cpu_items, is_out_of_memory
from clinical_ner.model.windows.window_settings import longest_window
from clinical_ner.model.windows.wordpieces import wordpieces_of
from clinical_ner.pipeline.loading import load_pipeline
from clinical_ner.training.recipes import read_recipe

#: Keys of some variants: the encoder alone, our pipeline, and those that it is compared with.
BARE, OURS, OPTIMIZED = "bare", "ours", "optimized"
SPACY_NER, HUGGING_FACE = "spacy_ner", "hugging_face"
#: Spans and largest padded batch of spacy-transformers' own config, in tokens.
WINDOW, STRIDE, BATCH_ITEMS = 128, 96, 4096
#: Chunks in a batch of Hugging Face's pipeline: its default, and that of its examples.
BATCH_SIZES = (1, 8)
CONFIGS = Path(__file__).parents[1] / "configs"
#: Words of each of many notes.
WORDS_PER_NOTE = 150
NOTES, WORDS = (10, 100, 1_000, 10_000), (100, 1_000, 10_000, 100_000)
#: Most notes, and most words of one note, that others than ours are given: they take too long, or
#: too much memory, for more.
OTHERS_NOTES, OTHERS_WORDS = 1_000, 10_000
#: Words of the note that is read before any time is taken.
WARM_UP = 50
MEMORY = ("loaded_mib", "reading_mib")
#: Where Linux shows a process: "VmHWM" is the most memory that it had, "VmRSS" what it has; and
#: where writing "5" makes "VmHWM" what "VmRSS" is.
STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PACKAGES = ("numpy", "spacy", "spacy-transformers", "thinc", "torch", "transformers")
DRAWN = ("words_per_second", "reading_mib")
#: Colours of Okabe and Ito; lines and markers differ in black and white too.
STYLES = (("#0072B2", "-o"), ("#D55E00", "--s"), ("#009E73", ":^"), ("#333333", "-.D"))

#: The arguments of one call of an encoder.
Batch = Mapping[str, torch.Tensor]
#: Gives what is timed, for some texts; whatever is done before does not count.
Prepare = Callable[[Iterable[str]], Callable[[], object]]
#: Seconds of each round, by the clock ("wall"), and of all threads of this process together
#: ("processor"). Less of the latter is lost to other processes.
Times = dict[str, list[float]]


def measure(runs: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Times]:
    """Run everything once per round, each round in another order.

    So whatever else the machine does hits all alike, and none always follows the same other.
    """
    orders = random.Random(0)
    times: dict[str, Times] = {key: {"wall": [], "processor": []} for key in runs}
    for _ in track(range(rounds), "Rounds", rounds):
        for key in orders.sample(list(runs), len(runs)):
            # What others left behind is not collected at this one's cost.
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            runs[key]()
            times[key]["wall"].append(time.perf_counter() - wall)
            times[key]["processor"].append(time.process_time() - processor)
    return times


def summarise(times: Mapping[str, Times], *, words: int) -> dict[str, dict[str, Any]]:
    """Speeds and ratios of the variants, BARE and OURS among them.

    Returns:
        For each the ``seconds`` of the rounds, the median ``words_per_second``, the median ratio of
        its speed to that of the encoder alone (``of_bare``), and the ratio of the speed of ours to
        its own (``ours_over``: median, lowest and highest). Ratios are taken within rounds.
    """
    rows: dict[str, dict[str, Any]] = {}
    for key, seconds in times.items():
        speed, share, ours_over = {}, {}, {}
        for kind, own in seconds.items():
            bare, ours = times[BARE][kind], times[OURS][kind]
            ratios = sorted(s / o for s, o in zip(own, ours, strict=True))
            speed[kind] = statistics.median(words / s for s in own)
            share[kind] = statistics.median(b / s for b, s in zip(bare, own, strict=True))
            middle = statistics.median(ratios)
            ours_over[kind] = {"median": middle, "low": ratios[0], "high": ratios[-1]}
        rows[key] = {"seconds": seconds, "words_per_second": speed}
        rows[key] |= {"of_bare": share, "ours_over": ours_over}
    return rows


def read_notes(path: Path, *, limit: int) -> list[str]:
    """The texts of the first notes of a folder of .txt files, or of a .spacy file."""
    if path.suffix == ".spacy":
        texts = [doc.text for doc in read_docbin(path, Vocab())[:limit]]
    else:
        texts = [read_text(file) for file in corpus_files(path, (".txt",))[:limit]]
    if not any(text.strip() for text in texts):
        raise InputError(
            f"{path}: holds no note with words, so there is nothing to measure. Name a folder of "
            ".txt files, or a .spacy file."
        )
    return texts


def pieces_of(nlp: Language, texts: Sequence[str]) -> list[str]:
    """The tokens of texts, each with the space that follows it; every text ends with some."""
    pieces: list[str] = []
    for text in texts:
        pieces += [token.text_with_ws for token in nlp.make_doc(text)]
        if pieces and not pieces[-1][-1:].isspace():
            pieces[-1] += "\n"
    return pieces


def made_notes(pieces: Sequence[str], *, notes: int, words: int) -> Iterator[str]:
    """Make notes of ``words`` pieces each, one at a time; the pieces are repeated as needed."""
    endless = cycle(pieces)
    for _ in range(notes):
        yield "".join(islice(endless, words))


def encoder_batches(
    nlp: Language, model: Any, texts: Iterable[str], *, context: int, small: bool = False
) -> list[Batch]:
    """The calls that the encoder of a pipeline's transformer needs for texts, by length.

    Args:
        nlp: the pipeline, for its tokenizer.
        model: its transformer.
        texts: what it reads. Their windows are put together, as far as ``max_batch_items`` allows.
        context: wordpieces shown on both sides of a window.
        small: whether the calls are no larger than those of the pipeline on a CPU.
    """
    settings, tokenizer = model.settings, model.tokenizer
    # Else it warns that another way to pad is faster.
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True
    size = settings.max_wordpieces - tokenizer.num_special_tokens_to_add()
    windows: list[Any] = []
    for pieces in wordpieces_of(tokenizer, [nlp.make_doc(text) for text in texts]):
        cut = cut_windows(pieces.cuts, size, context)
        for start, end in zip(cut.starts, cut.ends, strict=True):
            windows.append(tokenizer.prepare_for_model(pieces.ids[start:end].tolist()))
    lengths = np.array([len(window["input_ids"]) for window in windows])
    items = settings.max_batch_items
    groups = batches_by_length(lengths, cpu_items(lengths.sum(), items) if small else items)
    return [tokenizer.pad([windows[i] for i in group], return_tensors="pt") for group in groups]


def bare_forward(
    model: Any, batches: Sequence[Batch], *, at_a_time: bool = False
) -> Callable[[], None]:
    """A run of the encoder over batches, one by one or, as in the pipeline, one in each thread."""
    encoder = model.transformer

    def call(batch: Batch) -> None:
        with torch.inference_mode():
            encoder(**batch)

    def run() -> None:
        encoder.eval()
        deque(side_by_side(call, batches) if at_a_time else map(call, batches), maxlen=0)

    return run


def variants(nlp: Language, optimized: Any = None) -> dict[str, tuple[str, Callable[[], Prepare]]]:
    """The variants around a pipeline of ours by key: their titles, and what builds them."""
    transformer: Any = nlp.get_pipe("transformer")
    ner: Any = nlp.get_pipe("ner")
    model = transformer.model
    own, context = model.settings.max_wordpieces, model.settings.context

    def bare(context: int, *, at_a_time: bool = False) -> Prepare:
        return lambda texts: bare_forward(
            model,
            encoder_batches(nlp, model, texts, context=context, small=at_a_time),
            at_a_time=at_a_time,
        )

    found: dict[str, tuple[str, Callable[[], Prepare]]] = {
        BARE: (f"(a) encoder alone, context {context}", lambda: bare(context)),
        "bare_side_by_side": (
            "(a1) encoder alone, calls side by side",
            lambda: bare(context, at_a_time=True),
        ),
        "bare_no_context": ("(a0) encoder alone, context 0", lambda: bare(0)),
        OURS: ("(b) ours", lambda: _reading(nlp.pipe)),
        SPACY_NER: (
            f"(c) spaCy's ner, strided spans {WINDOW}/{STRIDE}",
            lambda: _reading(spacy_ner(nlp, model, ner.labels).pipe),
        ),
    }
    longest = longest_window(model.tokenizer, model.transformer) or own
    for length, size in product(dict.fromkeys([longest, own]), BATCH_SIZES):
        found[f"{HUGGING_FACE}_{length}x{size}"] = (
            f"(d) Hugging Face, chunks of {length}, batches of {size}",
            lambda length=length, size=size: _reading(hugging_face(model, ner, length, size)),
        )
    if optimized is not None:
        found[OPTIMIZED] = ("(e) ours, optimized", lambda: _reading(optimized.pipe))
    return found


def _reading(pipe: Callable[[Iterable[str]], Iterable[object]]) -> Prepare:
    """From text to entities, of which nothing is kept."""
    return lambda texts: lambda: deque(pipe(texts), maxlen=0)


def spacy_ner(nlp: Language, encoder: Any, labels: Iterable[str]) -> Language:
    """spaCy's ner on an encoder, with the vocabulary and the tokenizer of a pipeline.

    The weights of its head are random: it takes one action per token whatever they are, so they
    hardly change its speed.
    """
    fix_random_seed(0)
    other = spacy.blank(str(nlp.lang), vocab=nlp.vocab)
    other.tokenizer, other.batch_size = nlp.tokenizer, nlp.batch_size
    transformer: Any = other.add_pipe("transformer", config={"max_batch_items": BATCH_ITEMS})
    spans = configure_strided_spans(WINDOW, STRIDE)
    transformer.model = TransformerModel(encoder.attrs["name"], spans)
    vocabulary = encoder.layers[0].shims[0]._hfmodel.vocab_file_contents
    loaded = HFObjects(encoder.tokenizer, encoder.transformer, vocabulary)
    set_pytorch_transformer(transformer.model, loaded)
    recipe = read_recipe(CONFIGS / "recipes" / "spacy_ner.cfg", CONFIGS / "minilm.cfg")
    config = {"model": recipe.config["components"]["ner"]["model"]}
    ner: Any = other.add_pipe("ner", config=config)
    for label in labels:
        ner.add_label(label)
    example = Example.from_dict(other.make_doc("fever"), {"entities": []})
    other.initialize(lambda: [example])
    return other


def hugging_face(
    encoder: Any, recognizer: Any, length: int, batch_size: int
) -> Callable[[Iterable[str]], Iterable[object]]:
    """Hugging Face's token-classification pipeline on an encoder, with the head of a recognizer.

    The head reads wordpieces where the recognizer reads tokens, so it finds about as many entities,
    which is all that matters for speed.
    """
    # Else the pipeline turns off the threads of every tokenizer in the process.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # The pipeline changes how the tokenizer cuts and pads.
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.model_max_length = length
    config = copy.deepcopy(encoder.transformer.config)
    config.num_labels = 2 * len(recognizer.labels) + 1
    model = AutoModelForTokenClassification.from_config(config)
    # The encoder itself: a copy would count as memory.
    setattr(model, model.base_model_prefix, encoder.transformer)
    head = recognizer.model.get_ref("head")
    with torch.no_grad():
        model.classifier.weight.copy_(xp2torch(head.get_param("W")))
        model.classifier.bias.copy_(xp2torch(head.get_param("b")))
    logging.set_verbosity_error()
    read: Any = pipeline(
        "token-classification",
        model=model.eval(),
        tokenizer=tokenizer,
        framework="pt",
        device=-1,
        aggregation_strategy="simple",
        # It recommends none. As many as two of our windows share make both read as much.
        stride=2 * encoder.settings.context,
        batch_size=batch_size,
    )
    return lambda texts: read(text for text in texts)


def ask(**request: Any) -> dict[str, Any]:
    """What `answer` gives in a process of its own; or the ``reason`` why there is no answer."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(answer, **request).result()
        except BrokenProcessPool:
            return {"reason": "ended by the system, as happens when memory runs out"}


def answer(
    model: str, optimized: str, variant: str, threads: int, texts: Sequence[str] = (), **made: Any
) -> dict[str, Any]:
    """Load a variant and let it read texts, or notes as `made_notes` makes them.

    Returns:
        ``loaded_mib``, memory when the variant is loaded, and ``reading_mib``, the most while it
        reads, both None on systems other than Linux; of made notes also the ``seconds`` of reading
        and the ``words_per_second``. Or only ``reason``, why there is none of it.
    """
    try:
        torch.set_num_threads(threads)
        if variant == OPTIMIZED:
            prepare = _reading(load_pipeline(optimized).pipe)
        else:
            prepare = variants(load_pipeline(model))[variant][1]()
        gc.collect()
        result = {"loaded_mib": _memory("VmRSS")}
        if STATUS.is_file():
            REFERENCES.write_text("5")
        if texts:
            prepare(texts)()
        else:
            prepare(made_notes(made["pieces"], notes=1, words=WARM_UP))()
            run = prepare(made_notes(**made))
            start = time.perf_counter()
            run()
            result["seconds"] = time.perf_counter() - start
            result["words_per_second"] = made["notes"] * made["words"] / result["seconds"]
        return {**result, "reading_mib": _memory("VmHWM")}
    except Exception as error:
        return {"reason": reason_of(error)}


def reason_of(error: BaseException) -> str:
    """Why a measurement failed, in a line without text of a note.

    The message of an error that is not ours may quote a note, so only its kind is given, and the
    place in the program.
    """
    if isinstance(error, ClinicalNerError):
        return str(error)
    if is_out_of_memory(error):
        return "out of memory"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"


def _memory(name: str) -> float | None:
    """A number that Linux gives for this process, in MiB; None on other systems."""
    if not STATUS.is_file():
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB$", STATUS.read_text(), flags=re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Measure speed and memory of prediction.

    Returns:
        Ready for JSON: the settings; the numbers of ``documents`` and of ``words``, which are
        tokens of the model's tokenizer; ``variants``, a row each with the figures of `summarise`
        and its ``memory``; ``growth``, a row for each size; ``machine``, ``versions``.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    nlp = load_pipeline(args.model)
    texts = read_notes(args.notes, limit=args.limit)
    pieces = pieces_of(nlp, texts)
    found = variants(nlp, args.optimized and load_pipeline(args.optimized))
    titles = {key: title for key, (title, _) in found.items()}
    built = {key: build() for key, (_, build) in found.items()}
    # What is made when something is first used is not timed.
    for prepare in built.values():
        prepare(["".join(pieces[:WARM_UP])])()
    runs = {key: prepare(texts) for key, prepare in built.items()}
    figures = summarise(measure(runs, rounds=args.rounds), words=len(pieces))
    # The processes that follow have the memory for themselves.
    del nlp, found, built, prepare, runs
    gc.collect()
    threads = torch.get_num_threads()
    request = {"model": args.model, "optimized": args.optimized, "threads": threads}
    rows = []
    for key, title in track(titles.items(), "Memory", len(titles)):
        memory = ask(**request, variant=key, texts=texts)
        rows.append({"variant": key, "title": title, **figures[key], "memory": memory})
    theirs = [key for key in titles if key.startswith(HUGGING_FACE)]
    growing = [key for key in titles if key in (OURS, SPACY_NER, theirs[-1], OPTIMIZED)]
    points = plan(growing, args) if args.growth else []
    growth = [
        {**point, **ask(**request, **point, pieces=pieces)}
        for point in track(points, "Growth", len(points))
    ]
    return {
        **{key: getattr(args, key) for key in ("model", "optimized", "limit", "rounds")},
        **{"notes": str(args.notes), "threads": threads},
        **{"documents": len(texts), "words": len(pieces)},
        **{"variants": rows, "growth": growth},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version()} | {of: version(of) for of in PACKAGES},
    }


def plan(keys: Sequence[str], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The sizes that are measured: ours with every one, others with those that they are given."""
    sizes = [(n, WORDS_PER_NOTE, n <= OTHERS_NOTES) for n in args.growth_notes]
    sizes += [(1, n, n <= OTHERS_WORDS) for n in args.growth_words]
    return [
        {"variant": key, "notes": notes, "words": words}
        for key in keys
        for notes, words, is_small in sizes
        if key == OURS or is_small
    ]


def content(measured: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Tables of speed, ratios, memory and growth, and what could not be measured."""
    title = f"{measured['documents']} notes, {measured['words']:,} words, "
    title += f"{measured['rounds']} rounds, threads: {measured['threads']}"
    right: tuple[str, ...] = ("words/s", "by CPU", "of (a)", "by CPU", "(b) / it", "range", *MEMORY)
    table = columns("Variant", right=right, title=title)
    for row in measured["variants"]:
        ours = row["ours_over"]["wall"]
        cells = [_number(speed) for speed in row["words_per_second"].values()]
        cells += [number(share, 2) for share in (*row["of_bare"].values(), ours["median"])]
        cells += [f"{ours['low']:.2f} to {ours['high']:.2f}"]
        cells += [_number(row["memory"].get(key)) for key in MEMORY]
        table.add_row(row["title"], *cells)
    yield table
    titles = {row["variant"]: row["title"] for row in measured["variants"]}
    if measured["growth"]:
        right = ("notes", "words", "seconds", "words_per_second", *MEMORY)
        table = columns("Variant", right=right, title="Growth, each row in a process of its own")
        for row in measured["growth"]:
            table.add_row(titles[row["variant"]], *(_number(row.get(key)) for key in right))
        yield table
    for row in [{**row, **row["memory"]} for row in measured["variants"]] + measured["growth"]:
        if "reason" in row:
            size = f", {row['notes']:,} x {row['words']:,}" if "notes" in row else ""
            yield f"{titles[row['variant']]}{size}: {row['reason']}."


def draw(measured: Mapping[str, Any], path: Path, *, kind: str) -> None:
    """Draw speed and memory over the number of notes and over the length of one.

    What could not be measured is left out. The same figures give the same file.
    """
    titles = {row["variant"]: row["title"] for row in measured["variants"]}
    drawn = dict.fromkeys(row["variant"] for row in measured["growth"])
    labels = {"notes": f"Notes of {WORDS_PER_NOTE} words", "words": "Words of one note"}
    with drawing(path, kind=kind, font_size=9) as figure:
        figure.set_size_inches(8.0, 6.0)
        panels = figure.subplots(2, 2, sharex="col", sharey="row")
        for column, (size, label) in enumerate(labels.items()):
            rows = [row for row in measured["growth"] if (row["notes"] == 1) == (size == "words")]
            sizes = sorted({row[size] for row in rows})
            for axes, key in zip(panels[:, column], DRAWN, strict=True):
                for variant, (color, style) in zip(drawn, STYLES, strict=False):
                    of = [row for row in rows if row["variant"] == variant and row.get(key)]
                    places, values = [row[size] for row in of], [row[key] for row in of]
                    axes.plot(places, values, style, color=color, mfc="w", label=titles[variant])
                axes.set_xscale("log")
                axes.set_xticks(sizes, map(_number, sizes))
                axes.set_xticks([], minor=True)
                axes.grid(color="0.9", lw=0.6)
                axes.spines[["top", "right"]].set_visible(False)
            panels[1, column].set_xlabel(label)
        panels[0, 0].set(ylabel="Words per second", yscale="log")
        panels[1, 0].set_ylabel("Most memory while reading, MiB")
        most = max((row.get("reading_mib") or 1.0 for row in measured["growth"]), default=1.0)
        panels[1, 0].set_ylim(0, 1.1 * most)
        handles, names = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", frameon=False, ncols=2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, write the files asked for, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder of a pipeline, or name of an installed package")
    add("notes", metavar="NOTES", type=Path, help="folder of .txt files, or a .spacy file")
    add("--optimized", metavar="MODEL3", help="pipeline for (e)")
    add("--limit", type=int, default=200, help="most notes to read")
    add("--rounds", type=int, default=5, help="how often each is run")
    add("--threads", type=int, help="of PyTorch; by default as many as it takes")
    add("--growth", action="store_true", help="also read made notes, ever more and ever longer")
    add("--growth-notes", type=int, nargs="+", default=NOTES, help="numbers of notes")
    add("--growth-words", type=int, nargs="+", default=WORDS, help="words of one note")
    add("--output", type=Path, help="JSON file for all figures")
    add("--plot", type=Path, help="picture of the growth, .png or .svg")
    args = parser.parse_args(arguments)
    if args.plot and (not args.growth or args.plot.suffix not in (".png", ".svg")):
        parser.error("--plot needs --growth, and a name that ends in .png or .svg")
    # A message of spaCy or transformers may quote a note.
    try:
        if args.plot:
            check_can_draw(args.plot.name)
        measured = benchmark(args)
        if args.output:
            write_text(args.output, json.dumps(measured, indent=2, allow_nan=False) + "\n")
        if args.plot:
            with replacing(args.plot) as temporary:
                draw(measured, temporary, kind=args.plot.suffix[1:])
    except Exception as error:
        sys.exit(f"speed: {reason_of(error)}")
    print_content(content(measured), width=150)


def _number(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:,.1f}" if value < 100 and value != int(value) else f"{value:,.0f}"


if __name__ == "__main__":
    main()
