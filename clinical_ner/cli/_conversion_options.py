"""Options of clinical-ner convert: unknown values, and options without effect, are usage errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer
from spacy.language import Language

from ..data.convert import blank, parse_limit
from ..data.flattening import FlatRules
from ..data.formats.detect import Format
from ..data.formats.writing import format_of
from ..errors import ClinicalNerError


def one_of(*known: str) -> Callable[[str | None], str | None]:
    """Make a callback that takes these values, or none."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in known:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}")
        return value

    return check


def limit(value: str | None) -> str | None:
    """Check --max-dropped."""
    try:
        if value is not None:
            parse_limit(value)
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error)) from error
    return value


def output_format(output: Path, to: str, *, docs_per_file: int | None) -> Format:
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


def refuse(to: Format, **options: str | None) -> None:
    """Refuse options that have no meaning for a format that holds mentions as they are."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(
                f"has no meaning for {to}, which holds mentions as they are", param_hint=f"--{name}"
            )


def flat_rules(
    overlap: str | None, priority: str | None, discontinuous: str | None, misaligned: str | None
) -> FlatRules:
    """Make the rules of what was given; the rest is as FlatRules has it."""
    given = {"overlap": overlap, "discontinuous": discontinuous, "misaligned": misaligned}
    try:
        return FlatRules(
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
            priority=() if priority is None else labels(priority),
        )
    except ClinicalNerError as error:
        hint = "--overlap, --priority, --discontinuous, --misaligned"
        raise typer.BadParameter(str(error), param_hint=hint) from error


def labels(text: str) -> tuple[str, ...]:
    """Separate labels at commas."""
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise typer.BadParameter("a label is empty", param_hint="--priority")
    return parts


def tokenizer_of(lang: str | None, tokenizer: str | None) -> Language:
    """Make the pipeline of nothing but a tokenizer that --lang and --tokenizer name."""
    try:
        return blank(lang or "en", tokenizer or "clinical")
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error), param_hint="--lang") from error
