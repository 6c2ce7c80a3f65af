"""Every reader under atheris: inputs that reach new lines of the readers are damaged further.

It begins with the examples of ``fuzz.py``, whose rules hold: a result, or an error of clinical_ner
in one line. It needs ``pip install atheris``, which is not among the pins.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["clinical_ner.data"]):
    import fuzz

    from clinical_ner.errors import ClinicalNerError
    from clinical_ner.files import write_text

EXAMPLE = """example:
  python benchmarks/guided_fuzz.py --seconds 60 --output benchmarks/results/guided_fuzz.json
"""


def main() -> None:
    """Parse the command line, run the readers one after the other, and print their counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--crashers", type=Path, default=Path("crashers"), help="for what failed")
    parser.add_argument("--output", type=Path, help="JSON file for the counts")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    results: dict[str, dict[str, Any]] = {}
    for name in fuzz.READERS:
        folder = args.crashers / name
        folder.mkdir(parents=True, exist_ok=True)
        start, log = time.time(), folder / "log"
        child = os.fork()
        if child == 0:
            _follow(name, folder, args.seconds, log)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = log.read_text(encoding="utf-8", errors="replace")
        counts = [int(number) for number in re.findall(r"^#(\d+)", text, re.MULTILINE)]
        lines = [int(number) for number in re.findall(r"\bcov: (\d+)", text)]
        results[name] = {"inputs": max(counts, default=0), "edges": max(lines, default=0)}
        results[name] |= {"failures": int(code != 0), "seconds": round(time.time() - start)}
        print(f"{name}: {results[name]}", flush=True)
    if args.output:
        report = {"command": " ".join(["python", *sys.argv]), "targets": results}
        write_text(args.output, json.dumps(report, indent=2) + "\n")
    sys.exit(int(any(of["failures"] for of in results.values())))


def _follow(name: str, folder: Path, seconds: int, log: Path) -> None:
    """Run a reader in this process, which ends with the first failure or with the time."""
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    scratch = Path(tempfile.mkdtemp())
    examples = scratch / "examples"
    examples.mkdir()
    make, read = fuzz.target(name, None)
    for number in range(50):
        source = make(random.Random(f"{name} {number}"), scratch)
        source = source / "a.ann" if name == "brat" else source
        if source.is_file():
            (examples / str(number)).write_bytes(source.read_bytes())
    if name == "brat":
        (scratch / "notes" / "a.txt").write_text(fuzz.TEXT)

    def one(data: bytes) -> None:
        source.write_bytes(data)
        try:
            read(source.parent if name == "brat" else source)
        except ClinicalNerError as error:
            assert not fuzz.quotes(error), error

    settings = [f"-max_total_time={seconds}", "-timeout=30", "-max_len=4096", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *settings, f"-artifact_prefix={folder}/", str(examples)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
