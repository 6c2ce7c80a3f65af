"""A recipe trained on more and more notes: how the scores grow, and what more notes would give."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ...data.formats.docbin import write_docbin
from ...errors import ConfigError, InputError, check_number
from ...evaluation.plots import check_can_draw
from ...files import check_replaceable, is_written_by, replacing, write_text, written_by
from ...model.gpu import use_gpu
from ...scoring.bootstrap import RESAMPLES
from ...scoring.evaluation import EvaluationCounts
from ...training.recipes import BASE, read_recipes
from ..compare.compare import CORPUS, staging
from ..compare.documents import check_same
from ..compare.runs import Run, plan_runs, without_neighbours
from ..compare.work import Work
from .growth import measure_growth
from .growth_report import csv_text, draw
from .subsets import divided_subset, hold_out, mentions_by_type, nested_subsets, presence

#: Sizes in notes, None for all that are not in test.
SIZES = (20, 40, 80, None)
COMMAND, NAME = "learning-curve", "learning_curve"
TEST_FILE = "test.spacy"
#: What the folder of documents holds.
OWN = re.compile(rf"{re.escape(TEST_FILE)}|notes\d+-seed\d+")


def learning_curve(
    recipe: str,
    corpus: Path,
    output: Path,
    *,
    sizes: Sequence[int | None] = SIZES,
    seeds: Sequence[int] = (0,),
    base: Path = BASE,
    epochs: int = 0,
    encoder: str = "",
    lang: str = "",
    test: float | None = None,
    split_seed: int | None = None,
    resamples: int = RESAMPLES,
    gpu_id: int = -1,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Train a recipe on nested subsets of the notes, score all on one test part, and continue.

    A size counts all annotated notes: its dev part, a tenth that chooses the epoch, is taken from
    inside it. The recipe is trained as it is, with as many passes on few notes as on many, which is
    what whoever annotates more notes will do with it; few notes then mean few updates.

    Args:
        recipe: see `read_recipes`.
        corpus: see `subsets.hold_out`.
        output: folder of the runs and results; finished runs in it are kept.
        sizes: rising, at least two, each of at least 2 notes; None, the last, for all.
        seeds: of the draw of the notes and of the training, together.
        base: complete config that an overlay is merged over.
        epochs: in place of the recipe's, if not 0 and not empty.
        encoder: see `epochs`.
        lang: language of the notes; see `epochs`.
        test: share of the documents for test, 0.2 by default.
        split_seed: of that division, 0 by default.
        resamples: of the bootstrap over documents.
        gpu_id: GPU, or -1 for the CPU.
        say: told of every step.

    Returns:
        What learning_curve.json holds: the settings, the number of ``documents`` of test,
        ``sizes`` (``notes``, those in ``train`` and in ``dev``, and the mean number of their
        ``mentions``), and what `growth.measure_growth` returns.

    Raises:
        ClinicalNerError: sizes, recipe or corpus are at fault, matplotlib is missing, or the folder
            holds runs of other settings: nothing is trained then; or a run fails, after which
            another call goes on with it.
    """
    check_sizes(sizes)
    pictures = [output / f"{NAME}{end}" for end in (".png", ".svg")]
    results = [output / f"{NAME}{end}" for end in (".json", ".csv")]
    check_can_draw(pictures[0].name)
    own = is_written_by(results[0], COMMAND)
    for path in (*results, *pictures):
        check_replaceable(path, own=own)
    [read] = read_recipes([recipe], base)
    if lang:
        read.config["nlp"]["lang"] = lang
    use_gpu(gpu_id)
    pool, held_out, division = hold_out(corpus, test=test, seed=split_seed)
    notes = [len(pool) if size is None else size for size in sizes]
    if notes[-1] > len(pool) or notes[-2] >= notes[-1]:
        raise InputError(
            f"{corpus}: {len(pool)} documents are not in test, too few for the sizes "
            f"{', '.join('all' if size is None else str(size) for size in sizes)}. Give smaller "
            "sizes, or more documents."
        )
    shared: dict[str, Any] = {"epochs": epochs, "encoder": encoder}
    kept = output / CORPUS
    if kept.exists() and not all(OWN.fullmatch(path.name) for path in kept.iterdir()):
        raise InputError(
            f"{kept}: holds something else than documents of a learning curve, which would "
            "replace it. Name another output folder."
        )
    # By size, since a few notes lack labels that a recipe may not do without.
    plan: list[list[tuple[Run, Work]]] = [[] for _ in notes]
    sizes_of = [{"notes": size, "train": 0, "dev": 0, "mentions": 0.0} for size in notes]
    largest: Counter[str] = Counter()
    with staging(output) as folder:
        write_docbin(held_out, folder / CORPUS / TEST_FILE)
        holding = presence(pool)
        for seed in seeds:
            for number, rows in enumerate(nested_subsets(holding, notes, seed=seed)):
                parts = divided_subset([pool[row] for row in rows], seed=seed)
                place = f"notes{notes[number]}-seed{seed}"
                paths = {part: f"{place}/{part}.spacy" for part in parts} | {"test": TEST_FILE}
                for part, docs in parts.items():
                    write_docbin(docs, folder / CORPUS / paths[part])
                    sizes_of[number][part] = len(docs)
                mentions = {part: mentions_by_type(docs) for part, docs in parts.items()}
                if not all(of.total() for of in mentions.values()):
                    raise InputError(
                        f"{corpus}: {notes[number]} notes are too few, since those to train on or "
                        "those of dev hold no entity. Give larger sizes."
                    )
                largest = mentions["train"] + mentions["dev"]
                sizes_of[number]["mentions"] += largest.total() / len(seeds)
                data = {part: folder / CORPUS / path for part, path in paths.items()}
                named = replace(read, name=f"notes{notes[number]}-{read.name}")
                [run] = plan_runs([named], [seed], output, data=data, **shared)
                run.check()
                if run.recipe.neighbours:
                    without_neighbours(run).check()
                files = {part: kept / path for part, path in paths.items()}
                work = Work(files, mentions["train"], gpu_id=gpu_id, say=say, **shared)
                plan[number].append((run, work))
        # Not before: the documents of other runs stay where they are.
        check_same(folder / CORPUS / TEST_FILE, kept / TEST_FILE)
        shutil.rmtree(kept, ignore_errors=True)
        os.replace(folder / CORPUS, kept)
    run, work = plan[0][0]
    work.check([run])
    for run, work in chain.from_iterable(plan):
        work.finish(run, "test", ())
    counts = [[_own_counts(run) for run, _ in of_size] for of_size in plan]
    report = {
        "recipe": recipe,
        "base": str(base),
        "corpus": str(corpus),
        "split": division,
        "epochs": epochs or None,
        "encoder": encoder or None,
        "seeds": list(seeds),
        "resamples": resamples,
        "documents": len(held_out),
        "sizes": sizes_of,
        **measure_growth(notes, counts, largest, resamples=resamples),
        **written_by(COMMAND),
    }
    in_json = json.dumps(report, indent=2, sort_keys=True, allow_nan=False) + "\n"
    for path, text in zip(results, (in_json, csv_text(report)), strict=True):
        write_text(path, text)
    for picture in pictures:
        with replacing(picture) as temporary:
            draw(report, temporary, kind=picture.suffix[1:])
    return report


def check_sizes(sizes: Sequence[int | None]) -> None:
    """Raise ConfigError unless sizes are those of a curve: see `learning_curve`."""
    numbers = [size for size in sizes if size is not None]
    for size in numbers:
        check_number("sizes", size, least=2, integer=True)
    rising = numbers == sorted(set(numbers)) and None not in sizes[:-1]
    if len(sizes) < 2 or not rising:
        raise ConfigError(
            "sizes must be at least two, rising, with 'all' only as the last; got "
            f"{', '.join('all' if size is None else str(size) for size in sizes) or 'none'}."
        )


def _own_counts(run: Run) -> EvaluationCounts:
    own, decisions = run.read_counts("test")
    return decisions[own]
