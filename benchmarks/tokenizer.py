"""Mentions whose edges lie inside a token: by a language's own tokenizer, and by the clinical one.

A mention is misaligned if an edge of one of its fragments lies inside a token, so that no run of
tokens is the mention. Its edges are counted by what stands around them. Speed is measured in
processor time, on new tokenizers in turn, in the other order every second round; the median of the
rounds' ratios is told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import spacy
from rich.console import Console
from rich.table import Table
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc

from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError, InputError
from clinical_ner.files import replacing
from clinical_ner.tokenization.clinical import create_clinical_tokenizer

VARIANTS = ("language", "clinical")
#: Where an edge may lie in a token; the first that fits.
PATTERNS = (
    "within a word",
    "dot of an abbreviation",
    "dot at the end",
    "dot inside",
    "bracket",
    "slash",
    "number and letter",
    "other sign",
)
EXAMPLE = """example:
  python benchmarks/tokenizer.py ../shared/maccrobat --output benchmarks/results/tokenizer.json
"""


def main() -> None:
    """Parse the command line, measure, write the JSON file if asked, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", metavar="CORPUS", type=Path, help="file or folder of any format")
    parser.add_argument("--lang", default="en", help="the language, as in spacy.blank()")
    parser.add_argument(
        "--split", type=Path, help="split.json of clinical-ner split: counts by part besides"
    )
    parser.add_argument("--rounds", type=int, default=11, help="paired measurements, at least 2")
    parser.add_argument("--output", type=Path, help="JSON file for the counts")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds must be at least 2")
    try:
        result = measure(args.corpus, lang=args.lang, split=args.split, rounds=args.rounds)
        if args.output is not None:
            text = json.dumps(result, indent=2, sort_keys=True, allow_nan=False) + "\n"
            with replacing(args.output) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except ClinicalNerError as error:
        sys.exit(f"tokenizer.py: {error}")
    show(result)


def measure(corpus: Path, *, lang: str, split: Path | None, rounds: int) -> dict[str, Any]:
    """Count over a corpus, over the parts of its split, and measure the speed.

    RETURNS: counts only; no text.
    RAISES ClinicalNerError: the corpus or the split cannot be read.
    """
    texts = list(read_texts(corpus))
    parts = {} if split is None else _parts(split, texts)
    return {
        "corpus": str(corpus),
        "lang": lang,
        "all": counts(texts, lang),
        "parts": {part: counts(chosen, lang) for part, chosen in parts.items()},
        "speed": speed(texts, lang, rounds),
    }


def make(variant: str, lang: str) -> Tokenizer:
    """A new tokenizer, which has nothing in its cache."""
    nlp = spacy.blank(lang)
    return create_clinical_tokenizer()(nlp) if variant == "clinical" else nlp.tokenizer


def counts(texts: Sequence[AnnotatedText], lang: str) -> dict[str, Any]:
    """Mentions, tokens, and by tokenizer the misaligned mentions and the patterns of their edges.

    ``fixed`` and ``broken`` are mentions that one of the two tokenizers misaligns and the other
    does not.
    """
    misaligned: dict[str, set[tuple[str, int]]] = {}
    result: dict[str, Any] = {
        "documents": len(texts),
        "mentions": sum(len(text.mentions) for text in texts),
    }
    for variant in VARIANTS:
        tokenizer = make(variant, lang)
        tokens, patterns = 0, Counter[str]()
        found = misaligned[variant] = set()
        for text in texts:
            doc = tokenizer(text.text)
            assert doc.text == text.text
            tokens += len(doc)
            for number, pattern in _cuts(doc, text):
                found.add((text.id, number))
                patterns[pattern] += 1
        result[variant] = {
            "tokens": tokens,
            "misaligned": len(found),
            "edges": {pattern: patterns[pattern] for pattern in PATTERNS},
        }
    result["fixed"] = len(misaligned["language"] - misaligned["clinical"])
    result["broken"] = len(misaligned["clinical"] - misaligned["language"])
    return result


def _cuts(doc: Doc, text: AnnotatedText) -> Iterator[tuple[int, str]]:
    """Each edge that lies inside a token: the number of its mention, and the pattern."""
    inside = {
        place: token for token in doc for place in range(token.idx + 1, token.idx + len(token))
    }
    for number, mention in enumerate(text.mentions):
        for place in (place for fragment in mention.fragments for place in fragment):
            if (token := inside.get(place)) is not None:
                yield number, pattern_of(token.text, place - token.idx)


def pattern_of(token: str, place: int) -> str:
    """Which of PATTERNS a cut of a token is.

    place: characters of the token before the cut, above 0 and below all.
    """
    left, right = token[place - 1], token[place]
    around = left + right
    fits = {
        "within a word": left.isalpha() and right.isalpha(),
        "dot of an abbreviation": "." in around and token.count(".") > 1 and token[1] == ".",
        "dot at the end": token[place:] == ".",
        "dot inside": "." in around,
        "bracket": not set("()[]").isdisjoint(around),
        "slash": "/" in around,
        "number and letter": left.isalnum() and right.isalnum(),
        "other sign": True,
    }
    return next(pattern for pattern in PATTERNS if fits[pattern])


def speed(texts: Sequence[AnnotatedText], lang: str, rounds: int) -> dict[str, Any]:
    """Words per second by tokenizer, and the ratio of their times, clinical over language's own."""
    words = sum(len(text.text.split()) for text in texts)
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
            seconds[variant].append(_seconds(make(variant, lang), texts))
    ratios = [
        clinical / language
        for language, clinical in zip(seconds["language"], seconds["clinical"], strict=True)
    ]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {
        "words": words,
        "rounds": rounds,
        "words_per_second": {
            variant: round(words / statistics.median(times)) for variant, times in seconds.items()
        },
        "ratio": {"median": median, "quartiles": [low, high], "range": [min(ratios), max(ratios)]},
    }


def _seconds(tokenizer: Callable[[str], Doc], texts: Sequence[AnnotatedText]) -> float:
    started = time.process_time()
    for text in texts:
        tokenizer(text.text)
    return time.process_time() - started


def _parts(split: Path, texts: Sequence[AnnotatedText]) -> dict[str, list[AnnotatedText]]:
    """The texts of each part of a split.

    RAISES ClinicalNerError: there is no such file, or it is none of a split of these documents.
    """
    by_id = {text.id: text for text in texts}
    try:
        documents = json.loads(split.read_text(encoding="utf-8"))["documents"]
        return {part: [by_id[id] for id in ids] for part, ids in documents.items()}
    except OSError as error:
        raise InputError(f"{split}: no such file or folder. Check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClinicalNerError(f"{split}: is no split.json of these documents.") from error


def show(result: Mapping[str, Any]) -> None:
    """Print the counts and the speed."""
    console = Console()
    table = Table(title=f"Edges of mentions inside a token, {result['corpus']}")
    for column in ("", "language's own", "clinical"):
        table.add_column(column, justify="left" if column == "" else "right")
    whole = result["all"]
    for pattern in PATTERNS:
        table.add_row(pattern, *(str(whole[variant]["edges"][pattern]) for variant in VARIANTS))
    console.print(table)
    table = Table()
    for column in ("", "notes", "mentions", "misaligned", "fixed", "broken", "tokens"):
        table.add_column(column, justify="left" if column == "" else "right")
    for name, of in {"all": whole, **result["parts"]}.items():
        before, after = (of[variant] for variant in VARIANTS)
        growth = after["tokens"] / max(before["tokens"], 1) - 1
        table.add_row(
            name,
            str(of["documents"]),
            f"{of['mentions']:,}",
            f"{before['misaligned']} > {after['misaligned']}",
            str(of["fixed"]),
            str(of["broken"]),
            f"{before['tokens']:,} {growth:+.2%}",
        )
    console.print(table)
    of = result["speed"]
    rates = ", ".join(f"{name} {rate:,}" for name, rate in of["words_per_second"].items())
    low, high = of["ratio"]["quartiles"]
    console.print(
        f"Words per second: {rates}; time, clinical over language's own: "
        f"{of['ratio']['median']:.3f} (quartiles {low:.3f} to {high:.3f}, {of['rounds']} rounds)."
    )


if __name__ == "__main__":
    main()
