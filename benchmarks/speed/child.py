"""One measurement in a process of its own, which alone shows the peak memory of one variant.

The process reads one request as JSON from stdin and writes one answer as JSON to stdout. Notes are
not written to a file.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clinical_ner.errors import ClinicalNerError
from clinical_ner.model.windows.encoder_calls import is_out_of_memory

from . import made_notes
from .variants import Variants

#: Where Linux shows a process: "VmHWM" is the most memory that it had, "VmRSS" what it has; and
#: where writing "5" makes "VmHWM" what "VmRSS" is.
STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
#: Pieces of the note that is read before any time is taken.
WARM_UP = 50
COMMAND = (sys.executable, "-m", "benchmarks.speed.child")


def ask(*, command: Sequence[str] = COMMAND, **request: Any) -> dict[str, Any]:
    """Give a request to a process of its own and wait for the answer.

    Args:
        command: what is started.
        request: see `answer`.

    Returns:
        The answer; or ``reason``, why there is none.
    """
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command,
        input=json.dumps(request),
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])},
    )
    if done.returncode < 0:
        number = -done.returncode
        hint = ", as happens when memory runs out" if number == signal.SIGKILL else ""
        return {"reason": f"ended by the system: {signal.strsignal(number)}{hint}"}
    # Its stderr may quote a note.
    if done.returncode:
        return {"reason": f"ended with exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Load a variant and let it read notes.

    Args:
        request: ``sources`` (arguments of `Variants`), ``variant`` (a key), ``threads`` of PyTorch;
            and either ``texts``, which are read as in the rounds, or ``pieces``, ``notes`` and
            ``words``, to read made notes as a stream of which nothing is kept.

    Returns:
        ``loaded_mib``, memory when the variant is loaded; ``reading_mib``, the most while it reads;
        ``peak_mib``, the most of all. Loading needs more for a moment than it keeps. All are None
        on systems other than Linux. For made notes also ``seconds`` and ``processor_seconds`` of
        reading them and the number of ``entities``.
    """
    torch.set_num_threads(request["threads"])
    variant = Variants(**request["sources"]).build()[request["variant"]]()
    gc.collect()
    peak_of_loading, loaded = _memory("VmHWM"), _memory("VmRSS")
    if STATUS.is_file():
        REFERENCES.write_text("5")
    result: dict[str, Any] = {}
    if "texts" in request:
        variant.prepare(request["texts"])()
    else:
        assert variant.entities is not None
        pieces = request["pieces"]
        sum(variant.entities(made_notes(pieces, notes=1, words=WARM_UP)))
        notes = made_notes(pieces, notes=request["notes"], words=request["words"])
        wall, processor = time.perf_counter(), time.process_time()
        result["entities"] = sum(variant.entities(notes))
        result["seconds"] = time.perf_counter() - wall
        result["processor_seconds"] = time.process_time() - processor
    reading = _memory("VmHWM")
    peaks = [peak for peak in (peak_of_loading, reading) if peak is not None]
    return {
        **result,
        "loaded_mib": loaded,
        "reading_mib": reading,
        "peak_mib": max(peaks, default=None),
    }


def reason_of(error: BaseException) -> str:
    """Why a measurement failed, in a line without text of a note.

    The message of an error that is not ours may quote a note, so only its kind, its code if it is
    one of spaCy's, and the place in the program are given.
    """
    if isinstance(error, ClinicalNerError):
        return str(error)
    if is_out_of_memory(error):
        return "out of memory"
    code = re.match(r"\[E\d+\]", str(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    kind = type(error).__name__ + (f" {code[0]}" if code else "")
    return f"{kind} in {Path(place.filename).name}, line {place.lineno}"


def _memory(name: str) -> float | None:
    """A number that Linux gives for this process, in MiB; None on other systems.

    Not by getrusage, whose ru_maxrss a process inherits from the one that started it.
    """
    if not STATUS.is_file():
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB$", STATUS.read_text(), flags=re.MULTILINE)
    return int(found[1]) / 1024 if found else None


if __name__ == "__main__":
    # What libraries print does not belong to the answer.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            output = answer(json.load(sys.stdin))
        except Exception as error:
            output = {"reason": reason_of(error)}
    print(json.dumps(output))
