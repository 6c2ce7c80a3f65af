"""Checks of a folder of annotated reports.

Each returns the problems that it finds, as document ids, mention ids, offsets and labels.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly

CORPUS = Path(__file__).parents[2] / "corpus"

MACCROBAT_LABELS = frozenset(
    {
        "Activity",
        "Administration",
        "Age",
        "Area",
        "Biological_attribute",
        "Biological_structure",
        "Clinical_event",
        "Color",
        "Coreference",
        "Date",
        "Detailed_description",
        "Diagnostic_procedure",
        "Disease_disorder",
        "Distance",
        "Dosage",
        "Duration",
        "Family_history",
        "Frequency",
        "Height",
        "History",
        "Lab_value",
        "Mass",
        "Medication",
        "Nonbiological_location",
        "Occupation",
        "Other_entity",
        "Other_event",
        "Outcome",
        "Personal_background",
        "Qualitative_concept",
        "Quantitative_concept",
        "Severity",
        "Sex",
        "Shape",
        "Sign_symptom",
        "Subject",
        "Texture",
        "Therapeutic_procedure",
        "Time",
        "Volume",
        "Weight",
    }
)

KINDS = frozenset(
    {
        "case report",
        "discharge summary",
        "operative note",
        "radiology report",
        "progress note",
        "referral",
    }
)

# What may stand although a check would find it.
_ALLOWED: dict[str, Any] = srsly.read_yaml(CORPUS / "checks.yml")
PHRASES: list[str] = _ALLOWED["phrases"]
EXCEPTIONS = {text: set(labels) for text, labels in _ALLOWED["labels"].items()}
OTHER_SENSES = {text: set(documents) for text, documents in _ALLOWED["other_senses"].items()}

# The least that the corpus holds.
REPORTS, WORDS, MENTIONS, SPECIALTIES = 80, 12_000, 3_000, 15
# How many times as often as the rarest type the most frequent one occurs, at least.
RATIO = 40

FRONT_MATTER = [
    *("---", "pretty_name: clinical_ner case reports", "license: CC0-1.0"),
    *("guideline: ../GUIDELINE.md", "---"),
]
RUN = 8
# Words beside its mentions that a sentence needs for being compared with others.
FRAME = 3

_LINE = re.compile(r"T(?P<id>\d+)\t(?P<label>\S+) (?P<offsets>\d+ \d+(?:;\d+ \d+)*)\t(?P<text>.+)")

_EDGE = re.compile(r"""^[\s.,;:()\[\]"'!?|]|[\s.,;:()\[\]"!?|]$""")
# Their full stop belongs to them: a.m., b.i.d., p.o. A single letter may end a sentence.
_ABBREVIATION = re.compile(r"\b(?:[A-Za-z]\.){2,}$")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_BRACKETED = re.compile(r"\([^()]*\)$")


@dataclass(frozen=True)
class Mention:
    """A T line; `fragments` are (start, end) code points."""

    id: str
    label: str
    fragments: tuple[tuple[int, int], ...]
    text: str

    @property
    def start(self) -> int:
        return self.fragments[0][0]

    @property
    def end(self) -> int:
        return self.fragments[-1][1]


@dataclass(frozen=True)
class Report:
    id: str
    text: str
    ann: str

    @property
    def mentions(self) -> list[Mention]:
        """What the .ann says, of lines that are well-formed."""
        found = []
        for match in filter(None, map(_LINE.fullmatch, self.ann.splitlines())):
            offsets = (pair.split() for pair in match["offsets"].split(";"))
            fragments = tuple((int(start), int(end)) for start, end in offsets)
            found.append(Mention(f"T{match['id']}", match["label"], fragments, match["text"]))
        return found


Reports = list[Report]


def read(path: Path) -> str:
    """The file with its own line ends."""
    return path.read_bytes().decode("utf-8")


def load(folder: Path) -> Reports:
    return [
        Report(path.stem, read(path), read(path.with_suffix(".ann")))
        for path in sorted(folder.glob("*.txt"))
    ]


def _all(reports: Reports) -> Iterator[tuple[Report, Mention]]:
    return ((report, mention) for report in reports for mention in report.mentions)


def _name(report: Report, mention: Mention) -> str:
    return f"{report.id} {mention.id}"


def _counts(reports: Reports) -> Counter[str]:
    return Counter(mention.label for _, mention in _all(reports))


def _nested(report: Report) -> list[Mention]:
    """Mentions of which every fragment lies within a fragment of one other mention."""

    def within(inner: Mention, outer: Mention) -> bool:
        return inner is not outer and all(
            any(first <= start and end <= last for first, last in outer.fragments)
            for start, end in inner.fragments
        )

    mentions = report.mentions
    return [inner for inner in mentions if any(within(inner, outer) for outer in mentions)]


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n|(?<=[.!?])\s+(?=[A-Z])", text) if part.strip()]


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))


def _runs(text: str) -> list[tuple[str, ...]]:
    words = _words(text)
    return [words[i : i + RUN] for i in range(len(words) - RUN + 1)]


def _masked(report: Report) -> str:
    """The text with the name of the type instead of each outermost mention."""
    text, end = "", 0
    fragments = sorted(
        (start, -stop, mention.label)
        for mention in report.mentions
        for start, stop in mention.fragments
    )
    for start, stop, label in fragments:
        if start >= end:
            text += f"{report.text[end:start]}<{label}>"
            end = -stop
    return text + report.text[end:]


def _repeated(places: Iterable[tuple[object, str]]) -> list[str]:
    """The places of each thing that has several, joined."""
    found: defaultdict[object, list[str]] = defaultdict(list)
    for thing, place in places:
        if place not in found[thing]:
            found[thing].append(place)
    return sorted({" = ".join(where) for where in found.values() if len(where) > 1})


# --- checks of the folder


def unpaired(folder: Path) -> list[str]:
    """A .txt without its .ann or the reverse."""
    texts = {path.stem for path in folder.glob("*.txt")}
    return sorted(texts ^ {path.stem for path in folder.glob("*.ann")})


# --- checks of the reports


def too_few(reports: Reports) -> list[str]:
    """Sizes of the corpus below the bounds."""
    sizes = {
        "reports": (len(reports), REPORTS),
        "words": (sum(len(report.text.split()) for report in reports), WORDS),
        "mentions": (sum(1 for _ in _all(reports)), MENTIONS),
    }
    return [f"{size} {name}" for name, (size, least) in sizes.items() if size < least]


def malformed_lines(reports: Reports) -> list[str]:
    """Lines of an .ann that are no text-bound annotation."""
    return [
        f"{report.id} line {number}"
        for report in reports
        for number, line in enumerate(report.ann.splitlines(), start=1)
        if not _LINE.fullmatch(line)
    ]


def out_of_order(reports: Reports) -> list[str]:
    """Ids other than T1, T2, ...; mentions, or fragments of one, that are not sorted by offset."""
    problems = []
    for report in reports:
        before = 0
        for number, mention in enumerate(report.mentions, start=1):
            ends = [offset for fragment in mention.fragments for offset in fragment]
            if mention.id != f"T{number}" or mention.start < before or ends != sorted(set(ends)):
                problems.append(_name(report, mention))
            before = mention.start
    return problems


def inexact_offsets(reports: Reports) -> list[str]:
    """Mentions whose text does not match at the offsets, fragments joined by one space."""
    return [
        _name(report, mention)
        for report, mention in _all(reports)
        if mention.text != " ".join(report.text[start:end] for start, end in mention.fragments)
    ]


def cut_words(reports: Reports) -> list[str]:
    """Mentions with a fragment that begins or ends inside a word or number."""
    return [
        _name(report, mention)
        for report, mention in _all(reports)
        if any(
            report.text[max(edge - 1, 0) : edge + 1].isalnum()
            for start, end in mention.fragments
            for edge in ((start, end) if start else (end,))
        )
    ]


def untidy_edges(reports: Reports) -> list[str]:
    """Fragments with whitespace or punctuation at an edge.

    Save the full stop of an abbreviation like a.m. or b.i.d., and a bracket closed at the end.
    """
    return [
        _name(report, mention)
        for report, mention in _all(reports)
        for start, end in mention.fragments
        if _EDGE.search(_BRACKETED.sub("x", _ABBREVIATION.sub("x", report.text[start:end])))
    ]


def line_breaks(reports: Reports) -> list[str]:
    """Mentions that span a line break."""
    return [
        _name(report, mention)
        for report, mention in _all(reports)
        if "\n" in report.text[mention.start : mention.end]
    ]


def wrong_overlaps(reports: Reports) -> list[str]:
    """Mentions of one fragment that overlap, save a disease within a (family) history."""
    problems = []
    for report in reports:
        mentions = [mention for mention in report.mentions if len(mention.fragments) == 1]
        for outer, inner in itertools.combinations(mentions, 2):
            if inner.start < outer.end and not (
                inner.end <= outer.end
                and inner.label == "Disease_disorder"
                and outer.label in ("History", "Family_history")
            ):
                problems.append(f"{_name(report, outer)}, {inner.id}")
    return problems


def wrong_length(reports: Reports) -> list[str]:
    """Reports of fewer than 120 or more than 250 words."""
    words = {report.id: len(report.text.split()) for report in reports}
    return [f"{name}: {count} words" for name, count in words.items() if not 120 <= count <= 250]


def unknown_labels(reports: Reports) -> list[str]:
    return [
        f"{_name(report, mention)}: {mention.label}"
        for report, mention in _all(reports)
        if mention.label not in MACCROBAT_LABELS
    ]


def missing_labels(reports: Reports) -> list[str]:
    return sorted(MACCROBAT_LABELS - _counts(reports).keys())


def repeated_sentences(reports: Reports, phrases: Collection[str] = PHRASES) -> list[str]:
    """Sentences or lines with a letter that occur twice, whatever their case and punctuation."""
    allowed = set(map(_words, phrases))
    return _repeated(
        (_words(sentence), f"{report.id} sentence {number}")
        for report in reports
        for number, sentence in enumerate(_sentences(report.text), start=1)
        if re.search(r"[^\W\d]", sentence) and _words(sentence) not in allowed
    )


def shared_runs(reports: Reports, phrases: Collection[str] = PHRASES) -> list[str]:
    """Reports that share RUN words in a row, whatever their case and punctuation."""
    allowed = {run for phrase in phrases for run in _runs(phrase)}
    return _repeated(
        (run, report.id) for report in reports for run in _runs(report.text) if run not in allowed
    )


def template_sentences(reports: Reports) -> list[str]:
    """Sentences of FRAME words or more that differ in nothing but their mentions."""
    frames = (
        (re.findall(r"<\w+>|\w+", sentence.lower()), f"{report.id} sentence {number}")
        for report in reports
        for number, sentence in enumerate(_sentences(_masked(report)), start=1)
    )
    return _repeated(
        (tuple(frame), place)
        for frame, place in frames
        if sum(not word.startswith("<") for word in frame) >= FRAME
    )


def inconsistent_labels(
    reports: Reports, exceptions: Mapping[str, set[str]] = EXCEPTIONS
) -> list[str]:
    """Mention texts with several labels, whatever their case, and exceptions that none needs."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    places: defaultdict[str, list[str]] = defaultdict(list)
    for report, mention in _all(reports):
        labels[mention.text.lower()].add(mention.label)
        places[mention.text.lower()].append(f"{_name(report, mention)}: {mention.label}")
    several = {text: found for text, found in labels.items() if len(found) > 1}
    return [
        " = ".join(places[text]) for text in several if several[text] != exceptions.get(text)
    ] + [f"exception without a case: {text}" for text in exceptions.keys() - several.keys()]


def unlabelled_repeats(
    reports: Reports, other_senses: Mapping[str, set[str]] = OTHER_SENSES
) -> list[str]:
    """Words that a report holds bare and that are a mention elsewhere, whatever their case.

    `other_senses` names the reports in which they mean something else.
    """
    known: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for _, mention in _all(reports):
        words = tuple(_TOKEN.findall(mention.text.lower()))
        # Numbers and initials mean too many things.
        if len(mention.fragments) == 1 and re.search(r"[^\W\d]{3}", mention.text):
            known[words[0]].add(words)
    problems = []
    for report in reports:
        tokens = list(_TOKEN.finditer(report.text.lower()))
        fragments = [fragment for mention in report.mentions for fragment in mention.fragments]
        free = [not any(a < t.end() and t.start() < b for a, b in fragments) for t in tokens]
        for i, token in enumerate(tokens):
            for wanted in known[token[0]] if free[i] else ():
                span = slice(i, i + len(wanted))
                text = report.text[token.start() : tokens[span][-1].end()].lower()
                if (
                    tuple(t[0] for t in tokens[span]) == wanted
                    and all(free[span])
                    and report.id not in other_senses.get(text, ())
                ):
                    problems.append(f"{report.id}: {text}")
    return problems


def missing_shapes(reports: Reports) -> list[str]:
    """Kinds of mention that a converter must cope with and that do not occur."""
    discontinuous = any(len(mention.fragments) > 1 for _, mention in _all(reports))
    nested = any(_nested(report) for report in reports)
    return ["discontinuous"] * (not discontinuous) + ["nested"] * (not nested)


def too_balanced(reports: Reports) -> list[str]:
    """The most frequent type occurs less than RATIO times as often as the rarest."""
    (common, most), *_, (rare, least) = _counts(reports).most_common()
    return [] if most >= RATIO * least else [f"{common} {most}, {rare} {least}"]


# --- checks of the list of reports


Catalog = dict[str, tuple[str, str]]


def read_catalog(path: Path) -> Catalog:
    """The kind and the specialty of each report."""
    head, *rows = (line.split("\t") for line in read(path).splitlines())
    assert head == ["document", "kind", "specialty"]
    return {document: (kind, specialty) for document, kind, specialty in rows}


def wrong_catalog(catalog: Catalog, reports: Reports) -> list[str]:
    """Reports that are listed and absent or the reverse, kinds without one, few specialties."""
    kinds = {kind for kind, _ in catalog.values()}
    specialties = {specialty for _, specialty in catalog.values()}
    return [
        *sorted(catalog.keys() ^ {report.id for report in reports}),
        *sorted(kinds ^ KINDS),
        *([f"{len(specialties)} specialties"] if len(specialties) < SPECIALTIES else []),
    ]


# --- checks of the README


def wrong_front_matter(readme: str) -> list[str]:
    lines = readme.splitlines()[: len(FRONT_MATTER)]
    return [] if lines == FRONT_MATTER else ["the README.md begins otherwise"]


def miscounted(readme: str, reports: Reports, catalog: Catalog) -> list[str]:
    """Rows of the README's tables that say other than the files, and rows that are missing."""
    mentions = [mention for _, mention in _all(reports)]
    kinds = Counter(kind.capitalize() for kind, _ in catalog.values())
    actual = dict(_counts(reports) + kinds) | {
        "Documents": len(reports),
        "Specialties": len({specialty for _, specialty in catalog.values()}),
        "Words": sum(len(report.text.split()) for report in reports),
        "Mentions": len(mentions),
        "of these nested": sum(len(_nested(report)) for report in reports),
        "of these discontinuous": sum(len(mention.fragments) > 1 for mention in mentions),
    }
    rows = re.findall(r"^\| *(\w[\w ]*?) *\| *([\d,]+) *\|$", readme, flags=re.MULTILINE)
    stated = Counter((name, int(count.replace(",", ""))) for name, count in rows)
    wrong = (stated - Counter(actual.items())) + (Counter(actual.items()) - stated)
    return sorted(f"{name}: {count}" for name, count in wrong)


Check = Callable[[Reports], list[str]]

CHECKS: list[Check] = [
    too_few,
    malformed_lines,
    out_of_order,
    inexact_offsets,
    cut_words,
    untidy_edges,
    line_breaks,
    wrong_overlaps,
    wrong_length,
    unknown_labels,
    missing_labels,
    repeated_sentences,
    shared_runs,
    template_sentences,
    inconsistent_labels,
    unlabelled_repeats,
    missing_shapes,
    too_balanced,
]
