"""What a folder of trainings was made of, so that only an interrupted call goes on in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, not_a_folder


def check_identity(
    folder: Path, file: str, parts: Mapping[str, Any], *, what: str
) -> dict[str, Any] | None:
    """Check that a folder holds nothing else than what is to be made.

    Args:
        folder: of the output.
        file: its JSON file, with the ``parts`` that it was made of.
        parts: what is to be made is made of, as JSON gives it back.
        what: of what the folder is, with its article.

    Returns:
        What the file holds; None for a folder that is missing or empty.

    Raises:
        InputError: it holds something else, or what was made of other parts.
    """
    if folder.exists() and not folder.is_dir():
        raise not_a_folder(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return None
    try:
        identity = json.loads((folder / file).read_text(encoding="utf-8"))
        found = dict(identity["parts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: is not the folder of {what}, since it has no readable {file}. Name "
            "another output folder, or remove this one."
        ) from error
    differing = [name for name in {**found, **parts} if found.get(name) != parts.get(name)]
    if differing:
        raise InputError(
            f"{folder}: holds {what} that differs in: {', '.join(differing)}. Name another output "
            "folder, or remove this one."
        )
    return dict(identity)
