"""What conversion does with every mention of a corpus, and its speed and memory on many notes.

First a corpus is converted with the default rules, by each tokenizer: what was read is the sum of
what was kept, merged, moved and dropped. Then notes are made of sentences drawn from another
corpus, with their mentions, every digit drawn again, and converted by the command in a process of
its own. From fewer to more notes its processor time grows by what the notes cost, without the start
of Python; the growth of the bare tokenizer's time on the same texts, taken right after, is its
bound. Memory is the process's peak.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from clinical_ner.data.convert import blank, convert
from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ClinicalNerError
from clinical_ner.files import replacing

OUTCOMES = ("kept", "merged", "moved", "dropped")
TOKENIZERS = ("language", "clinical")
WORDS = 150
DOCS_PER_FILE = 500
#: Name, format of the notes, and further arguments of the command.
VARIANTS = {
    "brat to one file": ("brat", ()),
    "jsonl to one file": ("jsonl", ()),
    f"jsonl to files of {DOCS_PER_FILE}": ("jsonl", ("--docs-per-file", str(DOCS_PER_FILE))),
}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\s*\n\s*")
_DIGIT = re.compile("[0-9]")
# In a small process between, since a process starts with the peak memory of the one it comes from.
_LAUNCH = """
import json, os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({
    "status": os.waitstatus_to_exitcode(status),
    "wall": time.perf_counter() - started,
    "cpu": used.ru_utime + used.ru_stime,
    "peak_bytes": used.ru_maxrss * unit,
}))
"""
EXAMPLE = """example:
  python benchmarks/conversion.py ../shared/maccrobat corpus/case_reports \\
    --output benchmarks/results/conversion.json
"""


def main() -> None:
    """Parse the command line, measure, write the JSON file if asked, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", metavar="CORPUS", type=Path, help="what to account for")
    parser.add_argument("texts", metavar="TEXTS", type=Path, help="corpus to draw sentences from")
    parser.add_argument("--notes", type=int, nargs=2, default=(1_000, 10_000), metavar="N")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is told")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing of sentences")
    parser.add_argument("--output", type=Path, help="JSON file for the measurements")
    args = parser.parse_args()
    fewer, more = args.notes
    if not 0 < fewer < more or args.rounds < 1:
        parser.error("--notes must be two ascending numbers above 0, --rounds at least 1")
    try:
        result = {
            "corpus": str(args.corpus),
            "account": {name: account(args.corpus, name) for name in TOKENIZERS},
            "speed": speed(args.texts, (fewer, more), rounds=args.rounds, seed=args.seed),
        }
        if args.output is not None:
            text = json.dumps(result, indent=2, sort_keys=True, allow_nan=False) + "\n"
            with replacing(args.output) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except ClinicalNerError as error:
        sys.exit(f"conversion.py: {error}")
    show(result)


def account(corpus: Path, tokenizer: str) -> dict[str, Any]:
    """Convert a corpus with the default rules, and count what became of its mentions.

    RETURNS: counts only, and processor seconds of the conversion and of the bare tokenizer.
    RAISES ClinicalNerError: as `convert` does.
    """
    texts = list(read_texts(corpus))
    nlp = blank("en", tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        counts = convert(corpus, Path(folder) / "all.spacy", nlp=nlp)
        cpu = time.process_time() - started
    outcomes = {outcome: getattr(counts.total, outcome) for outcome in OUTCOMES}
    assert sum(outcomes.values()) == counts.total.read == sum(len(text.mentions) for text in texts)
    return {
        "documents": counts.documents.total(),
        "read": counts.total.read,
        **outcomes,
        "reasons": {code: number for code, number in counts.reasons.items() if number},
        "other_lines": dict(counts.other_lines),
        "cpu": cpu,
        "tokenizer_cpu": _tokenizer_seconds(texts, tokenizer),
    }


def speed(texts: Path, sizes: tuple[int, int], *, rounds: int, seed: int) -> dict[str, Any]:
    """Measure the command and the bare tokenizer on made corpora of two sizes.

    RETURNS: by variant and number of notes the medians of seconds and bytes; the words of a note;
        ``ratio``, the growth of the command's processor time over that of the tokenizer; and
        ``peak_growth_bytes`` a note.
    RAISES ClinicalNerError: the texts cannot be read, or the command fails.
    """
    pool = list(sentences(read_texts(texts)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notes = {size: made(pool, size, seed=seed) for size in sizes}
        for size, documents in notes.items():
            write_brat(documents, folder / f"brat-{size}")
            write_jsonl(documents, folder / f"jsonl-{size}")
        measured = {
            variant: {
                size: _measured(folder, size, documents, variant, rounds)
                for size, documents in notes.items()
            }
            for variant in VARIANTS
        }
    words = [len(document.text.split()) for document in notes[sizes[1]]]
    return {
        "notes": list(sizes),
        "rounds": rounds,
        "sentences": len(pool),
        "words_per_note": statistics.mean(words),
        "mentions_per_note": statistics.mean(
            len(document.mentions) for document in notes[sizes[1]]
        ),
        "variants": {
            variant: {
                **{str(size): of for size, of in by_size.items()},
                **_growth(by_size, sizes),
            }
            for variant, by_size in measured.items()
        },
    }


def _growth(by_size: Mapping[int, Mapping[str, float]], sizes: tuple[int, int]) -> dict[str, float]:
    """What one more note costs."""

    def per_note(what: str) -> float:
        fewer, more = (by_size[size][what] for size in sizes)
        return (more - fewer) / (sizes[1] - sizes[0])

    return {
        "notes_per_second": 1 / per_note("cpu"),
        "tokenizer_notes_per_second": 1 / per_note("tokenizer_cpu"),
        "ratio": per_note("cpu") / per_note("tokenizer_cpu"),
        "peak_growth_bytes": per_note("peak_bytes"),
    }


def sentences(texts: Iterator[AnnotatedText]) -> Iterator[AnnotatedText]:
    """Each sentence that no mention crosses, with the mentions inside."""
    for document in texts:
        places = [0, *(p for end in _SENTENCE_END.finditer(document.text) for p in end.span())]
        places.append(len(document.text))
        for start, end in zip(places[::2], places[1::2], strict=True):
            touching = [m for m in document.mentions if m.start < end and m.end > start]
            if start < end and all(start <= m.start and m.end <= end for m in touching):
                yield replace(
                    document,
                    text=document.text[start:end],
                    mentions=tuple(_moved(mention, -start) for mention in touching),
                    skipped={},
                )


def made(pool: Sequence[AnnotatedText], size: int, *, seed: int) -> list[AnnotatedText]:
    """Make notes of about WORDS words each, of sentences drawn with replacement."""
    draw = random.Random(seed)
    notes = []
    for number in range(size):
        pieces: list[str] = []
        mentions: list[Mention] = []
        length = words = 0
        while words < WORDS:
            sentence = draw.choice(pool)
            # New numbers, as every note has them: a tokenizer is quicker with words it knows.
            text = _DIGIT.sub(lambda _: draw.choice("0123456789"), sentence.text)
            mentions += (_moved(mention, length) for mention in sentence.mentions)
            pieces.append(text)
            length += len(sentence.text) + 1
            words += len(sentence.text.split())
        numbered = (replace(m, id=f"T{index}") for index, m in enumerate(mentions, start=1))
        id = f"note-{number:06}"
        notes.append(AnnotatedText(id, " ".join(pieces), tuple(numbered)))
    return notes


def _moved(mention: Mention, by: int) -> Mention:
    return replace(
        mention, fragments=tuple((start + by, end + by) for start, end in mention.fragments)
    )


def _measured(
    folder: Path, size: int, documents: Sequence[AnnotatedText], variant: str, rounds: int
) -> dict[str, float]:
    """Medians over rounds: seconds, and bytes at the peak."""
    format, arguments = VARIANTS[variant]
    of_rounds = []
    for number in range(rounds):
        target = folder / f"out-{variant.replace(' ', '-')}-{size}-{number}"
        output = target if arguments else target.with_suffix(".spacy")
        of_round = _run(folder / f"{format}-{size}", output, "--format", format, *arguments)
        of_rounds.append({**of_round, "tokenizer_cpu": _tokenizer_seconds(documents)})
    return {
        what: statistics.median(of_round[what] for of_round in of_rounds)
        for what in ("wall", "cpu", "peak_bytes", "tokenizer_cpu")
    }


def _run(source: Path, output: Path, *arguments: str) -> dict[str, float]:
    """Seconds and peak bytes of one run of the command.

    RAISES ClinicalNerError: it fails.
    """
    command = [sys.executable, "-m", "clinical_ner", "convert", str(source), str(output)]
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCH, *command, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    used: dict[str, float] = json.loads(done.stdout)
    if used["status"]:
        raise ClinicalNerError(f"{source}: clinical-ner convert ended with {used['status']}.")
    return used


def _tokenizer_seconds(documents: Sequence[AnnotatedText], name: str = "clinical") -> float:
    tokenize = blank("en", name).tokenizer
    started = time.process_time()
    for document in documents:
        tokenize(document.text)
    return time.process_time() - started


def show(result: Mapping[str, Any]) -> None:
    """Print the sums, their reasons, and the speed."""
    console = Console()
    for name, of in result["account"].items():
        sum_of = " + ".join(f"{of[outcome]:,} {outcome}" for outcome in OUTCOMES)
        print(f"Tokenizer {name}: {of['read']:,} mentions read = {sum_of}.")
        print("  " + ", ".join(f"{code} {number}" for code, number in of["reasons"].items()) + ".")
        print(f"  {of['cpu']:.1f} s, of the bare tokenizer {of['tokenizer_cpu']:.1f} s.")
    made_of = result["speed"]
    table = Table(
        title=f"Notes of {made_of['words_per_note']:.0f} words, {made_of['rounds']} rounds"
    )
    sizes = [str(size) for size in made_of["notes"]]
    for column in (" / ".join(sizes), "s", "peak MB", "notes/s", "bare", "ratio", "kB/note"):
        table.add_column(column, justify="left" if "/ " in column else "right")
    for variant, of in made_of["variants"].items():
        table.add_row(
            variant,
            " / ".join(f"{of[size]['cpu']:.1f}" for size in sizes),
            " / ".join(f"{of[size]['peak_bytes'] / 1e6:.0f}" for size in sizes),
            f"{of['notes_per_second']:.0f}",
            f"{of['tokenizer_notes_per_second']:.0f}",
            f"{of['ratio']:.1f}",
            f"{of['peak_growth_bytes'] / 1e3:.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
