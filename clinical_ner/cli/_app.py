"""The typer application that the commands register with, and its entry point."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from ..errors import ClinicalNerError, ClinicalNerWarning, one_line, reason_of

#: The commands in order of work, with the first sentence of their help. Each is a module of this
#: package, imported when its command is called: the help needs neither spaCy nor torch.
COMMANDS = {
    "convert": "Convert an annotated corpus to spaCy's .spacy format, or to another.",
    "check": "Check annotated notes of any readable format before training on them.",
    "split": "Divide annotated documents into train, dev and test.",
    "train": "Train a pipeline.",
    "folds": "Train a recipe on every fold, and score each document by models that did not see it.",
    "final": "Make one model of all documents, calibrated on the predictions of the folds.",
    "calibrate": (
        "Make a pipeline's probabilities agree with how often they are right, on held-out "
        "documents."
    ),
    "tune": (
        "Choose which entities a pipeline makes, by their probabilities, on held-out documents."
    ),
    "evaluate": (
        "Score a pipeline's entities against gold, with 95 % bootstrap intervals over documents."
    ),
    "report": "Show a pipeline's scores on annotated documents as a page that decides again.",
    "audit": "Search a model for words of its training notes; exit code 1 if it holds any.",
    "card": "Write the card of a model: use, data, labels, scores, limits and privacy.",
    "predict": "Annotate notes, and account for each of them.",
    "review": (
        "Order notes by what annotating them tells MODEL, and hand them to an annotation tool."
    ),
    "package": "Build the wheel of a model and that of clinical_ner, which it needs.",
    "info": "Show what a model is, and with --verify whether it is what was saved.",
    "recipes": "List the recipes that train and compare take by name.",
    "optimize": "Let a pipeline's encoder run on ONNX Runtime, which is faster on a CPU.",
    "neighbours": "Mix the tags of the nearest training tokens into a pipeline's probabilities.",
    "compare": "Train recipes on the same documents and seeds, and compare them with the first.",
    "learning-curve": "Train a recipe on more and more notes, and foresee twice as many.",
    "bias": "Train losses on randomised data, and see whether they give the training shares back.",
}


#: Environment variable with which an error that nobody foresaw is shown as Python has it.
DEBUG = "CLINICAL_NER_DEBUG"
_MISALIGNED = re.compile(r'(?s)\[W030\].* with entities "([^"]*)"\. Use `')


class _LazyGroup(TyperGroup):
    """Imports the module of a command when the command is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in order of work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        import_module(f"{__package__}.{cmd_name.replace('-', '_')}")
        return get_group(app).commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments begin with."""
        # Where the base class looks for names close to a misspelt one.
        self.commands: Any = dict.fromkeys(COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    name="clinical-ner",
    cls=_LazyGroup,
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
    2 the command was called wrongly, 143 the process was asked to end (SIGTERM).

    Args:
        args: The arguments without the program's name; those of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding does not have is escaped, not an error after the work.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    before = signal.getsignal(signal.SIGTERM)
    try:
        # In another thread no signal can be handled.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, _end)
        with warnings.catch_warnings():
            # "default" shows a text once, however many files it is about.
            warnings.simplefilter("default", ClinicalNerWarning)
            warnings.showwarning = _show(warnings.showwarning)
            app(args=None if args is None else list(args), prog_name="clinical-ner")
    except ClinicalNerError as error:
        print(f"clinical-ner: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        # A full disk, a folder without permission, a name that is too long.
        where = error.filename or "A file"
        line = f"clinical-ner: {where}: cannot be used ({reason_of(error)})."
        print(one_line(line), file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        print(f"clinical-ner: {_unexpected(error)}", file=sys.stderr)
        sys.exit(1)
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, before)


def _unexpected(error: Exception) -> str:
    """Where an error of ours or of a library arose, without its message, which may quote a note."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "clinical_ner" in Path(frame.filename).parts] or frames
    code = re.match(r"\[E\d+\]", str(error))
    both = (frames[-1], ours[-1])
    places = dict.fromkeys(f"{Path(frame.filename).name}, line {frame.lineno}" for frame in both)
    return (
        f"unexpected {type(error).__name__}{' ' + code[0] if code else ''} in "
        f"{', from '.join(places)}. Its message is not shown, since it may hold text of the notes: "
        f"set {DEBUG}=1 for it and the traceback, and please report it."
    )


def _end(number: int, frame: object) -> NoReturn:
    """End the process as an error does, so that nothing half written is left."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _show(other: Callable[..., None]) -> Callable[..., None]:
    """Print our warnings as a line on stderr; `other` shows those of other packages."""

    def show(message: Warning | str, category: type[Warning], *args: Any, **settings: Any) -> None:
        if issubclass(category, ClinicalNerWarning):
            print(f"clinical-ner: {message}", file=sys.stderr)
        elif entities := _MISALIGNED.match(str(message)):
            # spaCy quotes the note.
            print(
                f"clinical-ner: [W030] Of a text whose entities are {entities[1]}, some do not fit "
                "its tokens and are ignored in training.",
                file=sys.stderr,
            )
        else:
            other(message, category, *args, **settings)

    return show
