"""One measurement in a process of its own: ``python -m clinical_ner.research.speed.speed_child``.

Only a process of its own can tell the peak memory of one variant. It reads one request as JSON from
stdin and writes one answer as JSON to stdout; see `speed_growth`. No note is written to a file.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ClinicalNerError
from .speed_notes import made_notes

#: Where Linux tells of a process: "VmHWM" is the most memory that it had, "VmRSS" what it has.
STATUS = Path("/proc/self/status")
#: Writing RESET there makes "VmHWM" what "VmRSS" is.
REFERENCES = Path("/proc/self/clear_refs")
RESET = "5"
#: Pieces of the note that is read before any time is taken.
WARM_UP = 50


def peak_memory() -> float | None:
    """The most memory that this process ever had, in MiB; None where the system does not tell.

    On Linux not by getrusage, whose ru_maxrss a process inherits from the one that started it.
    """
    found = _status("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:
        return None
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak() -> float | None:
    """Let `peak_memory` begin anew, and give what memory the process has now, in MiB.

    RETURNS: None where the system cannot do it: then the peak stays that of all before.
    """
    try:
        REFERENCES.write_text(RESET)
    except OSError:
        return None
    return _status("VmRSS")


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Load a variant and let it read notes.

    request: ``sources`` (see `speed_variants.Sources`), ``variant`` (a key), ``threads`` of
        PyTorch; and either ``texts``, which are read as in the rounds, or ``pieces``, ``notes`` and
        ``words``, to read made notes as a stream of which nothing is kept.

    RETURNS: ``loaded_mib``, memory when the variant is loaded; ``reading_mib``, the most while it
        reads; ``peak_mib``, the most of all. Loading needs more for a moment than it keeps, and
        would hide what reading takes; the first two are None where the system cannot tell them
        apart. For made notes also ``seconds`` and ``processor_seconds`` of reading them and the
        number of ``entities``.
    """
    import torch

    from .speed_variants import Sources, Variants

    torch.set_num_threads(request["threads"])
    variant = Variants(Sources(**request["sources"])).build(request["variant"])
    gc.collect()
    peak_of_loading, loaded = peak_memory(), forget_peak()
    told: dict[str, Any] = {}
    if "texts" in request:
        variant.prepare(request["texts"])()
    else:
        assert variant.entities is not None
        pieces = request["pieces"]
        sum(variant.entities(made_notes(pieces, notes=1, words=WARM_UP)))
        notes = made_notes(pieces, notes=request["notes"], words=request["words"])
        wall, processor = time.perf_counter(), time.process_time()
        told["entities"] = sum(variant.entities(notes))
        told["seconds"] = time.perf_counter() - wall
        told["processor_seconds"] = time.process_time() - processor
    reading = peak_memory()
    peaks = [peak for peak in (peak_of_loading, reading) if peak is not None]
    return {
        **told,
        "loaded_mib": loaded,
        "reading_mib": None if loaded is None else reading,
        "peak_mib": max(peaks, default=None),
    }


def _status(name: str) -> float | None:
    """A number that Linux tells of this process, in MiB; None on other systems."""
    if not STATUS.is_file():
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB$", STATUS.read_text(), flags=re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def reason_of(error: BaseException) -> str:
    """Why a measurement failed, in a line without text of a note.

    The message of an error that is not ours may quote a note, so only its kind, its code if it is
    one of spaCy's, and the place in the program are told.
    """
    if isinstance(error, ClinicalNerError):
        return str(error)
    from ...model.windows.encoder_calls import is_out_of_memory

    if is_out_of_memory(error):
        return "out of memory"
    code = re.match(r"\[E\d+\]", str(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    kind = type(error).__name__ + (f" {code[0]}" if code else "")
    return f"{kind} in {Path(place.filename).name}, line {place.lineno}"


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    # What libraries print does not belong to the answer.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            result = answer(request)
        except Exception as error:
            result = {"reason": reason_of(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
