"""The typer application that the commands register with, and its entry point."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from ..errors import ClinicalNerError

app = typer.Typer(
    name="clinical-ner",
    help="Clinical named entity recognition for spaCy: from annotated notes to a wheel.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root() -> None:
    """Clinical named entity recognition for spaCy."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit.

    Exit codes: 0 done, 1 the input is at fault (one line on stderr says where and what to do),
    2 the command was called wrongly.

    args: the arguments without the program's name; those of the process by default.
    """
    try:
        app(args=None if args is None else list(args), prog_name="clinical-ner")
    except ClinicalNerError as error:
        print(f"clinical-ner: {error}", file=sys.stderr)
        sys.exit(1)
