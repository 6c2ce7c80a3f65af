"""Arguments, options and output that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import track as progress_bar
from rich.table import Table
from rich.text import Text

from ..decoding.decision import check_prior_strength
from ..errors import ClinicalNerError, one_line

T = TypeVar("T")

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
]
Dev = Annotated[
    Path,
    typer.Argument(
        metavar="DEV.spacy", help="Documents with gold entities, none of them trained on."
    ),
]
HeldOut = Annotated[
    Path,
    typer.Argument(
        metavar="DEV",
        help="A .spacy file of documents with gold entities, none of them trained on; or the "
        "folder of clinical-ner folds.",
    ),
]
Output = Annotated[
    Path,
    typer.Argument(metavar="OUTPUT", help="Folder for the new pipeline; MODEL stays as it is."),
]
GpuId = Annotated[int, typer.Option("--gpu-id", min=-1, help="GPU to use, -1 for the CPU.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace existing files that this command did not write."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")]


def track(items: Iterable[T], title: str, total: int) -> Iterable[T]:
    """Draw a progress bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        return items
    return progress_bar(items, title, total, console=Console(stderr=True))


@contextmanager
def usage(hint: str | None = None) -> Iterator[None]:
    """Turn an error about the value of an option into an error of usage, with exit code 2.

    Args:
        hint: the option, as it is named in the message; typer names it in a callback.
    """
    try:
        yield
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from error


def one_of(*known: str) -> Callable[[str | None], str | None]:
    """Make the callback of an option that takes these values, or none."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in known:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(known)}")
        return value

    return check


def parse_strengths(text: str) -> list[float]:
    """Parse comma-separated prior strengths, each once; none in an empty text."""
    try:
        strengths = [check_prior_strength(float(part)) for part in text.split(",") if text.strip()]
    except ValueError as error:
        raise typer.BadParameter(
            f"numbers in [0, 1], not {text!r}", param_hint="'--prior-strengths'"
        ) from error
    return list(dict.fromkeys(strengths))


def parse_seeds(text: str) -> list[int]:
    """Parse comma-separated seeds, each once."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise typer.BadParameter(f"whole numbers, not {text!r}", param_hint="'--seeds'")
    seeds = [int(part) for part in text.split(",")]
    if len(set(seeds)) < len(seeds) or max(seeds) >= 2**32:
        raise typer.BadParameter(f"each once and below 2**32, not {text!r}", param_hint="'--seeds'")
    return seeds


def say(message: str) -> None:
    """Print what a long command does next on stderr."""
    print(one_line(message), file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Print a line on stderr."""
    print(f"clinical-ner: {one_line(message)}", file=sys.stderr)


def print_content(content: Iterable[RenderableType], *, width: int | None = None) -> None:
    """Print on stdout.

    Args:
        content: tables, texts that are wrapped, and lines that are not; they may be generated on
            demand.
        width: columns where stdout is not a terminal, 80 by default.
    """
    console = Console(width=None if sys.stdout.isatty() else width)
    for item in content:
        if isinstance(item, str):
            # A line can hold what rich takes for markup or an emoji.
            console.print(Text(one_line(item)), soft_wrap=True)
        else:
            console.print(_Escaped(item))


class _Escaped:
    """What is printed, with escapes for what a terminal would obey: names can hold anything."""

    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in console.render(self._content, options):
            lines = part.text if part.control else "\n".join(map(one_line, part.text.split("\n")))
            yield part._replace(text=lines)


def print_report(
    report: Mapping[str, Any], content: Iterable[RenderableType], *, as_json: bool, width: int = 110
) -> None:
    """Print a report on stdout, as JSON or as its content; see `print_content`."""
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
    else:
        print_content(content, width=width)


def columns(*left: str, right: Iterable[str], title: str) -> Table:
    """A table without rows, with columns aligned left and then columns aligned right."""
    table = Table(*left, title=Text(title))
    for header in right:
        table.add_column(header, justify="right")
    return table


def number(value: float | None, digits: int = 4) -> str:
    """A number in a cell, "n/a" for None."""
    return "n/a" if value is None else f"{value:.{digits}f}"
