"""Exception classes, and the checks of settings. Messages stand where they are raised.

A message names documents by id, offsets and labels, never by their text.
"""

from __future__ import annotations

import hashlib
import math
import numbers
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, field, fields
from difflib import get_close_matches
from typing import Any

#: Characters of an id, and words and characters of a label, that was not taken from a note.
ID_LENGTH, LABEL_WORDS, LABEL_LENGTH = 64, 4, 48


def one_line(text: object) -> str:
    """A text with its controls, line ends and what else does not print as escapes."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(name: object, *, words: int = 1, length: int = ID_LENGTH) -> str:
    """An id or a key as messages, tables and reports show it.

    As it is if it looks like one: words that print, of no more than ``length`` characters.
    Otherwise, since people put names and whole sentences where ids belong, "#" and the first eight
    digits of the SHA-256 of its UTF-8.
    """
    text = str(name)
    parts = text.split(" ")
    plain = text.isprintable() and len(text) <= length
    if not text or (plain and all(parts) and len(parts) <= words):
        return text
    return "#" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def shown_label(label: object) -> str:
    """A label likewise; types are often named by a few words."""
    return shown(label, words=LABEL_WORDS, length=LABEL_LENGTH)


class ClinicalNerError(ValueError):
    """An error that the user can fix, in one line whatever the names in it hold.

    Commands print it on stderr and end with exit code 1.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


class InputError(ClinicalNerError):
    """A file, folder, document or model that was given is missing or not what it should be."""


class ConfigError(ClinicalNerError):
    """A setting, or settings together, that cannot be used."""


class NotFittedError(ClinicalNerError):
    """Something has to be initialized, trained or fitted first, or again."""


class ClinicalNerWarning(UserWarning):
    """Something about the input that the user should know, and that is not an error; see there."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


@contextmanager
def damage_in_one_line(what: str) -> Iterator[None]:
    """Turn whatever readers raise of what is damaged into an InputError.

    Args:
        what: is read.
    """
    try:
        yield
    except (ClinicalNerError, ImportError):
        raise
    except Exception as error:
        raise InputError(
            f"{what} cannot be read ({type(error).__name__}): the model is damaged, incomplete or "
            "of another version. Install or copy all of it again."
        ) from error


def close_matches(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: those close to it, or else all there are."""
    names = [shown_label(other) for other in known]
    close = get_close_matches(shown_label(name), names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names)}." if names else "There is none."


def check_choice(setting: str, value: object, choices: Iterable[str]) -> None:
    """Raise ConfigError unless a setting has one of a few values."""
    choices = tuple(choices)
    if value not in choices:
        raise ConfigError(f"{setting} must be one of {', '.join(choices)}, got {value!r}.")


def check_number(
    setting: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    integer: bool = False,
) -> None:
    """Check a setting that is a finite number.

    Args:
        setting: its name.
        value: what was given; not a bool.
        above: bound that it must exceed.
        least: smallest value.
        below: bound that it must stay under.
        most: largest value.
        integer: whether it must be an integer.

    Raises:
        ConfigError: it is not a number, not finite, or out of its range.
    """
    if (
        isinstance(value, numbers.Integral if integer else numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(number := float(value))
        and (above is None or number > above)
        and (least is None or number >= least)
        and (below is None or number < below)
        and (most is None or number <= most)
    ):
        return
    low = f"({above:g}" if above is not None else f"[{least:g}" if least is not None else "(-inf"
    high = f"{below:g})" if below is not None else f"{most:g}]" if most is not None else "inf)"
    if high != "inf)":
        range_ = f" in {low}, {high}"
    elif above is not None:
        range_ = f" above {above:g}"
    else:
        range_ = f" >= {least:g}" if least is not None else " that is finite"
    noun = "an integer" if integer else "a number"
    raise ConfigError(f"{setting} must be {noun}{range_}, got {value!r}.")


def number(default: Any = MISSING, **bounds: float) -> Any:
    """A field of a dataclass that is a number within bounds; see ``check_numbers``."""
    return field(default=default, metadata=bounds)


def check_numbers(settings: Any) -> None:
    """Check the fields of a dataclass that were made by ``number``; see ``check_number``."""
    for setting in fields(settings):
        if setting.metadata:
            check_number(setting.name, getattr(settings, setting.name), **setting.metadata)


def no_posterior(loss: str) -> ConfigError:
    """Something that needs the probability of an entity, asked with a loss that has none."""
    return ConfigError(
        f"Loss '{loss}' does not lead back to the empirical probability, so an entity has none "
        "that thresholds, calibration, neighbours or a question for it could use: train with a "
        "loss, and a reduction, that does."
    )


def one_tag_per_token(name: str) -> ConfigError:
    """Neighbours, asked for a component whose tokens may have several tags."""
    return ConfigError(
        f"Component '{name}' has overlaps = true, and a datastore of neighbours holds one tag per "
        "token: train with overlaps = false to have neighbours."
    )


def missing_extra(what: str, package: str, extra: str) -> InputError:
    """A package of an extra of clinical-ner, which a command or action needs."""
    return InputError(f"{what} needs {package}: pip install 'clinical-ner[{extra}]'.")


def not_initialized(name: str) -> NotFittedError:
    """A component that was asked to work before its labels and weights are there."""
    return NotFittedError(
        f"Component '{name}' is not initialized: call nlp.initialize(get_examples), or load a "
        "trained pipeline."
    )


def not_a_folder(path: object) -> InputError:
    """An output folder whose name is taken by a file."""
    return InputError(f"{path}: is not a folder. Choose another output folder.")


def reason_of(error: OSError) -> str:
    """What the operating system says of a failure."""
    # pyarrow puts its own words around it.
    known = os.strerror(error.errno) if error.errno else error.strerror
    return known or type(error).__name__


def cannot_be_read(path: object, reason: object) -> InputError:
    """A file that the operating system does not let us read."""
    return InputError(f"{path}: cannot be read ({reason}). Check that it is a file you may read.")


def cannot_be_written(path: object, reason: object, what: str = "file") -> InputError:
    """A file or folder that the operating system does not let us write."""
    return InputError(f"{path}: cannot be written ({reason}). Name another output {what}.")
