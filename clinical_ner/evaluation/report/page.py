"""The page of a report: one HTML file that holds all it needs, and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from importlib.metadata import version
from math import inf, log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import shown, shown_label
from ...files import mark
from ...pipeline.recognizer import ClinicalNer
from ..headline import headline, remarks
from ..plots import what_is_found
from .candidates import Candidate, Candidates, Document
from .charts import specifications, type_title

if TYPE_CHECKING:
    from markupsafe import Markup

FOLDER = Path(__file__).parent
#: What a chart shows, in the order of the page.
CAPTIONS = {
    "types": "Scores by type (number in gold), under this decision",
    "reliability": "How often tokens and entities of a probability are right",
    "risk_coverage": "Precision and recall of what a threshold keeps",
    "prior_ratios": "Probability given to a type over its share in gold (gold tokens)",
    "confusion": "The types that are most often confused, with each other and with O (no entity)",
}


def page(
    metrics: Mapping[str, Any],
    candidates: Candidates,
    *,
    show_text: bool,
    card: str | None = None,
) -> str:
    """The page, as a text.

    Names in it are shown as everywhere; a label that does not look like one has no threshold, since
    the setting could not name it.

    Args:
        metrics: what ``metrics_of`` gives.
        candidates: of the same pass.
        show_text: whether the page holds the notes; if not, it holds no id and no offset either.
        card: of the model, as HTML.
    """
    import vl_convert
    from altair import SCHEMA_VERSION
    from jinja2 import Environment, FileSystemLoader

    # "v6.1.0" of the specifications is "6.1" of the bundle.
    vega_lite = ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    scripts = [
        vl_convert.javascript_bundle(vl_version=vega_lite),  # type: ignore[call-arg]
        (FOLDER / "page.js").read_text(encoding="utf-8"),
    ]
    specs = specifications(metrics, candidates.confusions)
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": _number, "json": _json}
    template = environment.get_template("page.html.jinja")
    return template.render(
        mark=mark("report"),
        version=version("clinical-ner"),
        model=shown(Path(metrics["model"]).name),
        data=shown(Path(metrics["data"]).name),
        metrics=metrics,
        what=what_is_found(metrics),
        scores=list(headline(metrics)),
        before=metrics["before_calibration"],
        remarks=remarks(metrics),
        captions={name: text for name, text in CAPTIONS.items() if name in specs},
        why_not=candidates.why_not,
        show_text=show_text,
        card=card,
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        content={**_content(metrics, candidates, show_text=show_text), "charts": specs},
    )


def _content(
    metrics: Mapping[str, Any], candidates: Candidates, *, show_text: bool
) -> dict[str, Any]:
    """What the page's script works on: numbers and labels, and with ``show_text`` the notes."""
    documents = candidates.documents
    support = Counter(of.label for document in documents for of in document.gold)
    names = {of.label for document in documents for of in document.candidates} | set(support)
    labels = sorted(names, key=lambda label: (-support[label], label))
    index = {label: number for number, label in enumerate(labels)}
    component = candidates.component
    content: dict[str, Any] = {
        "labels": [
            {
                "name": shown_label(label),
                "title": type_title(label, support[label]),
                "support": support[label],
                "threshold": candidates.thresholds.get(label, 0.0),
                "decided": component is not None
                and label in component.labels
                and label == shown_label(label),
            }
            for label in labels
        ],
        "name": None if component is None else component.name,
        "threshold": 0.0 if component is None else component.threshold,
        **_kept(component, index),
        "strengths": candidates.strengths,
        "own": candidates.own,
        "documents": [_numbers(document, index, candidates.thresholds) for document in documents],
    }
    if show_text:
        content["notes"] = [_note(document) for document in documents]
        content["orders"] = {
            "surprising": _order(documents, lambda of: _surprise(of, candidates)),
            "uncertain": _order(documents, lambda of: _doubt(of, candidates)),
            "file": list(range(len(documents))),
        }
    return content


def _kept(component: ClinicalNer | None, here: Container[str]) -> dict[str, Any]:
    """Own thresholds of types that are not here, and the number of those that no page may name."""
    thresholds = {} if component is None else component.thresholds
    return {
        "kept": {
            label: value
            for label, value in thresholds.items()
            if label not in here and label == shown_label(label)
        },
        "unnamed": sum(label != shown_label(label) for label in thresholds),
    }


def _numbers(
    document: Document, index: Mapping[str, int], thresholds: Mapping[str, float]
) -> dict[str, list[Any]]:
    """What scores are counted from; a list for each attribute is smaller than one for each span."""
    found = document.candidates
    return {
        "gold": [index[of.label] for of in document.gold],
        "label": [index[of.label] for of in found],
        "probability": [_short(of, thresholds.get(of.label, 0.0)) for of in found],
        "made": [of.made for of in found],
        "agrees": [of.gold for of in found],
    }


def _short(span: Candidate, threshold: float) -> float | None:
    """A probability in five digits, or in all where these reach another threshold of the page.

    Args:
        span: the span.
        threshold: that of its type in the pipeline, beside which the page has steps of 0.01.
    """
    if span.probability is None:
        return None
    short, exact = round(span.probability, 5), span.probability
    near = (threshold, round(exact, 2))
    return short if all((short >= one) == (exact >= one) for one in near) else exact


def _note(document: Document) -> dict[str, Any]:
    return {
        "id": shown(document.id),
        "text": document.text,
        "gold": [
            [of.start, of.end, None if of.probability is None else round(of.probability, 4)]
            for of in document.gold
        ],
        "found": [[of.start, of.end] for of in document.candidates],
    }


def _order(documents: Sequence[Document], key: Callable[[Document], float]) -> list[int]:
    """Numbers of the documents, those with the largest key first."""
    keys = [key(document) for document in documents]
    return sorted(range(len(documents)), key=lambda number: -keys[number])


def _surprise(document: Document, candidates: Candidates) -> float:
    """The largest -log p(what gold says) of an error; without probabilities their number."""
    wrong, missed = document.errors(candidates.own, candidates.thresholds)
    if candidates.component is None:
        return len(wrong) + len(missed)
    likely = [1.0 - of.probability for of in wrong if of.probability is not None]
    likely += [of.probability for of in missed if of.probability is not None]
    return max((-log(p) if p > 0 else inf for p in likely), default=0.0)


def _doubt(document: Document, candidates: Candidates) -> float:
    """The share of its entities that are expected to be wrong: the mean of 1 - p."""
    made = document.made(candidates.own, candidates.thresholds)
    doubts = [1.0 - of.probability for of in made if of.probability is not None]
    return sum(doubts) / len(doubts) if doubts else 0.0


def _json(value: Any) -> Markup:
    """JSON that no HTML parser takes for the end of its element."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _hash(script: str) -> str:
    """How a content security policy names the only scripts that may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
