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

The heads of (c) and (d) need no training: (c) takes one action per token whatever its weights are,
(d) has the weights of MODEL's head. Memory is that of a process of its own for each: when it is
loaded, the most while it reads, and the most of all, which may be that of loading. With --growth,
each size too is read in a process of its own, as a stream of which nothing is kept: (b) up to the
end, the others up to 1,000 notes and 10,000 words.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from clinical_ner.files import replacing

from . import BARE, OURS, encoder_batches, measure, pieces_of, read_notes, summarise
from .child import ask, reason_of
from .variants import HUGGING_FACE, NO_CONTEXT, OPTIMIZED, SPACY_NER, Variants

#: Words of each of many notes.
WORDS_PER_NOTE = 150
NOTES, WORDS = (10, 100, 1_000, 10_000), (100, 1_000, 10_000, 100_000)
#: Most notes, and most words of one note, that others than ours are given: they take too long, or
#: too much memory, for more.
OTHERS_NOTES, OTHERS_WORDS = 1_000, 10_000
MEMORY = ("loaded_mib", "reading_mib", "peak_mib")
PACKAGES = (
    *("clinical-ner", "numpy", "onnxruntime", "spacy", "spacy-transformers", "thinc"),
    *("tokenizers", "torch", "transformers"),
)
EXAMPLE = """example:
  python -m benchmarks.speed training/model-final notes/ --threads 2 --growth \\
    --output speed.json --plot growth.png
"""
KEYS_DRAWN = ("words_per_second", "reading_mib")
#: Colours of Okabe and Ito; lines and markers differ in black and white too.
STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", ":", "^"),
    ("#333333", "-.", "D"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, write the files asked for, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder of a pipeline, or name of an installed package")
    add("notes", metavar="NOTES", type=Path, help="folder of .txt files, or a .spacy file")
    add("--optimized", metavar="MODEL3", help="pipeline for (e)")
    add("--limit", type=_above_0, default=200, help="most notes to read")
    add("--rounds", type=_above_0, default=5, help="how often each is run")
    add("--threads", type=_above_0, help="of PyTorch; by default as many as it takes")
    add("--seed", type=int, default=0, help="of the orders and of the untrained head")
    add("--growth", action="store_true", help="also read made notes, ever more and ever longer")
    add("--growth-notes", type=_above_0, nargs="+", default=NOTES, help="numbers of notes")
    add("--growth-words", type=_above_0, nargs="+", default=WORDS, help="words of one note")
    add("--output", type=Path, help="JSON file for all figures")
    add("--plot", type=Path, help="picture of the growth, .png or .svg")
    args = parser.parse_args(arguments)
    if args.plot and (not args.growth or args.plot.suffix not in (".png", ".svg")):
        parser.error("--plot needs --growth, and a name that ends in .png or .svg")
    if args.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'clinical-ner[plots]'")
    # A message of spaCy or transformers may quote a note.
    try:
        measured = benchmark(args)
        with ExitStack() as outputs:
            if args.output:
                text = json.dumps(measured, indent=2, allow_nan=False) + "\n"
                path = outputs.enter_context(replacing(args.output))
                path.write_text(text, encoding="utf-8")
            if args.plot:
                path = outputs.enter_context(replacing(args.plot))
                draw(measured, path, kind=args.plot.suffix[1:])
    except Exception as error:
        sys.exit(f"speed: {reason_of(error)}")
    show(measured)


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Measure speed and memory of prediction.

    Returns:
        Ready for JSON: the settings; the numbers of ``documents`` and of ``words``, which are
        tokens of the model's tokenizer; ``windows``, what they cost with and without context (see
        `encoder_batches`); ``variants``, a row each with the figures of `summarise` and its
        ``memory``; ``growth``, a row for each size, or None; ``machine``, ``versions``.

    Raises:
        InputError: a pipeline cannot be loaded or lacks what is needed, or there are no notes.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    sources = {"model": args.model, "optimized": args.optimized, "seed": args.seed}
    variants = Variants(**sources)
    nlp = variants.nlp
    texts = read_notes(args.notes, nlp, limit=args.limit)
    pieces = pieces_of(nlp, texts)
    built = {key: build() for key, build in variants.build().items()}
    windows = []
    for key in (BARE, NO_CONTEXT):
        context = built[key].settings["context"]
        _, counts = encoder_batches(nlp, variants.transformer, texts, context=context)
        windows.append({"context": context, **counts})
    # What is made when something is first used is not timed.
    warm_up = [next(text for text in texts if text.strip())]
    for variant in built.values():
        variant.prepare(warm_up)()
    runs = {key: variant.prepare(texts) for key, variant in built.items()}
    times = measure(runs, rounds=args.rounds, seed=args.seed, say=_say)
    figures = summarise(times, words=len(pieces))
    rows = [
        {"variant": key, "title": variant.title, "settings": variant.settings, **figures[key]}
        for key, variant in built.items()
    ]
    # The processes that follow have the memory for themselves.
    del nlp, variants, built, runs, variant
    gc.collect()
    common = {"sources": sources, "threads": torch.get_num_threads()}
    for row in rows:
        _say(f"memory of {row['title']}")
        row["memory"] = ask(**common, variant=row["variant"], texts=texts)
    growth = None
    if args.growth:
        growth = []
        for point in plan([row["variant"] for row in rows if _grows(row, rows)], args):
            _say(f"growth of {point['variant']}: {point['notes']} x {point['words']}")
            size = {key: point[key] for key in ("variant", "notes", "words")}
            found = ask(**common, **size, pieces=pieces)
            if "reason" not in found:
                found["words_per_second"] = point["notes"] * point["words"] / found["seconds"]
            growth.append({**point, **found})
    return {
        **{"model": args.model, "notes": str(args.notes), "optimized": args.optimized},
        **{"limit": args.limit, "rounds": args.rounds, "threads": common["threads"]},
        **{"seed": args.seed, "documents": len(texts), "words": len(pieces)},
        **{"windows": windows, "variants": rows, "growth": growth},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": _versions(),
    }


def plan(variants: Sequence[str], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The sizes that are measured: ours with every one, others with those that they are given."""
    points: list[dict[str, Any]] = []
    for key in variants:
        for number in args.growth_notes:
            if key == OURS or number <= OTHERS_NOTES:
                size = {"notes": number, "words": WORDS_PER_NOTE}
                points.append({"variant": key, "kind": "notes", **size})
        for number in args.growth_words:
            if key == OURS or number <= OTHERS_WORDS:
                points.append({"variant": key, "kind": "words", "notes": 1, "words": number})
    return points


def _grows(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the growth of a variant is measured: of Hugging Face's the fastest."""
    if row["variant"].startswith(HUGGING_FACE):
        others = [r for r in rows if r["variant"].startswith(HUGGING_FACE)]
        return row is max(others, key=lambda r: r["words_per_second"]["wall"])
    return row["variant"] in (OURS, OPTIMIZED, SPACY_NER)


def show(measured: Mapping[str, Any]) -> None:
    """Print speed, ratios, memory and growth, and what could not be measured."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(
        title=f"{measured['documents']} notes, {measured['words']:,} words, "
        f"{measured['rounds']} rounds, threads: {measured['threads']}"
    )
    table.add_column("Variant")
    for header in ("words/s", "by CPU", "of (a)", "by CPU", "(b) / it", "range", *MEMORY):
        table.add_column(header, justify="right")
    for row in measured["variants"]:
        speed, share, ours = row["words_per_second"], row["of_bare"], row["ours_over"]["wall"]
        table.add_row(
            row["title"],
            *(f"{speed[kind]:,.0f}" for kind in ("wall", "processor")),
            *(f"{share[kind]:.2f}" for kind in ("wall", "processor")),
            f"{ours['median']:.2f}",
            f"{ours['low']:.2f} to {ours['high']:.2f}",
            *(_number(row["memory"].get(key)) for key in MEMORY),
        )
    console.print(table)
    titles = {row["variant"]: row["title"] for row in measured["variants"]}
    if measured["growth"] is not None:
        table = Table("Variant", title="Growth, each row in a process of its own")
        columns = ("notes", "words", "seconds", "words_per_second", *MEMORY)
        for header in columns:
            table.add_column(header, justify="right")
        for row in measured["growth"]:
            table.add_row(titles[row["variant"]], *(_number(row.get(key)) for key in columns))
        console.print(table)
    for row in measured["windows"]:
        print(
            f"Context {row['context']}: {row['windows']:,} windows; {100 * row['overlap']:.1f} % "
            f"of the {row['wordpieces']:,} wordpieces encoded again; "
            f"{100 * row['padding_share']:.1f} % of what the encoder computes is padding."
        )
    for row in measured["variants"]:
        if "reason" in row["memory"]:
            print(f"Memory of {row['title']}: {row['memory']['reason']}.")
    for row in measured["growth"] or ():
        if "reason" in row:
            size = f"{row['notes']:,} x {row['words']:,}"
            print(f"{titles[row['variant']]}, {size}: {row['reason']}.")


def draw(measured: Mapping[str, Any], path: Path, *, kind: str) -> None:
    """Draw speed and memory over the number of notes and over the length of one.

    Memory is the most while notes are read, on an axis from 0; the others are logarithmic. What
    could not be measured is left out. The same figures give the same file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    growth = measured["growth"]
    titles = {row["variant"]: row["title"] for row in measured["variants"]}
    drawn = list(dict.fromkeys(row["variant"] for row in growth))
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None}}[kind]
    with matplotlib.rc_context({"svg.hashsalt": "clinical_ner", "font.size": 9}):
        figure = Figure(figsize=(8.0, 6.0), layout="constrained")
        all_axes = figure.subplots(2, 2, sharex="col", sharey="row")
        for column, (size, label) in enumerate(
            (("notes", f"Notes of {WORDS_PER_NOTE} words"), ("words", "Words of one note"))
        ):
            rows = [row for row in growth if row["kind"] == size]
            for axes, key in zip(
                all_axes[:, column], ("words_per_second", "reading_mib"), strict=True
            ):
                for variant, (color, style, marker) in zip(drawn, STYLES, strict=False):
                    points = sorted(
                        (row[size], row[key])
                        for row in rows
                        if row["variant"] == variant and row.get(key) is not None
                    )
                    axes.plot(
                        *([point[i] for point in points] for i in (0, 1)),
                        **{"color": color, "ls": style, "lw": 1.4, "label": titles[variant]},
                        **{"marker": marker, "ms": 5, "mfc": "white"},
                    )
                axes.set_xscale("log")
                sizes = sorted({row[size] for row in rows})
                axes.set_xticks(sizes, [_number(value) for value in sizes])
                axes.set_xticks([], minor=True)
                axes.grid(color="0.9", lw=0.6)
                axes.spines[["top", "right"]].set_visible(False)
            all_axes[1, column].set_xlabel(label)
        all_axes[0, 0].set_ylabel("Words per second")
        all_axes[0, 0].set_yscale("log")
        all_axes[1, 0].set_ylabel("Most memory while reading, MiB")
        most = max((row.get("reading_mib") or 0.0 for row in growth), default=0.0)
        all_axes[1, 0].set_ylim(0, 1.1 * most or 1.0)
        handles, labels = all_axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=2)
        figure.savefig(path, dpi=150, metadata=metadata, format=kind)


def _above_0(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _number(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:,.1f}" if value < 100 and value != int(value) else f"{value:,.0f}"


def _say(message: str) -> None:
    if sys.stderr.isatty():
        print(message, file=sys.stderr, flush=True)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text(errors="replace").splitlines() if info.is_file() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
