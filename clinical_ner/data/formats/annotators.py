"""Several annotations of one text, in JSON: by several annotators, or in several tasks of one.

Which records are of one text is known when all of a corpus were seen, so that it is read twice.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...errors import ClinicalNerWarning, InputError, shown
from ..mentions import FAULTY, Place
from ..offsets import Draft, QuotedMention

#: Names of --annotator for all annotators, and for annotations that name none.
ALL_ANNOTATORS = "*"
NO_ANNOTATOR = "-"

_Span = tuple[str, tuple[tuple[int, int], ...]]
_Placed = tuple[Place, Draft]


class _Record(NamedTuple):
    """What is kept of a record between the two readings.

    Attributes:
        id: that of its document, None if the file gives none.
        text: hash of the document's text.
        annotator: whom the record itself names.
        file: where it is.
    """

    id: str | None
    text: int
    annotator: str | None
    file: Path


class Copies:
    """The annotations of every text of a corpus, from which those of an annotator are chosen.

    `add` is called with every draft of the corpus, then `decide`, then `chosen` with the same
    drafts in the same order. Of files whose records name no annotator, but which hold the same
    documents, each is one annotator's (as doccano exports them), named like the file.

    Args:
        annotator: whose annotations are read. None: whoever's there are, if a text has only one;
            a name; "-": those without a name; "*": all of them, each a document of its own, with
            the id ID_<name>.
    """

    def __init__(self, annotator: str | None = None) -> None:
        self._annotator = annotator
        self._records: list[_Record] = []
        self._keys: Iterator[Hashable] = iter(())
        self._numbers: Counter[Hashable] = Counter()
        self._waiting: defaultdict[Hashable, list[_Placed]] = defaultdict(list)
        self._is_by_file = False
        # Of texts without id.
        self._made: dict[Hashable, int] = {}

    def add(self, draft: Draft, place: Place) -> None:
        """Note a record, unless it could not be read."""
        if draft.unusable == FAULTY:
            return
        id = draft.id if draft.has_id else None
        self._records.append(_Record(id, hash(draft.text), draft.annotator, place.path))

    def decide(self, source: Path, *, is_whole: bool) -> None:
        """Find out which records are of one text.

        Args:
            source: the corpus, for messages.
            is_whole: whether all of it was added, which a fault may have prevented.

        Raises:
            InputError: the annotator that was named has made none of the annotations.
        """
        self._is_by_file = self._each_file_is_an_annotators()
        repeats: Counter[Hashable] = Counter()
        keys: list[Hashable] = []
        for number, record in enumerate(self._records):
            annotator = self._name(record.annotator, record.file)
            key: Hashable = (record.id, record.text)
            if record.id is None:
                # Two texts that are equal are two texts, if they are not by two annotators.
                who = (record.text, annotator)
                key = (None, record.text, repeats[who]) if annotator else number
                repeats[who] += 1
                self._made.setdefault(key, len(self._made) + 1)
            keys.append(key)
        self._keys = iter(keys)
        self._numbers.update(keys)
        known = {self._name(record.annotator, record.file) for record in self._records} - {None}
        if not is_whole or self._annotator in (None, NO_ANNOTATOR, ALL_ANNOTATORS, *known):
            return
        if not known:
            raise InputError(
                f"{source}: an annotator was named, but no record names one. Name none."
            )
        raise InputError(
            f"{source}: nothing is annotated by {self._annotator}. Annotators are {_listed(known)}."
        )

    def chosen(self, drafts: Iterable[_Placed]) -> Iterator[_Placed]:
        """Give the annotations that are wanted, when the last one of their text was read.

        Raises:
            InputError: several annotators have annotated a text, and none of them was named, or
                one annotator has several annotations that cannot be merged.
        """
        # A fault is raised by the drafts, before the keys, which end there, are at their end.
        for place, draft in drafts:
            if draft.unusable == FAULTY:
                yield place, draft
                continue
            key = next(self._keys, None)
            if key is None:
                raise _changed(place.path)
            draft.annotator = self._name(draft.annotator, place.path)
            waiting = self._waiting[key]
            waiting.append((place, draft))
            self._numbers[key] -= 1
            if not self._numbers[key]:
                del self._waiting[key]
                if not draft.has_id and draft.annotator is not None:
                    self._make_id(waiting, key)
                yield from self._choose(waiting)

    def end(self, source: Path) -> None:
        """Raise InputError if fewer records were read than were added."""
        if next(self._keys, None) is not None:
            raise _changed(source)

    def _make_id(self, copies: Sequence[_Placed], key: Hashable) -> None:
        """Give all copies of a text without id the same."""
        place, first = copies[0]
        id = f"{place.path.parent.name}-{self._made[key]}" if self._is_by_file else first.id
        for _, draft in copies:
            draft.id = id

    def _name(self, annotator: str | None, file: Path) -> str | None:
        return file.stem if annotator is None and self._is_by_file else annotator

    def _each_file_is_an_annotators(self) -> bool:
        files: defaultdict[tuple[str | None, int], set[Path]] = defaultdict(set)
        for record in self._records:
            if record.annotator is None:
                files[record.id, record.text].add(record.file)
        shared = [(id, len(paths) > 1) for (id, _), paths in files.items()]
        # A few texts without id may be equal by chance: "No fever."
        without_id = [is_shared for id, is_shared in shared if id is None]
        named = {path.stem for paths in files.values() for path in paths}
        return (
            any(is_shared for id, is_shared in shared if id is not None)
            or 2 * sum(without_id) > len(without_id)
            or (len(named) > 1 and self._annotator in named)
        )

    def _choose(self, copies: list[_Placed]) -> Iterator[_Placed]:
        by_name: dict[str | None, list[_Placed]] = {}
        for copy in copies:
            by_name.setdefault(copy[1].annotator, []).append(copy)
        if self._annotator == ALL_ANNOTATORS:
            for name, of_one in by_name.items():
                for place, draft in _merged(of_one):
                    draft.id = draft.id if name is None else f"{draft.id}_{name}"
                    yield place, draft
            return
        true = [copy for copy in copies if copy[1].is_true]
        if len(true) == 1:
            chosen = true
        elif self._annotator is None:
            chosen = by_name[_only(by_name)]
        else:
            name = None if self._annotator == NO_ANNOTATOR else self._annotator
            chosen = by_name.get(name, copies[:1])
            if name not in by_name:
                copies[0][1].unusable = copies[0][1].unusable or "other_annotator"
        unread = [copy for copy in copies if not any(copy is one for one in chosen)]
        first, *rest = _merged(chosen)
        _count(unread, first[1].skipped)
        yield from (first, *rest)


def _changed(path: Path) -> InputError:
    return InputError(
        f"{path}: changed while it was read. Read it again when nothing writes to it."
    )


def _only(by_name: dict[str | None, list[_Placed]]) -> str | None:
    """Give the only annotator of a text, apart from those who ignored it."""
    names = [
        name
        for name, copies in by_name.items()
        if any(draft.unusable != "ignored" for _, draft in copies)
    ]
    if len(names) < 2:
        return names[0] if names else next(iter(by_name))
    place, draft = by_name[names[1]][0]
    raise place.fault(
        f"several annotators of document {shown(draft.id)} ({_listed(names)})",
        "Name one of them with --annotator, or * for a document of each",
    )


def _count(unread: Iterable[_Placed], skipped: Counter[str]) -> None:
    """Count annotations of a text that were not chosen."""
    for _, draft in unread:
        skipped.update(draft.skipped)
        if draft.unusable == "ignored":
            skipped["ignored_task"] += 1
        else:
            skipped["other_annotation"] += len(draft.mentions) + len(draft.faults)


def _merged(copies: list[_Placed]) -> list[_Placed]:
    """Merge the tasks in which Prodigy asked an annotator about a text.

    Tasks about one span each are questions of which the answers are one annotation. Of others, a
    task that was not accepted gives way to one that was. Annotations that contradict each other are
    a fault.
    """
    if len(copies) == 1:
        return copies
    if any(draft.task is None for _, draft in copies):
        place, draft = copies[1]
        if draft.annotator is None:
            # Documents with one id, which is said elsewhere.
            return copies
        fault = place.fault(
            f"document {shown(draft.id)} has several annotations by {shown(draft.annotator)}",
            "Remove all but one of them",
        )
        return [(place, Draft.faulty(draft.id, fault))]
    copies = _without(copies, "ignored")
    if any(len(draft.mentions) != 1 for _, draft in copies):
        copies = _without(copies, "rejected")
    elif any(draft.unusable is not None for _, draft in copies):
        warnings.warn(
            f"{copies[0][0].path}: tasks about one span each are merged. Words outside of the "
            "spans count as annotated, which is wrong if few spans were asked about.",
            ClinicalNerWarning,
            stacklevel=2,
        )
    place, result = copies[0]
    by_task: dict[Hashable, Draft] = {}
    for there, draft in copies:
        first = by_task.setdefault(draft.task, draft)
        if (first.unusable, first.mentions) != (draft.unusable, draft.mentions):
            fault = there.fault(
                f"a task about document {shown(draft.id)} is answered again, and otherwise",
                "Remove one of the answers",
            )
            return [(there, Draft.faulty(draft.id, fault))]
        result.skipped["repeated_task"] += first is not draft
    accepted = [draft for draft in by_task.values() if draft.unusable is None]
    rejected = [draft for draft in by_task.values() if draft.unusable is not None]
    if _spans(accepted).keys() & _spans(rejected).keys():
        fault = place.fault(
            f"a span of document {shown(result.id)} is accepted in one task and rejected in "
            "another",
            "Remove one of the tasks",
        )
        return [(place, Draft.faulty(result.id, fault))]
    skipped = sum((draft.skipped for draft in by_task.values()), Counter[str]())
    if accepted:
        skipped["rejected_span"] += sum(len(draft.mentions) for draft in rejected)
    mentions = [
        replace(item, mention=replace(item.mention, id=f"T{number}"))
        for number, item in enumerate(_spans(accepted or rejected).values(), start=1)
    ]
    faults = [fault for draft in by_task.values() for fault in draft.faults]
    merged = replace((accepted or rejected)[0], mentions=mentions, skipped=skipped, faults=faults)
    return [(place, merged)]


def _without(copies: list[_Placed], code: str) -> list[_Placed]:
    """Omit copies that are unusable for a reason, if there is another, and count them."""
    left = [copy for copy in copies if copy[1].unusable != code] or copies[:1]
    left[0][1].skipped[f"{code}_task"] += len(copies) - len(left)
    return left


def _spans(drafts: Iterable[Draft]) -> dict[_Span, QuotedMention]:
    """Give what is marked, once for each label and place."""
    items = [item for draft in drafts for item in draft.mentions]
    return {(item.mention.label, item.mention.fragments): item for item in items}


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(sorted(NO_ANNOTATOR if name is None else shown(name) for name in names))
