"""Recipes trained on the same documents and seeds, in one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import not_a_folder
from ...evaluation.plots import check_can_draw
from ...files import (
    check_replaceable,
    is_written_by,
    replacing,
    scratch_folder,
    write_text,
    written_by,
)
from ...locks import leaving_no_empty_folder
from ...model.gpu import use_gpu
from ...scoring.bootstrap import RESAMPLES
from ...scoring.evaluation import RARE_MENTIONS, EvaluationCounts, evaluation_scores
from ...training.recipes import BASE, has_overlaps, read_recipes
from .comparison import Entry, compare_entries
from .comparison_report import csv_text, draw_types, markdown
from .documents import count_mentions, divide, keep
from .runs import Run, part_suffix, plan_runs, without_neighbours
from .work import Work

COMMAND = "compare"
#: Folder, in that of the comparison, of the documents converted and divided for it.
CORPUS = "corpus"


def compare(
    recipes: Sequence[str],
    corpus: Path,
    output: Path,
    *,
    seeds: Sequence[int] = (0,),
    base: Path = BASE,
    epochs: int = 0,
    encoder: str = "",
    lang: str = "",
    prior_strengths: Sequence[float] = (),
    dev: float | None = None,
    test: float | None = None,
    split_seed: int | None = None,
    score_on: str = "test",
    resamples: int = RESAMPLES,
    gpu_id: int = -1,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Train, evaluate and compare recipes, and write the results.

    Args:
        recipes: see `read_recipes`; the others are compared with the first.
        corpus: a brat folder, or a folder that holds train.spacy, dev.spacy and test.spacy.
        output: folder of the runs and results; finished runs in it are kept.
        seeds: of training; every recipe is trained with each.
        base: complete config that overlays are merged over.
        epochs: in place of the recipes', if not 0 and not empty.
        encoder: see `epochs`.
        lang: language of the notes; see `epochs`.
        prior_strengths: further decisions in [0, 1], each a row for every recipe with a posterior.
        dev: of the division of a brat folder; 0.1, 0.2 and 0 by default.
        test: see `dev`.
        split_seed: see `dev`.
        score_on: "test" or "dev".
        resamples: of the bootstrap over documents.
        gpu_id: GPU, or -1 for the CPU.
        say: told of every step.

    Returns:
        What comparison.json holds: the settings, ``documents`` scored, ``training_mentions`` by
        type, and the ``rows`` of `comparison.compare_entries`.

    Raises:
        ClinicalNerError: a recipe or the corpus is at fault, matplotlib is missing, or the folder
            holds runs of other settings: nothing is trained then; or a run fails, after which
            another call goes on with it.
    """
    suffix = part_suffix(score_on)
    results = [output / f"comparison{suffix}{end}" for end in (".json", ".csv", ".md")]
    pictures = [output / f"types{suffix}{end}" for end in (".png", ".svg")]
    check_can_draw(pictures[0].name)
    own = is_written_by(results[0], COMMAND)
    for path in (*results, *pictures):
        check_replaceable(path, own=own)
    read = read_recipes(list(recipes), base)
    for recipe in read:
        if lang:
            recipe.config["nlp"]["lang"] = lang
    use_gpu(gpu_id)
    with staging(output) as folder:
        files, division = divide(
            *(corpus, folder),
            lang=read[0].config["nlp"]["lang"],
            dev=dev,
            test=test,
            seed=split_seed,
            overlaps=any(has_overlaps(recipe.config) for recipe in read),
        )
        mentions = count_mentions(files["train"])
        for part in ("dev", score_on):
            count_mentions(files[part])
        plan = plan_runs(read, seeds, output, data=files, epochs=epochs, encoder=encoder)
        for run in plan:
            run.check()
            if run.recipe.neighbours:
                without_neighbours(run).check()
        # Not before: the documents of other runs stay where they are.
        if division is not None:
            files = keep(folder, output / CORPUS)
    work = Work(files, mentions, epochs=epochs, encoder=encoder, gpu_id=gpu_id, say=say)
    work.check(plan)
    for run in plan:
        work.finish(run, score_on, prior_strengths)
    entries = _entries(plan, score_on, prior_strengths)
    first = next(iter(entries[0].counts.values()))
    comparison = {
        "base": str(base),
        "corpus": str(corpus),
        "split": division,
        "scored_on": score_on,
        "epochs": epochs or None,
        "encoder": encoder or None,
        "resamples": resamples,
        "documents": len(first.documents),
        "training_mentions": dict(sorted(mentions.items())),
        "rare_mentions": RARE_MENTIONS,
        "rare_types": evaluation_scores(first)["ents_macro_rare_types"],
        "rows": compare_entries(entries, resamples=resamples, seed=0),
        **written_by(COMMAND),
    }
    in_json = json.dumps(comparison, indent=2, sort_keys=True, allow_nan=False) + "\n"
    for path, text in zip(
        results, (in_json, csv_text(comparison), markdown(comparison)), strict=True
    ):
        write_text(path, text)
    for picture in pictures:
        with replacing(picture) as temporary:
            draw_types(comparison, temporary, kind=picture.suffix[1:])
    return comparison


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A folder in the output's, gone at the end; and the output's too if it is left empty."""
    if output.exists() and not output.is_dir():
        raise not_a_folder(output)
    with leaving_no_empty_folder(output / CORPUS), scratch_folder(output / CORPUS) as folder:
        yield folder


def _entries(plan: Sequence[Run], part: str, strengths: Sequence[float]) -> list[Entry]:
    """Rows of the table: each recipe as it decides, then at the further prior strengths."""
    runs: dict[str, list[Run]] = {}
    for run in plan:
        runs.setdefault(run.recipe.name, []).append(run)
    entries = []
    for name, of_recipe in runs.items():
        rates = {run.seed: run.words_per_second for run in of_recipe}
        counts: dict[float | None, dict[int, EvaluationCounts]] = {}
        for run in of_recipe:
            own, decisions = run.read_counts(part)
            wanted = [own] if own is None else [own, *(s for s in strengths if s != own)]
            for strength in wanted:
                counts.setdefault(strength, {})[run.seed] = decisions[strength]
        for number, (strength, by_seed) in enumerate(counts.items()):
            row = name if number == 0 else f"{name}, s = {strength:g}"
            entries.append(Entry(row, name, strength, by_seed, rates))
    return entries
