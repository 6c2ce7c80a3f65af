"""Write the card of a model, from what the model and the files of its scores say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spacy.language import Language

from ..errors import ClinicalNerError, InputError
from ..files import check_not_read, check_replaceable, is_written_by, write_text
from ..model.encoder import encoder_names, published_name, restore_encoder_names
from ..pipeline.loading import CARD, files_of, load_pipeline
from .corpus_card import corpus_card, guideline_of, read_definitions
from .figures import (
    check_of_model,
    check_same,
    figures,
    not_metrics,
    out_of_fold_scores,
    read_membership,
    read_metrics,
    scored_on,
)
from .model_card import entity_types, model_card, sources


def card(
    model: str | Path,
    *,
    metrics: str | Path | None = None,
    audit_report: str | Path | None = None,
    corpus: str | Path | None = None,
    definitions: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> str:
    """Write the card of a model in Markdown; `model_card.as_html` makes HTML of it.

    A packaged model holds all that its card says; files that are given must say the same.

    Args:
        model: a pipeline's folder, or the name of an installed package.
        metrics: scores on held-out documents, as `evaluate` or `folds` writes them; needed for a
            model that is not packaged.
        audit_report: what `audit` wrote, for the membership.
        corpus: folder of what the model was trained on, whose README.md may state its name,
            license and guideline; needed for a model that is not packaged.
        definitions: file with a table of labels and definitions, see `read_definitions`; by default
            those of the package, or of the corpus' guideline.
        output: file for the card.
        overwrite: replace another file than an earlier card, too.

    Returns:
        The card.

    Raises:
        ClinicalNerError: an input is missing, is not what it should be, or has other figures than
            the model. Nothing is written then.
    """
    if output is not None:
        given = [Path(path) for path in (metrics, audit_report, definitions) if path]
        about = [] if corpus is None else [Path(corpus) / "README.md", guideline_of(Path(corpus))]
        check_not_read(Path(output), *given, *filter(None, about), *files_of(model))
        own_card = is_written_by(Path(output), "card")
        check_replaceable(Path(output), own=own_card, overwrite=overwrite)
    nlp = restore_encoder_names(load_pipeline(model))
    folder = None if corpus is None else Path(corpus)
    own = nlp.meta.get(CARD)
    if not own and (metrics is None or folder is None):
        raise InputError(
            f"{model}: is not packaged, so that it does not hold its scores and sources. Give "
            "--metrics and --corpus."
        )
    if folder is not None:
        made_of = sources(corpus_card(folder), [published_name(of) for of in encoder_names(nlp)])
        if own and nlp.meta["sources"] != made_of:
            raise InputError(
                f"{folder}: its name, license or address is not what the model says of its "
                "corpus. Omit --corpus, or package the model again."
            )
        nlp.meta["sources"] = made_of
    described = dict(own or {})
    if metrics is not None:
        described |= scores_of(nlp, Path(metrics), read_metrics(Path(metrics)))
    described["definitions"] = definitions_of(
        nlp, folder, None if definitions is None else Path(definitions)
    )
    nlp.meta[CARD] = described
    nlp.meta.setdefault("training_notes", {"searched": False, "membership": None})
    if audit_report is not None:
        measured = read_membership(Path(audit_report))
        if own and nlp.meta["training_notes"]["membership"] is not None:
            check_same(Path(audit_report), measured, nlp.meta["training_notes"]["membership"])
        nlp.meta["training_notes"] |= {"membership": measured}
    name = Path(model).resolve().name if Path(model).exists() else str(model)
    try:
        text = model_card(nlp, name, packaged=bool(own))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise _not_shown(model, metrics) from error
    if output is not None:
        write_text(Path(output), text)
    return text


def scores_of(nlp: Language, path: Path, scores: dict[str, Any]) -> dict[str, Any]:
    """What the card of a pipeline says of the scores of a file.

    Args:
        nlp: the pipeline; the scores that its package or `final` gave it must be the same.
        path: the file.
        scores: what it holds.

    Returns:
        The ``scores`` that the card shows, and what they are ``scored_on``.

    Raises:
        InputError: they are those of another model, or no scores.
    """
    of_all = "final" in nlp.meta
    out_of_fold = of_all and "folds" in scores
    try:
        shown = figures(out_of_fold_scores(scores) if out_of_fold else scores)
        where = scored_on(scores, of_all)
        check_of_model(path, shown, nlp)
        if own := nlp.meta.get(CARD):
            check_same(path, shown, own["scores"])
        elif out_of_fold:
            known = nlp.meta["performance"]
            check_same(path, {key: of for key, of in shown.items() if key in known}, known)
    except ClinicalNerError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # Numbers that are texts, tables that are lists.
        raise not_metrics(path) from error
    return {"scores": shown, "scored_on": where}


def definitions_of(nlp: Language, corpus: Path | None, path: Path | None) -> dict[str, str]:
    """Definitions of the labels of a pipeline, from a file, its package, or its corpus' guideline.

    Raises:
        InputError: see `read_definitions`.
    """
    if path is None and (own := nlp.meta.get(CARD)):
        return dict(own["definitions"])
    if path is None and corpus is not None:
        path = guideline_of(corpus)
    return {} if path is None else read_definitions(path, entity_types(nlp))


def _not_shown(model: str | Path, metrics: str | Path | None) -> InputError:
    """Figures that are no numbers: those of a file, or those that a model was given."""
    if metrics is not None:
        return not_metrics(Path(metrics))
    return InputError(f"{model}: what it says of its scores is damaged. Package it again.")
