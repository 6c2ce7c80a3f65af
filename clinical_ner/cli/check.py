"""clinical-ner check: what is wrong with a corpus, and what to know of it, before training."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import typer
from rich.console import Console

from ..checks.check import read_parts
from ..checks.duplicates import THRESHOLD
from ..checks.lengths import MAX_WORDS
from ..checks.long_notes import ENCODER
from ..checks.report import check_parts, texts_of, to_dict
from ..data.formats.detect import FORMATS, Format
from ..files import replacing
from ._app import app
from ._check_tables import print_report

#: What --encoder says so that no document is measured in wordpieces.
NO_ENCODER = "none"
PLACES = 10


@app.command("check", no_args_is_help=True)
def check_cli(
    corpus: list[Path] = typer.Argument(
        ..., metavar="CORPUS...", help="Files or flat folders; several are parts of one corpus."
    ),
    format: str = typer.Option("auto", "--format", help=f"auto, {', '.join(FORMATS)}."),
    annotator: str | None = typer.Option(
        None, help="Whose annotations to read (brat, JSON of Label Studio)."
    ),
    offsets: str | None = typer.Option(
        None, help="What offsets count: code-points, utf-16 or bytes (jsonl, pubtator, bioc)."
    ),
    label_column: int | None = typer.Option(None, help="Column of the tags, from 0 (conll)."),
    word_column: int | None = typer.Option(None, help="Column of the words, from 0 (conll)."),
    scheme: str | None = typer.Option(None, help="Scheme of the tags (conll)."),
    near_duplicate: float = typer.Option(
        THRESHOLD,
        "--near-duplicate",
        help="Share in (0, 1] of runs of three words that nearly the same documents have in common "
        "(Jaccard index).",
    ),
    max_words: int = typer.Option(
        MAX_WORDS, "--max-words", min=1, help="Words that a mention may have."
    ),
    encoder: str = typer.Option(
        ENCODER,
        "--encoder",
        help="Transformer whose window documents are measured against, by name or folder; it must "
        f"be installed. '{NO_ENCODER}' to leave this out.",
    ),
    places: int | None = typer.Option(
        None, "--places", min=0, help=f"Places to print per finding, {PLACES} by default."
    ),
    show_text: bool = typer.Option(
        False, "--show-text", help="Quote the text at the places. It may be confidential."
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="JSON file for all findings with all their places."
    ),
    as_json: bool = typer.Option(
        False, "--json", help="Print the same JSON object instead of tables."
    ),
) -> None:
    """Check annotated notes of any readable format before training on them.

    Several paths are parts of one corpus, named after their files: train.spacy is "train", which
    is what is learned from. Parts come in the order given, so that what is in two is reported where
    it is again. Words are the longest runs of letters, digits and underscores.

    Exit code 0: no errors, whatever the warnings; 1: errors (leaks between parts, labels spelled
    in two ways, a part without mentions), or a file that cannot be read.

    \b
    Example:
      clinical-ner check corpus/train.spacy corpus/dev.spacy corpus/test.spacy
      clinical-ner check corpus/case_reports --encoder none --json
    """
    if as_json and places is not None:
        raise typer.BadParameter("--json prints all places", param_hint="'--places'")
    # Not min and max of typer: they would take 0 and what is not a number.
    if not 0 < near_duplicate <= 1:
        raise typer.BadParameter("a number in (0, 1]", param_hint="'--near-duplicate'")
    if output is not None and output.resolve() in (path.resolve() for path in corpus):
        raise typer.BadParameter("it would replace a corpus", param_hint="'--output'")
    if format not in ("auto", *FORMATS):
        raise typer.BadParameter(f"auto or one of {', '.join(FORMATS)}", param_hint="'--format'")
    with ExitStack() as stack:
        status = Console(stderr=True).status("reading")
        if sys.stderr.isatty():
            stack.enter_context(status)
        parts = read_parts(
            corpus,
            cast(Format, format),
            say=status.update,
            annotator=annotator,
            offsets=offsets,
            label_column=label_column,
            word_column=word_column,
            scheme=scheme,
        )
        report = check_parts(
            parts,
            near_duplicate=near_duplicate,
            max_words=max_words,
            encoder=None if encoder == NO_ENCODER else encoder,
            say=status.update,
        )
    texts = texts_of(parts) if show_text else None
    written = json.dumps(to_dict(report, texts), indent=2, allow_nan=False)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_text(written + "\n", encoding="utf8")
    if as_json:
        print(written)
    else:
        shown = PLACES if places is None else places
        print_report(report, Console(), places=shown, texts=texts)
    if report.number("error"):
        raise typer.Exit(1)
