"""clinical-ner convert: a corpus from one format to another, with an account of every mention."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..data.convert import ConversionRefusedError, convert
from ..data.formats.column_tags import SCHEMES
from ..data.formats.detect import FORMATS, detect_format
from ..data.formats.writing import FLAT, WRITTEN
from ..data.label_map import LabelMap, read_label_map
from ..data.offsets import UNITS
from ._app import app
from ._conversion_options import flat_rules, limit, one_of, output_format, refuse, tokenizer_of
from ._conversion_tables import print_counts, warn_of_unread


@app.command("convert", no_args_is_help=True)
def convert_cli(
    source: Path = typer.Argument(..., help="A file, or a flat folder of files of one format."),
    output: Path = typer.Argument(..., help="The file or folder to write."),
    format: str = typer.Option(
        "auto", metavar="|".join(("auto", *FORMATS)), callback=one_of("auto", *FORMATS),
        help="Format of SOURCE; auto detects it from what is in the files.",
    ),
    to: str = typer.Option(
        "auto", metavar="|".join(("auto", *WRITTEN)), callback=one_of("auto", *WRITTEN),
        help="Format of OUTPUT; auto detects it from the ending: .spacy, .conll, .iob, .iob2, "
        ".bio, .jsonl, .ndjson; a folder is brat.",
    ),
    annotator: str | None = typer.Option(
        None, metavar="NAME", help="brat: whose files NAME_ANNOTATOR.ann are read (- for those "
        "without, * for all). Label Studio: whose annotation."
    ),
    label_column: int | None = typer.Option(
        None, metavar="N", help="conll: column of the tags, from 0, or from the end if negative "
        "[default: -1]."
    ),
    word_column: int | None = typer.Option(
        None, metavar="N", help="conll: column of the words [default: 0]."
    ),
    scheme: str | None = typer.Option(
        None, metavar="|".join(SCHEMES), callback=one_of(*SCHEMES),
        help="conll: scheme of the tags [default: detected from them].",
    ),
    offsets: str | None = typer.Option(
        None, metavar="|".join(UNITS), callback=one_of(*UNITS),
        help="jsonl, pubtator, bioc: what offsets count [default: detected from the quoted "
        "mentions, otherwise code-points].",
    ),
    overlap: str | None = typer.Option(
        None, metavar="longest|first|priority",
        help="Which mention becomes the entity of those that share a token [default: longest].",
    ),
    priority: str | None = typer.Option(
        None, metavar="A,B,C",
        help="For --overlap priority: labels, most wanted first, as they are after --label-map.",
    ),
    discontinuous: str | None = typer.Option(
        None, metavar="merge-wrapped|longest|span|drop",
        help="Mentions in several fragments: merge-wrapped joins those that only whitespace "
        "separates and drops others; longest joins likewise, otherwise keeps the longest "
        "fragment; span fills the gaps; drop drops all [default: longest].",
    ),
    misaligned: str | None = typer.Option(
        None, metavar="expand|contract|drop|error",
        help="Mentions whose edges lie inside tokens [default: expand].",
    ),
    lang: str | None = typer.Option(
        None, help="Language whose tokenizer is used, as in spacy.blank() [default: en]."
    ),
    tokenizer: str | None = typer.Option(
        None, metavar="clinical|language", callback=one_of("clinical", "language"),
        help="The language's tokenizer adapted to clinical text, or as spaCy has it "
        "[default: clinical].",
    ),
    label_map: Path | None = typer.Option(
        None, metavar="FILE.yml",
        help="YAML: 'OldName: NewName' renames a label (two to one: merges them), "
        "'OldName: null' drops it.",
    ),
    max_dropped: str | None = typer.Option(
        None, metavar="P%|N", callback=limit,
        help="Write no output and end with exit code 1 if more mentions are dropped: a "
        "percentage of them (1%) or a number (5). Those that --label-map drops, or whose document "
        "was rejected, do not count; --report is written all the same.",
    ),
    docs_per_file: int | None = typer.Option(
        None, metavar="N", min=1,
        help="Write .spacy files of N documents each into the folder OUTPUT. No more than N are "
        "held in memory, whatever the size of the corpus.",
    ),
    report: Path | None = typer.Option(
        None, metavar="FILE.jsonl", help="Write what became of each document and mention."
    ),
) -> None:  # fmt: skip
    """Convert an annotated corpus to spaCy's .spacy format, or to another.

    Read and written: brat standoff, CoNLL columns, JSON of annotation tools (doccano, Prodigy,
    Label Studio, spaCy), and .spacy. Only read: PubTator, BioC JSON.

    Entities in .spacy and conll can neither overlap nor have gaps, nor cut tokens: every mention is
    kept, changed or dropped, after --overlap, --discontinuous and --misaligned. In .spacy all of
    them stay in doc.spans["gold_all"], from which the other formats are written again. brat and
    jsonl hold mentions as they are, so these rules, --lang and --tokenizer are refused for them.
    jsonl is written as doccano has it, with code points; conll as IOB2.

    The tables say how often and why: read = kept + renamed + merged (fragments became one) + moved
    (edges did) + dropped. No text of a note is printed or written to the report.

    \b
    Examples:
      clinical-ner convert corpus/case_reports corpus/all.spacy --report corpus/all.jsonl
      clinical-ner convert export.json all.spacy --offsets utf-16 --max-dropped 1%
      clinical-ner convert train.bioes train.spacy --label-column 3 --label-map labels.yml
      clinical-ner convert all.spacy brat_folder
    """
    format_to = output_format(output, to, docs_per_file=docs_per_file)
    if report is not None and report.suffix != ".jsonl":
        raise typer.BadParameter("the name must end in .jsonl", param_hint="--report")
    if format_to not in FLAT:
        refuse(
            format_to, overlap=overlap, priority=priority, discontinuous=discontinuous,
            misaligned=misaligned, lang=lang, tokenizer=tokenizer,
        )  # fmt: skip
    rules = flat_rules(overlap, priority, discontinuous, misaligned)
    nlp = tokenizer_of(lang, tokenizer) if format_to in FLAT else None
    mapping = LabelMap({}) if label_map is None else read_label_map(label_map)
    found = detect_format(source) if format == "auto" else format
    console = Console()
    try:
        with _progress() as progress:
            task = progress.add_task(str(source), total=None)
            counts = convert(
                source,
                output,
                nlp=nlp,
                format=found,  # type: ignore[arg-type]
                to=format_to,
                rules=rules,
                label_map=mapping.names,
                max_dropped=max_dropped,
                docs_per_file=docs_per_file,
                report=report,
                advance=lambda: progress.advance(task),
                annotator=annotator,
                label_column=label_column,
                word_column=word_column,
                scheme=scheme,
                offsets=offsets,
            )
    except ConversionRefusedError as error:
        print_counts(error.counts, console, None if label_map is None else mapping)
        raise
    print_counts(counts, console, None if label_map is None else mapping)
    if label_map is not None:
        warn_of_unread(mapping.names, counts.labels, source=str(label_map))
    new = {mapping.names.get(label, label) for label in counts.labels}
    warn_of_unread(rules.priority, filter(None, new), source="--priority")


def _progress() -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.completed} documents"), TimeElapsedColumn()
    # Not left on the screen, where the tables follow.
    return Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    )
