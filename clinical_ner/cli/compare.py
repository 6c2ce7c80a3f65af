"""clinical-ner compare: recipes trained on the same documents and seeds, in one table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..decoding.decision import check_prior_strength
from ..errors import cannot_be_written, not_a_folder
from ..files import replacing
from ..pipeline.gpu import use_gpu
from ..research.compare.comparison import Entry
from ..research.compare.comparison import compare as compare_entries
from ..research.compare.comparison_report import (
    COLUMNS,
    RATE,
    cell,
    check_can_draw,
    csv_text,
    draw_types,
    markdown,
    notes,
    row_name,
)
from ..research.compare.documents import count_mentions, divide, keep
from ..research.compare.runs import Run, part_suffix, plan_runs, without_neighbours
from ..research.compare.work import Work, training_rate
from ..scoring.bootstrap import RESAMPLES
from ..scoring.evaluation import RARE_MENTIONS, EvaluationCounts, evaluation_scores
from ..training.recipes import read_recipes
from ._app import app

BASE = Path("configs/minilm.cfg")
#: Folder, in that of the comparison, of the documents converted and divided for it.
CORPUS = "corpus"
#: Columns of a table that goes to a file, which has no width of its own.
WIDTH = 150


def _seeds(text: str) -> list[int]:
    """Parse comma-separated seeds."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise typer.BadParameter(f"whole numbers, not {text!r}", param_hint="'--seeds'")
    seeds = [int(part) for part in text.split(",")]
    if len(set(seeds)) < len(seeds) or max(seeds) >= 2**32:
        raise typer.BadParameter(f"each once and below 2**32, not {text!r}", param_hint="'--seeds'")
    return seeds


def _strengths(text: str) -> list[float]:
    """Parse comma-separated prior strengths; none in an empty text."""
    try:
        strengths = [check_prior_strength(float(part)) for part in text.split(",") if text.strip()]
    except ValueError as error:
        raise typer.BadParameter(
            f"numbers in [0, 1], not {text!r}", param_hint="'--prior-strengths'"
        ) from error
    return list(dict.fromkeys(strengths))


@app.command("compare", no_args_is_help=True)
def compare_cli(
    recipes: list[str] = typer.Argument(
        ..., metavar="RECIPE...", help="A .cfg file, or a name in the folder recipes/ of the base."
    ),
    corpus: Path = typer.Option(
        ..., "--corpus", help="Folder of annotated notes (brat), or one that split wrote."
    ),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for runs and results."),
    seeds: str = typer.Option("0", "--seeds", help="Seeds of training, with commas."),
    base: Path = typer.Option(BASE, "--base", help="The config that overlays change."),
    epochs: int = typer.Option(0, "--epochs", min=0, help="Passes; 0: as the recipes say."),
    encoder: str = typer.Option(
        "", "--encoder", help="Transformer in place of the recipes'; empty: their own."
    ),
    prior_strengths: str = typer.Option(
        "", "--prior-strengths", help="Further decisions of each model, with commas, in [0, 1]."
    ),
    dev: float | None = typer.Option(None, "--dev", help="Share of dev.  [default: 0.1]"),
    test: float | None = typer.Option(None, "--test", help="Share of test.  [default: 0.2]"),
    split_seed: int | None = typer.Option(
        None, "--split-seed", min=0, max=2**32 - 1, help="Seed of the division.  [default: 0]"
    ),
    score_on: str = typer.Option(
        "test", "--score-on", help="The part that is scored: test or dev."
    ),
    resamples: int = typer.Option(
        RESAMPLES, "--resamples", min=1, help="Bootstrap resamples behind the intervals."
    ),
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the comparison as JSON on stdout."),
) -> None:
    """Train recipes on the same documents and seeds, and compare them with the first.

    A recipe is a complete config, or an overlay of a few lines that changes the base; with the
    suffix +neighbours its trained model gets a memory of its training tokens. All recipes are
    checked before the first training. A finished run is kept: called again, the command goes on
    where it was stopped.

    \b
    Writes into OUTPUT:
      NAME-seedS/       model, training.json, metrics.json and counts.json of each run
      comparison.json   scores with intervals and paired differences, also as .csv and .md
      types.png, .svg   F1 of each type, the commonest in training first
    With --score-on dev the results, but not the models, have -dev in their names.

    \b
    Example:
      clinical-ner compare plain paper_weights logit_adjusted --corpus corpus/case_reports \\
        --seeds 0,1 --prior-strengths 0.75,0.5 --output training/compare
    """
    if score_on not in ("test", "dev"):
        raise typer.BadParameter("choose test or dev", param_hint="'--score-on'")
    comparison = compare(
        recipes,
        corpus,
        output,
        seeds=_seeds(seeds),
        base=base,
        epochs=epochs,
        encoder=encoder,
        prior_strengths=_strengths(prior_strengths),
        dev=dev,
        test=test,
        split_seed=split_seed,
        score_on=score_on,
        resamples=resamples,
        gpu_id=gpu_id,
        say=_say if sys.stderr.isatty() else lambda message: None,
    )
    if as_json:
        print(_json(comparison))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(_table(comparison))
    for note in notes(comparison):
        console.print(Text(note))


def compare(
    recipes: Sequence[str],
    corpus: Path,
    output: Path,
    *,
    seeds: Sequence[int] = (0,),
    base: Path = BASE,
    epochs: int = 0,
    encoder: str = "",
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

    recipes: see `read_recipes`; the others are compared with the first.
    corpus: a brat folder, or a folder that holds train.spacy, dev.spacy and test.spacy.
    output: folder of the runs and results; finished runs in it are kept.
    seeds: of training; every recipe is trained with each.
    base: complete config that overlays are merged over.
    epochs, encoder: in place of the recipes', if not 0 and not empty.
    prior_strengths: further decisions in [0, 1], each a row for every recipe with a posterior.
    dev, test, split_seed: of the division of a brat folder; 0.1, 0.2 and 0 by default.
    score_on: "test" or "dev".
    resamples: of the bootstrap over documents.
    gpu_id: GPU, or -1 for the CPU.
    say: told of every step.

    RETURNS: what comparison.json holds: the settings, ``documents`` scored, ``training_mentions``
        by type, and the ``rows`` of `experiments.comparison.compare`.
    RAISES ClinicalNerError: a recipe or the corpus is at fault, matplotlib is missing, or the
        folder holds runs of other settings: nothing is trained then; or a run fails, after which
        another call goes on with it.
    """
    suffix = part_suffix(score_on)
    pictures = [output / f"types{suffix}{end}" for end in (".png", ".svg")]
    check_can_draw(pictures[0].name)
    read = read_recipes(list(recipes), base)
    use_gpu(gpu_id)
    with _staging(output) as staging:
        files, division = divide(corpus, staging, dev=dev, test=test, seed=split_seed)
        mentions = count_mentions(files["train"])
        for part in ("dev", score_on):
            count_mentions(files[part])
        plan = plan_runs(read, list(seeds), output, data=files, epochs=epochs, encoder=encoder)
        for run in plan:
            run.check()
            if run.recipe.neighbours:
                without_neighbours(run).check()
        # Not before: the documents of other runs stay where they are.
        files = keep(files, staging, output / CORPUS)
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
    }
    texts = {".json": _json(comparison) + "\n", ".csv": csv_text(comparison)}
    texts[".md"] = markdown(comparison)
    for end, text in texts.items():
        with replacing(output / f"comparison{suffix}{end}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    for picture in pictures:
        with replacing(picture) as temporary:
            draw_types(comparison, temporary, kind=picture.suffix[1:])
    return comparison


@contextmanager
def _staging(output: Path) -> Iterator[Path]:
    """A folder in the output's, gone at the end; and the output's too if it is left empty."""
    if output.exists() and not output.is_dir():
        raise not_a_folder(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise cannot_be_written(output, reason) from error
    try:
        with TemporaryDirectory(dir=output, prefix=".corpus-") as folder:
            yield Path(folder)
    finally:
        with suppress(OSError):
            output.rmdir()


def _entries(plan: Sequence[Run], part: str, strengths: Sequence[float]) -> list[Entry]:
    """Rows of the table: each recipe as it decides, then at the further prior strengths."""
    runs: dict[str, list[Run]] = {}
    for run in plan:
        runs.setdefault(run.recipe.name, []).append(run)
    entries = []
    for name, of_recipe in runs.items():
        rates = {run.seed: training_rate(run) for run in of_recipe}
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


def _json(comparison: dict[str, Any]) -> str:
    return json.dumps(comparison, indent=2, sort_keys=True, allow_nan=False)


def _table(comparison: dict[str, Any]) -> Table:
    """The scores, a recipe per row."""
    table = Table("recipe", show_lines=True)
    for title, _, _ in COLUMNS.values():
        table.add_column(title, justify="right")
    table.add_column(RATE, justify="right")
    rows = comparison["rows"]
    for row in rows:
        cells = [Text("\n".join(cell(name, row, is_first=row is rows[0]))) for name in COLUMNS]
        table.add_row(Text(row_name(row)), *cells, f"{row['words_per_second']:.0f}")
    return table


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
