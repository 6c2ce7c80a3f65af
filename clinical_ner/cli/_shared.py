"""Arguments, options and output that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import track as progress_bar
from rich.table import Table
from rich.text import Text

from ..errors import ClinicalNerError

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
Output = Annotated[
    Path,
    typer.Argument(metavar="OUTPUT", help="Folder for the new pipeline; MODEL stays as it is."),
]
GpuId = Annotated[int, typer.Option("--gpu-id", min=-1, help="GPU to use, -1 for the CPU.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")]

#: Columns of what is not printed to a terminal.
WIDTH = 110


def track(items: Iterable[T], title: str, total: int) -> Iterable[T]:
    """Draw a progress bar on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        return items
    return progress_bar(items, title, total, console=Console(stderr=True))


@contextmanager
def usage(option: str) -> Iterator[None]:
    """Turn an error about the value of an option into an error of usage, with exit code 2."""
    try:
        yield
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from error


def warn(message: str) -> None:
    """Print a line on stderr."""
    print(f"clinical-ner: {message}", file=sys.stderr)


def print_report(
    report: Mapping[str, Any], content: Iterable[Table | str], *, as_json: bool
) -> None:
    """Print a report on stdout.

    Args:
        report: printed if ``as_json``.
        content: tables and lines that are printed otherwise; they may be generated on demand.
        as_json: whether JSON is asked for.
    """
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
        return
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    for item in content:
        if isinstance(item, Table):
            console.print(item)
        else:
            console.print(item, highlight=False, markup=False, soft_wrap=True)


def columns(*left: str, right: Iterable[str], title: str) -> Table:
    """A table without rows, with columns aligned left and then columns aligned right."""
    table = Table(*left, title=Text(title))
    for header in right:
        table.add_column(header, justify="right")
    return table


def number(value: float | None, digits: int = 4) -> str:
    """A number in a cell, "n/a" for None."""
    return "n/a" if value is None else f"{value:.{digits}f}"
