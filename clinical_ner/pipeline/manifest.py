"""Checksums of a model's files, in the format of ``sha256sum``, which checks them too.

A model folder that clinical-ner wrote holds SHA256SUMS; loading compares it. A stock
``nlp.to_disk`` into the folder removes it, since it is that of other files then.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError, cannot_be_read, shown
from ..files import sha256, write_text

MANIFEST = "SHA256SUMS"
UNLISTED = f"not in {MANIFEST}"
#: Files that make a folder one of a pipeline.
OF_PIPELINE = ("config.cfg", "meta.json")


def write_manifest(folder: Path) -> None:
    """Write the checksums of all files of a model's folder, which must be complete."""
    lines = [f"{digest}  {name}\n" for name, digest in digests_of(folder).items()]
    write_text(folder / MANIFEST, "".join(lines))


def remove_manifest(folder: Path) -> None:
    """Remove the checksums of files that are about to be others, where they are those of a model.

    A folder that a component alone is written to may hold a file of the same name.
    """
    stated = _stated(folder)
    if stated is not None and all(name in stated for name in OF_PIPELINE):
        (folder / MANIFEST).unlink()


def verify(folder: Path) -> list[str] | None:
    """What differs from the checksums of a model's folder.

    Returns:
        A line for each file that is missing, changed or not listed; None without checksums.

    Raises:
        InputError: a file cannot be read.
    """
    stated = _stated(folder)
    if stated is None:
        return None
    found = digests_of(folder)
    lines = []
    for name in sorted(stated | found):
        if name not in stated:
            lines.append(f"{shown(name)}: {UNLISTED}")
        elif name not in found:
            lines.append(f"{shown(name)}: missing")
        elif stated[name] != found[name]:
            lines.append(f"{shown(name)}: changed")
    return lines


def check_manifest(folder: Path) -> bool:
    """Check the files of a model that is loaded.

    Files that are not listed do no harm; what a component would read of them, it checks itself.

    Returns:
        Whether there are checksums, and so all listed files are what was written.

    Raises:
        InputError: a file is missing, was changed or cannot be read.
    """
    differing = verify(folder)
    if differing is None:
        return False
    lost = [line for line in differing if not line.endswith(UNLISTED)]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise InputError(
            f"{folder}: not as it was written ({lost[0]}{more}): install or copy the model again. "
            f"Where the change is yours, remove {MANIFEST}."
        )
    return True


def _stated(folder: Path) -> dict[str, str] | None:
    """Checksums by name of the file, as the manifest has them."""
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise cannot_be_read(folder / MANIFEST, type(error).__name__) from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def digests_of(folder: Path) -> dict[str, str]:
    """Checksums of the files there are, by name; nothing that is listed is opened by its name."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST or not path.is_file():
            continue
        try:
            digests[name] = sha256(path.read_bytes())
        except OSError as error:
            raise cannot_be_read(path, error.strerror) from error
    return digests
