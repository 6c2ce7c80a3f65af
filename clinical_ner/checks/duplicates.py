"""Notes that are in a corpus twice, word for word or nearly: leaks, where they are in two parts.

Nearly the same are two texts whose sets of SHINGLE words in a row have a Jaccard index (what both
have, over what either has) of at least the threshold. Candidates come from MinHash signatures in
bands (Broder 1997, On the Resemblance and Containment of Documents; Leskovec, Rajaraman and Ullman
2014, Mining of Massive Datasets, ch. 3). Each is then compared exactly: none is reported wrongly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..data.mentions import AnnotatedText
from ..errors import missing_extra
from .corpus import Part, all_documents, normalised, words
from .findings import Finding, Place, document_place, found

THRESHOLD = 0.8
SHINGLE = 3
PERMUTATIONS = 128
#: Chance at most that a pair just at the threshold is not a candidate.
MISS = 1e-4
#: Documents whose shingles are held at a time.
_HELD = 1024

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class _Copy:
    """A document that is the first of its text in its part."""

    part: Part
    document: AnnotatedText
    text: str


def find_duplicates(parts: Sequence[Part], *, threshold: float = THRESHOLD) -> list[Finding]:
    """Find documents that are in an earlier part, or earlier in their own, exactly or nearly.

    Exactly the same are texts that differ at most in case and whitespace. A document is reported
    once as a leak and once within its part, each time with one document that it equals; nearly the
    same are only compared for the first copy of a text in a part. Texts without a word are left
    out.

    Raises:
        ClinicalNerError: datasketch is not installed.
    """
    places: dict[str, list[Place]] = defaultdict(list)
    number = 0
    first_in: dict[str, dict[str, str]] = defaultdict(dict)
    ids: dict[str, tuple[str, str]] = {}
    copies: list[_Copy] = []
    for part, document in all_documents(parts):
        number += 1
        text = normalised(document.text)
        name, other_text = ids.setdefault(document.id, (part.name, text))
        if name != part.name and other_text != text:
            places["C024"].append(document_place(part, document, f"as in {name}"))
        if not words(text):
            continue
        seen = first_in[text]
        # Parts are added in their order, so that an earlier one comes first.
        earlier = next((name for name in seen if name != part.name), None)
        if earlier is not None:
            places["C020"].append(
                document_place(part, document, f"as {seen[earlier]} of {earlier}")
            )
        if part.name in seen:
            places["C022"].append(document_place(part, document, f"as {seen[part.name]}"))
        else:
            seen[part.name] = document.id
            copies.append(_Copy(part, document, text))
    _compare_nearly(copies, threshold, places)
    details = dict.fromkeys(("C021", "C023"), f"Jaccard index at least {threshold:g}")
    return found(places, of=number, details=details)


def shingles(text: str) -> Shingles:
    """Give the runs of SHINGLE words of a text; of a shorter text, all of its words as one."""
    row = words(text)
    size = min(SHINGLE, len(row))
    return frozenset(tuple(row[i : i + size]) for i in range(len(row) - size + 1))


def bands(threshold: float) -> tuple[int, int]:
    """Choose the bands of the index: their number, and the values of the signature in each.

    A pair with Jaccard index s shares at least one band with the chance 1 - (1 - s^r)^b. The
    longest bands, which give the fewest candidates, are taken that miss a pair at the threshold
    with a chance of at most MISS; single values, if none do.
    """
    fitting = [
        rows
        for rows in range(1, PERMUTATIONS // 2 + 1)
        if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= MISS
    ]
    rows = max(fitting, default=1)
    return PERMUTATIONS // rows, rows


def _compare_nearly(
    copies: Sequence[_Copy], threshold: float, places: dict[str, list[Place]]
) -> None:
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as error:
        raise missing_extra("Finding duplicate notes", "datasketch", "train") from error
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, params=bands(threshold))

    @lru_cache(maxsize=_HELD)
    def shingles_of(number: int) -> Shingles:
        return shingles(copies[number].text)

    signatures = np.empty((len(copies), PERMUTATIONS), dtype=np.uint64)
    template = MinHash(num_perm=PERMUTATIONS, seed=1)
    for number, copy in enumerate(copies):
        signature = template.copy()
        signature.update_batch(
            [" ".join(run).encode("utf-8", "surrogatepass") for run in shingles_of(number)]
        )
        signatures[number] = signature.hashvalues
        candidates = np.array(sorted(index.query(signature)), dtype=np.int64)
        index.insert(number, signature)
        # The likeliest first: one that is near enough ends the search.
        likely = (signatures[candidates] == signatures[number]).sum(axis=1)
        ordered = candidates[np.argsort(-likely, kind="stable")].tolist()
        for code, is_own in (("C021", False), ("C023", True)):
            fitting = [
                other
                for other in ordered
                if (copies[other].part.name == copy.part.name) == is_own
                and copies[other].text != copy.text
            ]
            for other in fitting:
                own, others = shingles_of(number), shingles_of(other)
                share = len(own & others) / len(own | others)
                if share >= threshold:
                    of = "" if is_own else f" of {copies[other].part.name}"
                    note = f"as {copies[other].document.id}{of}, Jaccard {share:.2f}"
                    places[code].append(document_place(copy.part, copy.document, note))
                    break
