"""The test for bias: do losses give the training shares back when there is nothing to learn?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spacy.vocab import Vocab

from ... import __version__
from ...data.gold import read_gold
from ...errors import ConfigError, not_a_folder
from ...evaluation.plots import check_can_draw
from ...files import check_not_read, check_replaceable, is_written_by, replacing, written_by
from ...model.gpu import use_gpu
from .bias_plots import csv_text, draw, json_text
from .bias_test import JUDGED_FROM, TOLERANCE, StartProgress, run_bias_test
from .loss_choices import DEFAULT_LOSSES, OVERLAPPING_LOSSES, check_losses
from .one_pass import ENCODER, HEAD_PASSES, transformer
from .randomised import overlapping_text, permuted_corpus, random_text

SHARES = (0.99, 0.01)
#: Of the types alone.
OVERLAPPING_SHARES = (0.2, 0.1, 0.05, 0.01)
WORDS = 24_000


def bias(
    output: Path,
    *,
    shares: Sequence[float] | None = None,
    losses: Sequence[str] | None = None,
    overlaps: bool = False,
    corpus: Path | None = None,
    encoder: str = ENCODER,
    words: int = WORDS,
    seed: int = 0,
    gpu_id: int = -1,
    start_progress: StartProgress | None = None,
) -> dict[str, Any]:
    """Run the test for bias and write its four files, all or none.

    Args:
        output: folder of the files; those of an earlier call are replaced.
        shares: of O and of the types of random text, or of the types alone with ``overlaps``; by
            default ``SHARES`` or ``OVERLAPPING_SHARES``. Not with a corpus.
        losses: keys of ``LOSSES``; by default ``DEFAULT_LOSSES`` or ``OVERLAPPING_LOSSES``.
        overlaps: whether the types of random text are drawn each by itself. Not with a corpus.
        corpus: a .spacy file with gold entities in place of random text.
        encoder: public name or folder of a transformer.
        words: to train on.
        seed: of texts, weights and order. Equal arguments give equal results but for seconds.
        gpu_id: the GPU to use, -1 for the CPU.
        start_progress: called with the name of each loss and its words before its training; gives
            what is told of the words of each batch.

    Returns:
        What bias.json holds.

    Raises:
        ClinicalNerError: shares, losses, corpus, encoder, GPU or folder do not fit, or matplotlib
            is missing; nothing is written then.
    """
    check_can_draw("bias.png")
    if corpus is not None and (shares is not None or overlaps):
        raise ConfigError("Shares and overlaps are of random text: give them, or a corpus.")
    if losses is None:
        losses = OVERLAPPING_LOSSES if overlaps else DEFAULT_LOSSES
    check_losses(losses, overlaps=overlaps)
    if output.exists() and not output.is_dir():
        raise not_a_folder(output)
    own = is_written_by(output / "bias.json", "bias")
    for kind in ("json", "csv", "png", "svg"):
        if corpus is not None:
            check_not_read(output / f"bias.{kind}", corpus)
        check_replaceable(output / f"bias.{kind}", own=own)
    design = "permuted corpus"
    if corpus is not None:
        docs = read_gold(corpus, Vocab())
        data = permuted_corpus(docs, words=words, seed=seed, source=str(corpus))
    elif overlaps:
        design, shares = "random words, overlaps", shares or OVERLAPPING_SHARES
        data = overlapping_text(shares, words=words, seed=seed)
    else:
        design, shares = "random words", shares or SHARES
        data = random_text(shares, words=words, seed=seed)
    use_gpu(gpu_id)
    found = run_bias_test(
        data,
        losses,
        add_encoder=transformer(encoder),
        seed=seed,
        head_passes=0 if corpus is None else HEAD_PASSES,
        start_progress=start_progress,
    )
    results = {
        "settings": {
            "version": __version__,
            "design": design,
            "shares": None if shares is None else list(shares),
            "corpus": None if corpus is None else str(corpus),
            "encoder": encoder,
            "words": words,
            "seed": seed,
            "tolerance": list(TOLERANCE),
            "judged_from": JUDGED_FROM,
            **found.pop("training"),
        },
        **found,
        **written_by("bias"),
    }
    with ExitStack() as outputs:

        def temporary(name: str) -> Path:
            return outputs.enter_context(replacing(output / name))

        temporary("bias.csv").write_text(csv_text(results), encoding="utf-8")
        for kind in ("png", "svg"):
            draw(results, temporary(f"bias.{kind}"), kind=kind)
        # The last one is the first to be renamed: it says whose the others are.
        temporary("bias.json").write_text(json_text(results) + "\n", encoding="utf-8")
    return results
