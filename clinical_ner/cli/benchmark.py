"""clinical-ner benchmark: speed and memory of prediction, beside the encoder alone and others."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from ..evaluation.plots import check_can_draw
from ..files import replacing
from ..pipeline.loading import load_pipeline
from ..research.speed.speed import (
    BARE,
    NO_CONTEXT,
    OPTIMIZED,
    OURS,
    SPACY_NER,
    fastest_hugging_face,
    measure,
    summarise,
)
from ..research.speed.speed_growth import NOTES, WORDS, WORDS_PER_NOTE, ask_child, grow, plan
from ..research.speed.speed_machine import machine, versions
from ..research.speed.speed_notes import pieces_of, read_notes
from ..research.speed.speed_plots import draw_growth
from ._app import app
from ._benchmark_tables import growth_table, lines, speed_table

if TYPE_CHECKING:
    from ..research.speed.speed_variants import Variants

#: Columns of a table that is not printed to a terminal.
WIDTH = 150
LIMIT, ROUNDS = 200, 5


def _sizes(text: str, option: str) -> list[int]:
    """Parse comma-separated sizes above 0."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise typer.BadParameter(f"whole numbers above 0, not {text!r}", param_hint=f"'{option}'")
    return sorted({int(part) for part in parts})


@app.command("benchmark", no_args_is_help=True)
def benchmark_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    notes: Path = typer.Argument(
        ..., metavar="NOTES", help="A folder of .txt files, or a .spacy file, of which texts count."
    ),
    spacy_ner: str | None = typer.Option(
        None,
        "--spacy-ner",
        metavar="MODEL2",
        help="A trained pipeline of a transformer and spaCy's ner for (c), instead of an untrained "
        "head on MODEL's encoder.",
    ),
    optimized: str | None = typer.Option(
        None,
        "--optimized",
        metavar="MODEL3",
        help="A pipeline for (e), such as one that clinical-ner optimize wrote.",
    ),
    limit: int = typer.Option(LIMIT, "--limit", min=1, help="Most notes to read."),
    rounds: int = typer.Option(ROUNDS, "--rounds", min=1, help="Times that each is run."),
    threads: int | None = typer.Option(
        None, "--threads", min=1, help="Threads of PyTorch; by default as many as it takes."
    ),
    seed: int = typer.Option(
        0, "--seed", min=0, max=2**32 - 1, help="Seed of the orders and of the untrained head."
    ),
    growth: bool = typer.Option(
        False, "--growth", help="Also read made notes: ever more of them, and ever longer ones."
    ),
    growth_notes: str | None = typer.Option(
        None,
        "--growth-notes",
        help=f"Numbers of notes of {WORDS_PER_NOTE} words, with commas.  "
        f"[default: {','.join(map(str, NOTES))}]",
    ),
    growth_words: str | None = typer.Option(
        None,
        "--growth-words",
        help=f"Words of one note, with commas.  [default: {','.join(map(str, WORDS))}]",
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="JSON file for all figures; an existing one is replaced."
    ),
    plot: Path | None = typer.Option(
        None, "--plot", metavar="FILE", help="Picture of the growth, .png or .svg."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the figures as JSON on stdout."),
) -> None:
    """Measure how fast a pipeline reads notes, and with how much memory, on the CPU.

    On the same notes, in one process, in rounds of changing order:

    \b
      (a)   the encoder alone over MODEL's windows, in PyTorch's way: all threads share a call
      (a1)  the same in (b)'s way, each thread making calls of its own: the ceiling
      (a0)  the same without context, so without overlap
      (b)   MODEL, from text to entities
      (c)   spaCy's ner on the same encoder, with spacy-transformers' default spans
      (d)   Hugging Face's token-classification pipeline on the same encoder, with chunks as
            long as the encoder allows and as long as MODEL's windows, in batches of 1 and of 8
      (e)   MODEL3, if --optimized names it

    The heads of (c) and (d) need no training: (c) takes one action per token whatever its weights
    are, (d) has the weights of MODEL's head. Memory is that of a process of its own for each: when
    it is loaded, the most while it reads, and the most of all, which may be that of loading.
    With --growth, each size too is read in a process of its own, as a stream of which nothing is
    kept: (b) up to the end, the others up to 1,000 notes and 10,000 words.

    \b
    Example:
      clinical-ner benchmark training/model-final notes/ --threads 2 --growth \\
        --output speed.json --plot growth.png
    """
    for name, value in (("--growth-notes", growth_notes), ("--growth-words", growth_words)):
        if value is not None and not growth:
            raise typer.BadParameter("needs --growth", param_hint=f"'{name}'")
    if plot is not None:
        if not growth:
            raise typer.BadParameter("needs --growth", param_hint="'--plot'")
        if plot.suffix not in (".png", ".svg"):
            raise typer.BadParameter("must end in .png or .svg", param_hint="'--plot'")
        check_can_draw(str(plot))
    measured = benchmark(
        model,
        notes,
        spacy_ner=spacy_ner,
        optimized=optimized,
        limit=limit,
        rounds=rounds,
        threads=threads,
        seed=seed,
        growth=growth,
        growth_notes=NOTES if growth_notes is None else _sizes(growth_notes, "--growth-notes"),
        growth_words=WORDS if growth_words is None else _sizes(growth_words, "--growth-words"),
        say=_say if sys.stderr.isatty() else lambda message: None,
    )
    text = json.dumps(measured, indent=2, allow_nan=False)
    with ExitStack() as outputs:
        if output is not None:
            outputs.enter_context(replacing(output)).write_text(text + "\n", encoding="utf-8")
        if plot is not None:
            draw_growth(measured, outputs.enter_context(replacing(plot)), kind=plot.suffix[1:])
    if as_json:
        print(text)
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(speed_table(measured))
    if measured["growth"] is not None:
        console.print(growth_table(measured))
    for line in lines(measured):
        console.print(Text(line), soft_wrap=True)


def benchmark(
    model: str,
    notes: Path,
    *,
    spacy_ner: str | None = None,
    optimized: str | None = None,
    limit: int = LIMIT,
    rounds: int = ROUNDS,
    threads: int | None = None,
    seed: int = 0,
    growth: bool = False,
    growth_notes: Sequence[int] = NOTES,
    growth_words: Sequence[int] = WORDS,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Measure speed and memory of prediction.

    model, spacy_ner, optimized: folders or packages; see `speed_variants.Sources`.
    notes, limit: see `read_notes`.
    rounds, seed: see `measure`.
    threads: of PyTorch, in this process while it measures and in those that it starts.
    growth, growth_notes, growth_words: whether and what to measure in `speed_growth`.
    say: told of every step.

    RETURNS: ready for JSON: the settings; the numbers of ``documents`` and of ``words``, which are
        tokens of the model's tokenizer; ``windows``, what they cost with and without context
        (`WindowCounts.to_dict`); ``variants``, a row each with the figures of `summarise` and its
        ``memory``; ``growth``, the rows of `speed_growth.grow`, or None; ``machine``, ``versions``.
    RAISES ClinicalNerError: a pipeline cannot be loaded or lacks what is needed, or there are no
        notes: nothing is measured then.
    """
    # Here, since spacy-transformers is slow to import and the other commands need it not.
    from ..research.speed.speed_variants import Sources, Variants

    sources = Sources(model, spacy_ner=spacy_ner, optimized=optimized, seed=seed)
    with _torch_threads(threads) as n_threads:
        say("loading")
        found = _rounds(
            Variants(sources, load=load_pipeline), notes, limit, rounds=rounds, seed=seed, say=say
        )
    texts, pieces = found.pop("texts"), found.pop("pieces")
    # The processes that follow have the memory for themselves.
    gc.collect()

    def ask(**request: Any) -> dict[str, Any]:
        return ask_child(sources=sources.to_dict(), threads=n_threads, **request)

    for row in found["variants"]:
        say(f"memory of {row['title']}")
        row["memory"] = ask(variant=row["variant"], texts=texts)
    rows = {row["variant"]: row for row in found["variants"]}
    growing = [
        key for key in (OURS, OPTIMIZED, SPACY_NER, fastest_hugging_face(rows)) if key in rows
    ]
    points = plan(growing, notes=growth_notes, words=growth_words)
    return {
        "model": model,
        "notes": str(notes),
        "spacy_ner": spacy_ner,
        "optimized": optimized,
        "limit": limit,
        "rounds": rounds,
        "threads": n_threads,
        "seed": seed,
        **found,
        "growth": grow(points, pieces, ask, say=say) if growth else None,
        "machine": machine(),
        "versions": versions(),
    }


def _rounds(
    variants: Variants,
    notes: Path,
    limit: int,
    *,
    rounds: int,
    seed: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """All that is measured in this process, with the texts and the pieces that they are made of."""
    from ..research.speed.speed_windows import encoder_batches

    transformer, _ = variants.transformer, variants.recognizer
    texts = read_notes(notes, variants.nlp, limit=limit)
    pieces = pieces_of(variants.nlp, texts)
    built = {key: variants.build(key) for key in variants.available()}
    windows = []
    for key in (BARE, NO_CONTEXT):
        context = built[key].settings["context"]
        _, counts = encoder_batches(variants.nlp, transformer, texts, context=context)
        windows.append({"context": context, **counts.to_dict()})
    # What is made when something is first used is not timed.
    warm_up = [next(text for text in texts if text.strip())]
    for variant in built.values():
        variant.prepare(warm_up)()
    runs = {key: variant.prepare(texts) for key, variant in built.items()}
    words = len(pieces)
    figures = summarise(measure(runs, rounds=rounds, seed=seed, say=say), words=words)
    return {
        "documents": len(texts),
        "words": words,
        "windows": windows,
        "variants": [
            {
                "variant": key,
                "title": variant.title,
                "settings": variant.settings,
                **figures[key],
            }
            for key, variant in built.items()
        ],
        "texts": texts,
        "pieces": pieces,
    }


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[int]:
    """Let PyTorch use some threads, and give their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
