"""What the windows do to the entities: their size and context, and where they happen to be cut.

    python benchmarks/window_choice.py MODEL GOLD.spacy [--windows 254,32 ...] [--output FILE.json]

MODEL is a trained pipeline with a WindowedTransformer and `ner`; its weights read GOLD with every
pair of --windows, max_wordpieces,context. For each pair:

encoded     wordpieces that the encoder reads for one of the text
micro-F     on whole documents, and macro-F
moved       share of entities that are not found again when the first cut moves by half a window:
            those that only one of both runs found, over those that any found
other       the same among those whose window is another after the move; cuts prefer line ends, so
            that grids meet again
near, far   micro-F of the entities, gold or predicted, of which a wordpiece is within 32 of a cut,
            and of the rest; of both grids together, since what stands at a cut differs
same        micro-F of the same entities, those near a cut of one grid and far from all of the
            other, when near and when far

and, once for the first pair, micro-F where each line is a document of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import spacy
from line_by_line import lines_of
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.evaluation.runner import unannotated
from clinical_ner.model.windows import windowed_transformer
from clinical_ner.model.windows.cutting import Windows, cut_windows
from clinical_ner.model.windows.windowed_transformer import WindowedTransformer
from clinical_ner.model.windows.wordpieces import Wordpieces, wordpieces_of

#: Wordpieces from a cut that count as near.
NEAR = 32
DEFAULT = ["254,0", "254,8", "254,16", "254,32", "254,64", "126,16", "510,32"]

Entity = tuple[int, int, str]


class Read(NamedTuple):
    """Entities and windows of each document."""

    entities: list[set[Entity]]
    windows: list[Windows]

    def window_of(self, document: int, piece: int) -> tuple[int, int]:
        """The window that gives the vector of a wordpiece."""
        cut = self.windows[document]
        index = int(np.searchsorted(cut.core_starts, piece, side="right")) - 1
        return int(cut.starts[index]), int(cut.ends[index])


@contextmanager
def windows(first: int) -> Iterator[list[Windows]]:
    """Cut with a first core of this size, 0 for what fits, and record what was cut."""
    recorded: list[Windows] = []

    def cut(*args: Any, **kwargs: Any) -> Any:
        recorded.append(cut_windows(*args, **{**kwargs, "first": first}))
        return recorded[-1]

    windowed_transformer.cut_windows = cut
    try:
        yield recorded
    finally:
        windowed_transformer.cut_windows = cut_windows


def read(nlp: Language, gold: Sequence[Doc], *, first: int = 0) -> Read:
    """The entities that a pipeline finds."""
    with windows(first) as recorded:
        docs = [nlp(unannotated(nlp, doc)) for doc in gold]
    return Read(
        [entities(doc) for doc in docs],
        recorded,
    )


def entities(doc: Doc) -> set[Entity]:
    """Token offsets and labels."""
    return {(ent.start, ent.end, ent.label_) for ent in doc.ents}


def micro_f(found: Sequence[set[Entity]], gold: Sequence[set[Entity]]) -> float | None:
    """2 TP / (2 TP + FP + FN), in percent."""
    right = sum(len(f & g) for f, g in zip(found, gold, strict=True))
    both = sum(map(len, found)) + sum(map(len, gold))
    return round(200 * right / both, 2) if both else None


def near_cut(cuts: NDArray[np.int64], starts: NDArray, ends: NDArray, entity: Entity) -> bool:
    """Whether a wordpiece of an entity is within NEAR of a cut."""
    start, end = int(starts[entity[0]]), int(ends[entity[1] - 1])
    # A cut before wordpiece c lies between c - 1 and c.
    return bool(np.any((cuts > start - NEAR) & (cuts < end + NEAR)))


def compare(
    grids: tuple[Read, Read], gold: Sequence[set[Entity]], places: Sequence[Any]
) -> dict[str, Any]:
    """The row of a pair of size and context, but for the scores on whole documents."""
    groups: dict[str, tuple[list[set[Entity]], list[set[Entity]]]] = {
        name: ([], []) for name in ("near", "far", "same, near", "same, far")
    }

    def put(name: str, found: set[Entity], right: set[Entity], among: set[Entity]) -> None:
        groups[name][0].append(found & among)
        groups[name][1].append(right & among)

    changed: list[bool] = []
    elsewhere: list[bool] = []
    for i, (right, pieces) in enumerate(zip(gold, places, strict=True)):
        found = [grid.entities[i] for grid in grids]
        for entity in found[0] | found[1]:
            changed.append((entity in found[0]) != (entity in found[1]))
            piece = int(pieces.starts[entity[0]])
            elsewhere.append(grids[0].window_of(i, piece) != grids[1].window_of(i, piece))
        every = right | found[0] | found[1]
        near = [
            {
                e
                for e in every
                if near_cut(grid.windows[i].core_starts[1:], pieces.starts, pieces.ends, e)
            }
            for grid in grids
        ]
        for own, other in ((0, 1), (1, 0)):
            put("near", found[own], right, near[own])
            put("far", found[own], right, every - near[own])
            put("same, near", found[own], right, near[own] - near[other])
            put("same, far", found[other], right, near[own] - near[other])
    return {
        "moved": percent(changed, [True] * len(changed)),
        "other": percent(changed, elsewhere),
        **{name: micro_f(*group) for name, group in groups.items()},
        "gold_near": sum(map(len, groups["near"][1])),
        "gold_far": sum(map(len, groups["far"][1])),
    }


def percent(values: Sequence[bool], among: Sequence[bool]) -> float | None:
    """Share of the true ones among some."""
    chosen = [value for value, is_in in zip(values, among, strict=True) if is_in]
    return round(100 * sum(chosen) / len(chosen), 2) if chosen else None


def macro_f(found: Sequence[set[Entity]], gold: Sequence[set[Entity]]) -> float:
    """Mean F1 of the labels that gold has, in percent."""
    labels = {label for of_doc in gold for _, _, label in of_doc}

    def of(label: str, sets: Sequence[set[Entity]]) -> list[set[Entity]]:
        return [{e for e in of_doc if e[2] == label} for of_doc in sets]

    return round(float(np.mean([micro_f(of(x, found), of(x, gold)) for x in labels])), 2)


def encoded(found: Read, places: Sequence[Wordpieces]) -> float:
    """Wordpieces in windows for one of the text."""
    in_windows = sum(int((cut.ends - cut.starts).sum()) for cut in found.windows)
    return round(in_windows / sum(len(pieces.ids) for pieces in places), 3)


def load(path: Path, size: int, context: int) -> Language:
    """The trained pipeline with other windows."""
    section = "components.transformer.model"
    config = {f"{section}.max_wordpieces": size, f"{section}.context": context}
    return spacy.load(path, config=config)


def rows(path: Path, gold_path: Path, pairs: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Measure."""
    for number, (size, context) in enumerate(pairs):
        nlp = load(path, size, context)
        transformer: Any = nlp.get_pipe("transformer")
        model: WindowedTransformer = transformer.model
        gold_docs = read_docbin(gold_path, nlp.vocab)
        gold = [entities(doc) for doc in gold_docs]
        places = wordpieces_of(model.tokenizer, gold_docs)
        core = size - model.special_tokens().count - 2 * context
        usual = read(nlp, gold_docs)
        # At least what cut_windows wants of a first core.
        moved = read(nlp, gold_docs, first=max(core // 2, context + 1))
        yield {
            "max_wordpieces": size,
            "context": context,
            "encoded": encoded(usual, places),
            "micro_f": micro_f(usual.entities, gold),
            "macro_f": macro_f(usual.entities, gold),
            "micro_f_moved": micro_f(moved.entities, gold),
            **compare((usual, moved), gold, places),
        }
        if number == 0:
            single = [line for doc in gold_docs for line in lines_of(doc)]
            gold_lines = [entities(doc) for doc in single]
            found = read(nlp, single).entities
            yield {
                "lines": len(single),
                "micro_f": micro_f(found, gold_lines),
                "macro_f": macro_f(found, gold_lines),
            }


def main() -> None:
    """Measure, print a line for each row, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("gold", type=Path)
    parser.add_argument("--windows", nargs="+", default=DEFAULT)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    pairs = [(int(size), int(context)) for size, context in (p.split(",") for p in args.windows)]
    found = []
    for row in rows(args.model, args.gold, pairs):
        found.append(row)
        print(json.dumps(row), flush=True)
    if args.output:
        args.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
