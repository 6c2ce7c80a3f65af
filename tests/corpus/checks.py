"""Checks of a folder of annotated reports.

Each returns the problems that it finds, as document ids, mention ids, offsets and labels.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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

# Mentions that may carry several labels. Both are a finding where the word introduces it, and a
# Coreference where the word takes up a finding that the report has already named.
EXCEPTIONS = {
    "mass": {"Sign_symptom", "Coreference"},
    "lesion": {"Sign_symptom", "Coreference"},
}

FRONT_MATTER = ["---", "pretty_name: clinical_ner case reports", "license: CC0-1.0", "---"]
RUN = 8

_LINE = re.compile(r"T(?P<id>\d+)\t(?P<label>\S+) (?P<offsets>\d+ \d+(?:;\d+ \d+)*)\t(?P<text>.+)")

_EDGE = re.compile(r"^[\s.,;:]|[\s.,;:]$")


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
    return [] if len(reports) >= 24 else [f"{len(reports)} reports"]


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
    """Mentions whose text is not what stands at the offsets, fragments joined by one space."""
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
    """Fragments with whitespace or closing punctuation at an edge, save a.m. and p.m."""
    return [
        _name(report, mention)
        for report, mention in _all(reports)
        for start, end in mention.fragments
        if _EDGE.search(re.sub(r"\b([ap])\.m\.$", r"\1m", report.text[start:end]))
    ]


def line_breaks(reports: Reports) -> list[str]:
    """Mentions that span a line break."""
    return [
        _name(report, mention)
        for report, mention in _all(reports)
        if "\n" in report.text[mention.start : mention.end]
    ]


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


def repeated_sentences(reports: Reports) -> list[str]:
    """Sentences that occur twice, in one report or in two."""
    return _repeated(
        (sentence.lower(), f"{report.id} sentence {number}")
        for report in reports
        for number, sentence in enumerate(_sentences(report.text), start=1)
    )


def shared_runs(reports: Reports) -> list[str]:
    """Reports that share RUN words in a row, whatever their case and punctuation."""
    return _repeated(
        (tuple(words[i : i + RUN]), report.id)
        for report in reports
        for words in [re.findall(r"\w+", report.text.lower())]
        for i in range(len(words) - RUN + 1)
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


def missing_shapes(reports: Reports) -> list[str]:
    """Kinds of mention that a converter must cope with and that do not occur."""
    discontinuous = any(len(mention.fragments) > 1 for _, mention in _all(reports))
    nested = any(_nested(report) for report in reports)
    return ["discontinuous"] * (not discontinuous) + ["nested"] * (not nested)


def too_balanced(reports: Reports) -> list[str]:
    """The most frequent type occurs less than 20 times as often as the rarest."""
    (common, most), *_, (rare, least) = _counts(reports).most_common()
    return [] if most >= 20 * least else [f"{common} {most}, {rare} {least}"]


# --- checks of the README


def wrong_front_matter(readme: str) -> list[str]:
    lines = readme.splitlines()[: len(FRONT_MATTER)]
    return [] if lines == FRONT_MATTER else ["the README.md begins otherwise"]


def miscounted(readme: str, reports: Reports) -> list[str]:
    """Rows of the README's tables that say other than the files, and rows that are missing."""
    mentions = [mention for _, mention in _all(reports)]
    actual = dict(_counts(reports)) | {
        "Reports": len(reports),
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
    wrong_length,
    unknown_labels,
    missing_labels,
    repeated_sentences,
    shared_runs,
    inconsistent_labels,
    missing_shapes,
    too_balanced,
]
