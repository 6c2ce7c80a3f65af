"""clinical-ner check: what is wrong with a corpus, and what to know of it, before training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ..checks.check import read_parts
from ..checks.duplicates import THRESHOLD
from ..checks.findings import Place
from ..checks.imbalance import FEW, OUTSIDE, RARE, Imbalance
from ..checks.lengths import MAX_WORDS
from ..checks.long_notes import ENCODER
from ..checks.masking import write_masked
from ..checks.report import Report, Texts, check_parts, excerpt, texts_of, to_dict
from ..data.formats.detect import FORMATS, Format, check_apart, detect_format, lies_in
from ..data.offsets import UNITS
from ..files import check_not_read, check_replaceable, is_written_by, write_text, written_by
from ._app import app
from ._shared import Overwrite, one_of, print_content, usage

#: What --encoder says so that no document is measured in wordpieces.
NO_ENCODER = "none"
PLACES = 10
STYLES = {"error": "red", "warning": "yellow", "info": ""}
PART_ROWS = {
    "documents": "documents",
    "without_text": "without text",
    "without_mentions": "without mentions",
    "unusable": "rejected or unannotated",
    "words": "words",
    "mentions": "mentions",
    "labels": "labels",
}


@app.command("check", no_args_is_help=True)
def check_cli(
    corpus: list[Path] = typer.Argument(
        ..., metavar="CORPUS...", help="Files or flat folders; several are parts of one corpus."
    ),
    format: str = typer.Option(
        "auto", callback=one_of("auto", *FORMATS), help=f"auto, {', '.join(FORMATS)}."
    ),
    annotator: str | None = typer.Option(
        None, help="Whose annotations to read; * for all (brat, jsonl)."
    ),
    offsets: str | None = typer.Option(
        None,
        metavar="|".join(UNITS),
        callback=one_of(*UNITS),
        help="What offsets count (brat, jsonl, pubtator, bioc).",
    ),
    label_column: int | None = typer.Option(None, help="Column of the tags, from 0 (conll)."),
    word_column: int | None = typer.Option(None, help="Column of the words, from 0 (conll)."),
    scheme: str | None = typer.Option(None, help="Scheme of the tags (conll)."),
    label: str | None = typer.Option(None, help="Type of tags without one (conll, huggingface)."),
    tag_names: Path | None = typer.Option(
        None, help="Names of tags that are numbers, one a line (huggingface)."
    ),
    layer: str | None = typer.Option(None, help="Which spans are entities (webanno)."),
    n_sents: int | None = typer.Option(
        None, min=0, help="Sentences of a document where a file marks none, 0 for all (conll)."
    ),
    near_duplicate: float = typer.Option(
        THRESHOLD,
        help="Share in (0, 1] of runs of three words that nearly the same documents have in common "
        "(Jaccard index).",
    ),
    max_words: int = typer.Option(MAX_WORDS, min=1, help="Words that a mention may have."),
    encoder: str = typer.Option(
        ENCODER,
        help="Transformer whose window documents are measured against, by name or folder; it must "
        f"be installed. '{NO_ENCODER}' to leave this out.",
    ),
    places: int | None = typer.Option(
        None, min=0, help=f"Places to print per finding, {PLACES} by default."
    ),
    show_text: bool = typer.Option(
        False, "--show-text", help="Quote the text at the places. It may be confidential."
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="JSON file for all findings with all their places."
    ),
    masked: Path | None = typer.Option(
        None,
        "--write-masked",
        metavar="OUT.spacy",
        help="Copy the one .spacy file that is checked, with the places of C052 unknown: neither "
        "learned as O nor scored.",
    ),
    overwrite: Overwrite = False,
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
    Examples:
      clinical-ner check corpus/train.spacy corpus/dev.spacy corpus/test.spacy
      clinical-ner check corpus/case_reports --encoder none --json
      clinical-ner check corpus/train.spacy --write-masked corpus/train_masked.spacy
    """
    if as_json and places is not None:
        raise typer.BadParameter("--json prints all places", param_hint="'--places'")
    # Not min and max of typer: they would take 0 and what is not a number.
    if not 0 < near_duplicate <= 1:
        raise typer.BadParameter("a number in (0, 1]", param_hint="'--near-duplicate'")
    if output is not None and output.resolve() in (path.resolve() for path in corpus):
        raise typer.BadParameter("it would replace a corpus", param_hint="'--output'")
    for path in corpus:
        if output is not None and lies_in(output, path):
            of_path = detect_format(path) if format == "auto" else cast(Format, format)
            check_apart(path, of_path, output)
    if masked is not None:
        _check_masked(corpus, masked, output)
    for path in filter(None, (output, masked)):
        check_replaceable(path, own=is_written_by(path, "check"), overwrite=overwrite)
    with Console(stderr=True).status("reading") as status:
        parts = read_parts(
            corpus,
            cast(Format, format),
            say=status.update,
            annotator=annotator,
            offsets=offsets,
            label_column=label_column,
            word_column=word_column,
            scheme=scheme,
            n_sents=n_sents,
            label=label,
            tag_names=tag_names,
            layer=layer,
        )
        report = check_parts(
            parts,
            near_duplicate=near_duplicate,
            max_words=max_words,
            encoder=None if encoder == NO_ENCODER else encoder,
            say=status.update,
        )
    texts = texts_of(parts) if show_text else None
    by_label = None if masked is None else write_masked(corpus[0], masked, report.findings)
    found = to_dict(report, texts) | ({} if by_label is None else {"masked": by_label})
    found |= written_by("check")
    written = json.dumps(found, indent=2, allow_nan=False)
    if output is not None:
        write_text(output, written + "\n")
    if as_json:
        print(written)
    else:
        print_content(_content(report, places=PLACES if places is None else places, texts=texts))
    if by_label is not None and not as_json:
        of_labels = ", ".join(f"{label} {number}" for label, number in by_label.items()) or "none"
        print_content(
            [Text(f"Unknown in {masked}: {sum(by_label.values())} places ({of_labels}).")]
        )
    if report.number("error"):
        raise typer.Exit(1)


def _check_masked(corpus: list[Path], masked: Path, output: Path | None) -> None:
    """Raise an error of usage unless a copy can be made of one .spacy file, in no other's place."""
    hint = "'--write-masked'"
    if len(corpus) > 1 or corpus[0].is_dir() or detect_format(corpus[0]) != "docbin":
        raise typer.BadParameter("it copies one .spacy file: check this alone", param_hint=hint)
    if masked.suffix != ".spacy" or masked.resolve() == (output and output.resolve()):
        raise typer.BadParameter("name a .spacy file of its own", param_hint=hint)
    with usage(hint):
        check_not_read(masked, corpus[0])


def _content(report: Report, *, places: int, texts: Texts | None) -> Iterator[RenderableType]:
    """Findings with their places, counts, labels and imbalance, and last a line with the verdict.

    Args:
        report: of all checks.
        places: most places to print per finding.
        texts: of the documents, to quote at the places; None to show no text.
    """
    if report.findings:
        yield _finding_table(report)
    for finding in report.findings:
        shown = finding.places[:places]
        if shown:
            yield Text(f"{finding.code} {finding.kind.unit} {finding.kind.title}")
        for place in shown:
            line = "  " + ", ".join(_parts_of(place))
            text = None if texts is None else excerpt(texts, place)
            # One line per place, however narrow the terminal, so that lines can be searched.
            yield line if text is None else f"{line}: {text}"
        rest = len(finding.places) - len(shown)
        if shown and rest:
            yield f"  and {rest} more"
    yield _part_table(report)
    if report.labels:
        yield _label_table(report)
        yield from _overlap_table(report)
    yield from map(Text, (*_imbalance_lines(report.imbalance), *report.recommendation))
    yield f"{report.number('error')} errors, {report.number('warning')} warnings"


def _finding_table(report: Report) -> Table:
    table = Table("code", "", title="Findings", title_justify="left")
    table.add_column("number", justify="right")
    table.add_column("of what")
    for finding in report.findings:
        severity, unit, title = finding.kind
        what = f"{unit} {title}" + (f" ({finding.detail})" if finding.detail else "")
        severity_cell = Text(severity, STYLES[severity])
        table.add_row(finding.code, severity_cell, str(finding.count), Text(what))
    return table


def _parts_of(place: Place) -> Iterator[str]:
    yield place.part if place.document is None else f"{place.part} {place.document}"
    if place.start is not None:
        yield f"{place.start} to {place.end}"
    if place.label is not None:
        yield place.label
    if place.note:
        yield place.note


def _part_table(report: Report) -> Table:
    table = Table("", title="Counts", title_justify="left")
    for name in report.parts:
        table.add_column(Text(name), justify="right")
    for field, title in PART_ROWS.items():
        table.add_row(title, *(str(getattr(counts, field)) for counts in report.parts.values()))
    return table


def _label_table(report: Report) -> Table:
    table = Table(title="Labels", title_justify="left")
    table.add_column("label", no_wrap=True)
    has_parts = len(report.parts) > 1
    headers = ("mentions", *(report.parts if has_parts else ()), "docs", "words")
    for header in headers:
        table.add_column(Text(header), justify="right")
    for label, counts in report.labels.items():
        shares = [
            f"{share:.0%}" if counts.by_part[part] else "-" for part, share in counts.shares.items()
        ]
        table.add_row(
            Text(label),
            str(counts.mentions),
            *(shares if has_parts else ()),
            str(counts.documents),
            f"{counts.median_words:g} to {counts.max_words}",
        )
    parts = "parts: their share of the mentions; " if has_parts else ""
    table.caption = f"{parts}words: median to longest mention"
    return table


def _overlap_table(report: Report) -> Iterator[Table]:
    """Of labels that flat entities lose mentions of, those that they and overlapping ones hold."""
    rows = {of: counts for of, counts in report.labels.items() if counts.flat != counts.overlapping}
    if not rows:
        return
    table = Table("label", title="Mentions that can be found", title_justify="left")
    for header in ("mentions", "as flat entities", "with overlaps = true"):
        table.add_column(header, justify="right")
    for label, counts in rows.items():
        table.add_row(Text(label), *map(str, (counts.mentions, counts.flat, counts.overlapping)))
    yield table


def _imbalance_lines(imbalance: Imbalance) -> Iterator[str]:
    if not imbalance.mentions or imbalance.ratio is None:
        return
    yield (
        f"Imbalance in {', '.join(imbalance.parts)}: {OUTSIDE} has "
        f"{imbalance.token_shares.get(OUTSIDE, 0.0):.1%} of {imbalance.tokens} words and signs; "
        f"{imbalance.commonest} has {imbalance.ratio:.0f} times the mentions of "
        f"{imbalance.rarest}; {imbalance.rare_types} of {imbalance.types} types have under "
        f"{RARE:.0%} of the mentions, {len(imbalance.few)} under {FEW} mentions; as uneven as they "
        f"are, they count as {imbalance.effective_types:.1f} equally common types."
    )
