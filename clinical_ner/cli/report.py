"""clinical-ner report: a page of a pipeline's scores on annotated documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..evaluation.report.make_report import make_report
from ..files import check_not_read, read_text
from ..packaging.model_card import as_html
from ..scoring.bootstrap import RESAMPLES
from ._app import app
from ._shared import GpuId, Model, Overwrite, say, track


@app.command("report")
def report_cli(
    model: Model,
    data: Annotated[
        Path, typer.Argument(metavar="DATA.spacy", help="Documents with gold entities.")
    ],
    output: Path = typer.Option(
        ..., "--output", "-o", help="HTML file; that of an earlier call is replaced."
    ),
    show_text: bool = typer.Option(
        False, "--show-text", help="Put the notes into the page, with gold against predicted."
    ),
    card: Path | None = typer.Option(
        None, metavar="CARD.md", help="Put this card into the page, as clinical-ner card writes it."
    ),
    resamples: int = typer.Option(
        RESAMPLES, min=1, help="Bootstrap resamples behind the intervals."
    ),
    seed: int = typer.Option(0, min=0, help="Seed of the bootstrap."),
    gpu_id: GpuId = -1,
    overwrite: Overwrite = False,
) -> None:
    """Show a pipeline's scores on annotated documents as a page that decides again.

    One HTML file, which opens without a network: the scores of clinical-ner evaluate with their
    intervals, charts, and sliders for the prior strength and the threshold of each type, under
    which entities are made, and scored, again in the page. The setting can be copied into the
    model's config.

    Without --show-text it holds no text, id or offset of a note. With it, it holds the notes: keep
    it where these may be.

    \b
    Example:
      clinical-ner report training/model-final corpus/test.spacy --output report.html
    """
    if card is not None:
        check_not_read(output, card)
    make_report(
        model,
        data,
        output,
        show_text=show_text,
        card=None if card is None else as_html(read_text(card)),
        overwrite=overwrite,
        resamples=resamples,
        seed=seed,
        gpu_id=gpu_id,
        track=track,
    )
    say(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
