"""clinical-ner convert: a corpus from one format to another, with an account of every mention."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..data.conversion import CHANGED, DROPPED, DROPPED_DOCUMENTS, ConversionCounts
from ..data.convert import ConversionRefusedError, blank, convert, parse_limit
from ..data.flattening import FlatRules
from ..data.formats.column_tags import SCHEMES
from ..data.formats.detect import FORMATS, Format
from ..data.formats.reading import ERRORS
from ..data.formats.writing import FLAT, WRITTEN, format_of
from ..data.label_map import read_label_map
from ..data.mentions import FAULTY
from ..data.offsets import UNITS
from ..errors import close_matches, shown, shown_label
from ..files import check_not_read
from ._app import app
from ._shared import Overwrite, one_of, print_content, usage, warn

#: Labels that the line on overlaps names.
LABELS = 5


def _limit(value: str | None) -> str | None:
    """Check --max-dropped."""
    if value is not None:
        with usage():
            parse_limit(value)
    return value


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
        "without, * for all). jsonl: whose annotations (- for those that name nobody, * for a "
        "document of each)."
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
        help="conll: scheme of the tags; lenient takes any prefix in any order [default: detected "
        "from them].",
    ),
    label: str | None = typer.Option(
        None, metavar="NAME", help="conll, huggingface: the type of tags without one (B, I, O)."
    ),
    tag_names: Path | None = typer.Option(
        None, metavar="FILE", help="huggingface: names of tags that are numbers, one a line, or as "
        "JSON."
    ),
    layer: str | None = typer.Option(
        None, metavar="LAYER.FEATURE", help="webanno: which spans are entities."
    ),
    n_sents: int | None = typer.Option(
        None, metavar="N", min=0, help="conll: sentences of a document where a file does not mark "
        "its documents; 0 keeps the file as one [default: 10]."
    ),
    offsets: str | None = typer.Option(
        None, metavar="|".join(UNITS), callback=one_of(*UNITS),
        help="brat, jsonl, pubtator, bioc: what offsets count; -lf: and a CRLF as one [default: "
        "detected from quoted mentions, the format, or where mentions begin and end].",
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
    errors: str = typer.Option(
        "stop", metavar="|".join(ERRORS), callback=one_of(*ERRORS),
        help="An annotation or a record that is at fault: stop there, or leave it out, say why and "
        "count it.",
    ),
    max_dropped: str | None = typer.Option(
        None, metavar="P%|N", callback=_limit,
        help="Write no output and end with exit code 1 if more mentions are dropped: a "
        "percentage of them (1%) or a number (5). Those that --label-map drops, or whose document "
        "was rejected, do not count; --report is written all the same.",
    ),
    overlaps: bool = typer.Option(
        False, "--overlaps",
        help="For the recipe overlaps: --max-dropped does not count mentions that are no entity "
        "only since they overlap others; .spacy holds them too.",
    ),
    docs_per_file: int | None = typer.Option(
        None, metavar="N", min=1,
        help="Write .spacy files of N documents each into the folder OUTPUT. No more than N are "
        "held in memory, whatever the size of the corpus.",
    ),
    report: Path | None = typer.Option(
        None, metavar="FILE.jsonl", help="Write what became of each document and mention."
    ),
    overwrite: Overwrite = False,
) -> None:  # fmt: skip
    """Convert an annotated corpus to spaCy's .spacy format, or to another.

    Read and written: brat standoff, CoNLL columns, JSON of annotation tools (doccano, Prodigy,
    Label Studio, NER Annotator, spaCy), and .spacy. Only read: Hugging Face's tokens with tags,
    WebAnno TSV 3, PubTator, BioC (JSON and XML).

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
    format_to = _output_format(output, to, docs_per_file=docs_per_file)
    if report is not None and report.suffix != ".jsonl":
        raise typer.BadParameter("the name must end in .jsonl", param_hint="--report")
    rule_options = {
        "overlap": overlap, "priority": priority, "discontinuous": discontinuous,
        "misaligned": misaligned,
    }  # fmt: skip
    if format_to not in FLAT:
        _refuse(format_to, **rule_options, lang=lang, tokenizer=tokenizer)
    if overlaps and (max_dropped is None or format_to != "docbin"):
        raise typer.BadParameter(
            "has a meaning for --max-dropped and .spacy only", param_hint="--overlaps"
        )
    rules = _flat_rules(**rule_options)
    nlp = None
    if format_to in FLAT:
        with usage("--lang"):
            nlp = blank(lang or "en", tokenizer or "clinical")
    for path in filter(None, (output, report)):
        check_not_read(path, *filter(None, (label_map, tag_names)))
    names = None if label_map is None else read_label_map(label_map)
    try:
        with _progress() as progress:
            task = progress.add_task(str(source), total=None)
            counts = convert(
                source,
                output,
                nlp=nlp,
                format=format,  # type: ignore[arg-type]
                to=format_to,
                rules=rules,
                label_map=names,
                errors=errors,  # type: ignore[arg-type]
                max_dropped=max_dropped,
                overlaps=overlaps,
                docs_per_file=docs_per_file,
                report=report,
                overwrite=overwrite,
                advance=lambda: progress.advance(task),
                annotator=annotator,
                label_column=label_column,
                word_column=word_column,
                scheme=scheme,
                n_sents=n_sents,
                label=label,
                tag_names=tag_names,
                layer=layer,
                offsets=offsets,
            )
    except ConversionRefusedError as error:
        print_content(_content(error.counts, names))
        raise
    print_content(_content(counts, names))
    _warn_of_unread(names or (), counts.labels, source=str(label_map))
    new = {(names or {}).get(label, label) for label in counts.labels}
    _warn_of_unread(rules.priority, filter(None, new), source="--priority")


def _progress() -> Progress:
    return Progress(
        *(SpinnerColumn(), TextColumn("{task.completed} documents"), TimeElapsedColumn()),
        console=Console(stderr=True),
        # Not left on the screen, where the tables follow.
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _output_format(output: Path, to: str, *, docs_per_file: int | None) -> Format:
    """The format to write: that of --to, or of the output's name."""
    if docs_per_file is not None:
        if to not in ("auto", "docbin"):
            raise typer.BadParameter(f"has no meaning for {to}", param_hint="--docs-per-file")
        if output.suffix == ".spacy":
            raise typer.BadParameter(
                "--docs-per-file writes a folder: name it without .spacy", param_hint="OUTPUT"
            )
        return "docbin"
    named = format_of(output)
    if to == "auto":
        if named is None:
            raise typer.BadParameter(
                f"the ending {output.suffix!r} does not determine the format to write: give --to",
                param_hint="OUTPUT",
            )
        return named
    if to == "docbin" and output.suffix != ".spacy":
        raise typer.BadParameter("the name must end in .spacy", param_hint="OUTPUT")
    # A folder's name may end in anything, and a file's in nothing.
    if to not in ("brat", named) and named not in (None, "brat"):
        raise typer.BadParameter(
            f"the ending {output.suffix!r} is that of {named}, not of {to}", param_hint="OUTPUT"
        )
    return to  # type: ignore[return-value]


def _refuse(to: Format, **options: str | None) -> None:
    """Refuse options that have no meaning for a format that holds mentions as they are."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(
                f"has no meaning for {to}, which holds mentions as they are", param_hint=f"--{name}"
            )


def _flat_rules(priority: str | None, **options: str | None) -> FlatRules:
    """Make the rules of what was given; the rest is as FlatRules has it."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if priority is not None:
        given["priority"] = tuple(part.strip() for part in priority.split(","))
        if not all(given["priority"]):
            raise typer.BadParameter("a label is empty", param_hint="--priority")
    with usage("--overlap, --priority, --discontinuous, --misaligned"):
        rules = FlatRules(**given)
    return rules


def _warn_of_unread(labels: Iterable[str], read: Iterable[str], *, source: str) -> None:
    """Say in one line on stderr which labels that a user named no mention has."""
    known = sorted(set(read))
    unread = [label for label in labels if label not in known]
    if unread:
        all_known = f"Known: {', '.join(map(shown_label, known))}."
        hint = close_matches(unread[0], known) if len(unread) == 1 else all_known
        warn(f"{source}: no mention read has label {', '.join(map(shown_label, unread))}. {hint}")


def _content(
    counts: ConversionCounts, names: Mapping[str, str | None] | None
) -> Iterator[Table | str]:
    """What became of mentions by label and by reason, and of documents."""
    yield _by_label(counts, names)
    if counts.reasons:
        yield _by_reason(counts)
    if counts.overlapping:
        yield _overlapping_line(counts)
    documents = counts.documents
    dropped = {code: documents[code] for code in DROPPED_DOCUMENTS if documents[code]}
    reasons = ", ".join(f"{code} {number}" for code, number in dropped.items())
    yield (
        f"Documents: {documents.total()} read, {documents['kept']} kept, "
        f"{sum(dropped.values())} dropped" + (f" ({reasons})." if reasons else ".")
    )
    if counts.faults:
        of_documents = documents[FAULTY]
        yield (
            f"Left out, at fault: {counts.faults - of_documents} annotations, "
            f"{of_documents} documents."
        )
    kinds = ", ".join(
        f"{shown(kind)} {count}" for kind, count in sorted(counts.other_lines.items())
    )
    omitted = counts.other_lines.total()
    yield f"Omitted, not mentions: {omitted}" + (f" ({kinds})." if kinds else ".")


def _by_label(counts: ConversionCounts, names: Mapping[str, str | None] | None) -> Table:
    """The mentions read, per label read; the columns behind it sum to it."""
    columns = ["read", "kept", "merged", "moved", "dropped"]
    table = Table("label", title="Mentions", title_justify="left", show_footer=True)
    table.columns[0].footer = "total"
    if names is not None:
        table.add_column("becomes")
        columns.insert(2, "renamed")
    total = counts.total
    for column in columns:
        table.add_column(column, justify="right", footer=str(getattr(total, column)))
    for label, row in sorted(counts.labels.items(), key=lambda item: (-item[1].read, item[0])):
        # Text, since a label may hold what rich takes for markup.
        cells = [Text(shown_label(label))]
        if names is not None:
            cells.append(Text(shown_label(names.get(label, label) or "(dropped)")))
        table.add_row(*cells, *(str(getattr(row, column)) for column in columns))
    return table


def _overlapping_line(counts: ConversionCounts) -> str:
    """How many mentions overlaps cost, and the labels that lose the largest share of theirs."""
    read = {label: counts.labels[label].read for label in counts.overlapping}
    lost = counts.overlapping
    worst = sorted(read, key=lambda label: (-lost[label] / read[label], -read[label], label))
    labels = [f"{shown_label(label)} {lost[label]} of {read[label]}" for label in worst[:LABELS]]
    more = ", ..." if len(worst) > LABELS else ""
    return (
        f"{lost.total()} of {counts.total.read} mentions overlap others, and cannot be flat "
        f"entities ({', '.join(labels)}{more}). .spacy files keep them beside the entities: train "
        "with the recipe overlaps to find them."
    )


def _by_reason(counts: ConversionCounts) -> Table:
    """Why mentions were changed or dropped."""
    table = Table("action", "code", "meaning", title="Reasons", title_justify="left")
    table.add_column("mentions", justify="right")
    for action, codes in (("changed", CHANGED), ("dropped", DROPPED)):
        for code, meaning in codes.items():
            if number := counts.reasons[code]:
                table.add_row(action, code, meaning, str(number))
    return table
