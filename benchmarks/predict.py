"""What `predict` costs beside a bare loop, what is left of it after kills, and Spark beside it.

    python benchmarks/predict.py MODEL [--notes 20000] [--pairs 10] [--kills 10] [--engines 2000]

Notes are made of the sentences of corpus/case_reports, the same ones every time. They are divided
into parts; of each, a process reads the texts and lets nlp.pipe annotate them, and another one
runs `predict`, in turns. Entities and probabilities must be the same. Memory is that of the second
process after every shard, from the second part on.
Then a run over a tenth of the notes is killed at random moments, and resumed; and the first notes
(--engines, 0 for none) are annotated by two processes, and by Spark with two cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from spacy.language import Language

from clinical_ner import predict
from clinical_ner.pipeline.loading import load_pipeline

CORPUS = Path(__file__).parents[1] / "corpus" / "case_reports"
#: Sentences of a note, from the fewest to the most.
SENTENCES = (3, 25)
#: Notes of a shard in the run that is killed: it has many moments to be killed at.
SHARD = 50
COLUMNS = ("id", "start", "end", "label", "probability")
#: A run that can be killed.
RUN = "import sys; from clinical_ner import predict; predict(*sys.argv[1:4], shard={}, resume=True)"
#: Start, end, label and probability of the entities of a note.
Row = tuple[int, int, str, float | None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--notes", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--engines", type=int, default=2_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = args.notes // args.pairs
        notes = made_notes(seed=0)
        parts = [write(folder / f"{part}.jsonl", notes, size) for part in range(args.pairs)]
        compare_speed(args.model, parts)
        if args.kills:
            few = write(folder / "few.jsonl", made_notes(seed=1), args.notes // 10)
            compare_kills(args.model, few, kills=args.kills)
        if args.engines:
            first = write(folder / "first.jsonl", made_notes(seed=2), args.engines)
            compare_engines(args.model, first)


def made_notes(*, seed: int) -> Iterator[str]:
    """Notes of sentences that follow each other in a case report, without end."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(CORPUS.glob("*.txt"))]
    reports = [re.split(r"(?<=[.!?])\s+", text) for text in texts]
    random_ = random.Random(seed)
    number = 0
    while True:
        number += 1
        report = random_.choice(reports)
        start = random_.randrange(len(report))
        yield f"Note {number}.\n" + " ".join(report[start : start + random_.randint(*SENTENCES)])


def write(path: Path, notes: Iterator[str], count: int) -> Path:
    """Write the next notes as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(islice(notes, count)):
            file.write(json.dumps({"id": f"{path.stem}-{number}", "text": text}) + "\n")
    return path


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def compare_speed(model: str, parts: list[Path]) -> None:
    """Print speed, memory and differences of a bare loop and of `predict`."""
    context = multiprocessing.get_context("spawn")
    ratios: dict[str, list[float]] = {"wall": [], "processor": []}
    sums = {"bare": [0.0, 0.0], "predict": [0.0, 0.0]}
    memory: list[float] = []
    words = count = 0
    other, largest = 0, 0.0
    # Forked by nothing: each has its own model and its own memory.
    with ProcessPoolExecutor(1, context) as bare, ProcessPoolExecutor(1, context) as ours:
        runs = [("bare", bare, bare_loop), ("predict", ours, one_run)]
        for of in runs:
            of[1].submit(of[2], model, parts[0], limit=64).result()
        for number, part in enumerate(parts):
            of_part = {}
            for name, pool, run in runs if number % 2 else reversed(runs):
                wall, processor, result = pool.submit(run, model, part).result()
                of_part[name] = (wall, processor, result)
                sums[name][0] += wall
                sums[name][1] += processor
            expected, total = of_part["bare"][2]
            found, rss = of_part["predict"][2]
            words += total
            count += len(expected)
            memory += rss if number else []
            for kind, at in (("wall", 0), ("processor", 1)):
                ratios[kind].append(of_part["bare"][at] / of_part["predict"][at])
            for note, rows in expected.items():
                same = [row[:3] for row in rows] == [row[:3] for row in found[note]]
                other += not same
                if same:
                    pairs = zip(rows, found[note], strict=True)
                    largest = max([largest, *(abs((a[3] or 0) - (b[3] or 0)) for a, b in pairs)])
    print(f"{count} notes, {words} words, {words / count:.0f} a note, {len(parts)} pairs")
    for kind, at in (("wall", 0), ("processor", 1)):
        speeds = {name: words / of[at] for name, of in sums.items()}
        low, high = min(ratios[kind]), max(ratios[kind])
        print(
            f"{kind} seconds: predict {speeds['predict']:.0f} words/s, bare {speeds['bare']:.0f}, "
            f"ratio {statistics.median(ratios[kind]):.3f} ({low:.3f} to {high:.3f})"
        )
    print(f"notes with other entities: {other}; largest difference of probabilities: {largest:.1e}")
    if memory:
        tenth = max(1, len(memory) // 10)
        first, last = statistics.median(memory[:tenth]), statistics.median(memory[-tenth:])
        print(
            f"memory of predict: {first:.0f} MiB in the first tenth, {last:.0f} in the last "
            f"({last / first - 1:+.1%}), {min(memory):.0f} to {max(memory):.0f}"
        )


@lru_cache
def pipeline(model: str) -> Language:
    """The pipeline of the bare loop, loaded once."""
    return load_pipeline(model)


def bare_loop(
    model: str, notes: Path, limit: int | None = None
) -> tuple[float, float, tuple[dict[str, list[Row]], int]]:
    """Seconds by the clock and of the processor; entities by note, and number of words."""
    nlp = pipeline(model)
    found: dict[str, list[Row]] = {}
    words = 0
    start = time.perf_counter(), time.process_time()
    pairs = ((of["text"], of["id"]) for of in islice(lines(notes), limit))
    for doc, id in nlp.pipe(pairs, as_tuples=True):
        found[id] = [(e.start_char, e.end_char, e.label_, e._.probability) for e in doc.ents]
        words += len(doc)
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    return wall, processor, (found, words)


def one_run(
    model: str, notes: Path, limit: int | None = None
) -> tuple[float, float, tuple[dict[str, list[Row]], list[float]]]:
    """The same of `predict`, with MiB of memory after every shard in place of the words."""
    if limit is not None:
        first = [json.dumps(of) + "\n" for of in islice(lines(notes), limit)]
        notes = notes.with_name("warm.jsonl")
        notes.write_text("".join(first), encoding="utf-8")
    output = notes.with_suffix(".parquet")
    memory: list[float] = []
    start = time.perf_counter(), time.process_time()
    predict(model, notes, output, tell=lambda *of: memory.append(resident()))
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    found: dict[str, list[Row]] = {of["id"]: [] for of in lines(notes)}
    for id, *row in zip(*(pq.read_table(output)[of].to_pylist() for of in COLUMNS), strict=True):
        found[id].append(tuple(row))
    return wall, processor, (found, memory)


def resident() -> float:
    """MiB of memory of this process that is not swapped out, as Linux says; 0 elsewhere."""
    path = Path("/proc/self/statm")
    pages = int(path.read_text().split()[1]) if path.is_file() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare_kills(model: str, notes: Path, *, kills: int) -> None:
    """Print whether a run that was killed at random moments gives what one without kills gives."""
    whole, killed = (
        [notes.with_name(f"{name}{ending}") for ending in (".jsonl", ".status.jsonl")]
        for name in ("whole", "killed")
    )
    run = [sys.executable, "-c", RUN.format(SHARD), model]
    seconds = []
    one = write(notes.with_name("one.jsonl"), made_notes(seed=1), 1)
    for source, target in ((one, one.with_suffix(".csv")), (notes, whole[0])):
        start = time.perf_counter()
        subprocess.run([*run, source, target], check=True)
        seconds.append(time.perf_counter() - start)
    # So that it seldom ends before it was killed so often.
    longest = seconds[0] + 2 * (seconds[1] - seconds[0]) / kills
    random_, done, same = random.Random(0), [], []
    while not same or len(done) < kills:
        process = subprocess.Popen([*run, notes, killed[0]])
        try:
            code = process.wait(random_.uniform(0, longest) if len(done) < kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done.append(len(list(notes.parent.glob("killed.jsonl.parts/status-*"))))
            # It may have been killed when all was done.
            if not killed[0].exists() or notes.with_name("killed.jsonl.parts").exists():
                continue
            code = 0
        if code:
            raise SystemExit(f"a run that was resumed ended with exit code {code}")
        contents = [
            [sorted(path.read_bytes().splitlines()) for path in paths] for paths in (whole, killed)
        ]
        same.append(contents[0] == contents[1])
        # If it ended before it was killed so often, another one begins.
        for path in killed:
            path.unlink()
    rows = "the same rows" if all(same) else "OTHER ROWS"
    print(f"shards done at each of {len(done)} kills: {done}; {len(same)} runs ended, {rows}")


def compare_engines(model: str, notes: Path) -> None:
    """Print words/s of two processes and of Spark with two cores, the start of both included."""
    rows, words = [], 0
    for options in (["--n-process", "2"], ["--engine", "spark", "--master", "local[2]"]):
        output = notes.with_name(f"{options[0].lstrip('-')}.parquet")
        command = ["predict", model, str(notes), "-o", str(output), *options, "--json"]
        if "spark" in options:
            command += ["--partitions", "8"]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "clinical_ner", *command],
            env={**os.environ, "PYSPARK_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
        )
        taken = time.perf_counter() - start
        words = json.loads(done.stdout).get("words", words)
        table = pq.read_table(output).select(COLUMNS).to_pylist()
        keys = [tuple(of[name] for name in COLUMNS[:4]) for of in table if of["label"]]
        rows.append(sorted(keys))
        count = sum(1 for _ in lines(notes))
        days = 1e8 / count * taken / 86_400
        print(
            f"{' '.join(options)}: {words / taken:.0f} words/s, {taken:.0f} s for {count} notes; "
            f"100 million such notes in {days:.0f} days of this machine"
        )
    print("the same rows" if rows[0] == rows[1] else "OTHER ROWS")


if __name__ == "__main__":
    main()
