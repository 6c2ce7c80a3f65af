"""Clinical named entity recognition for spaCy.

The steps from annotated notes to an installable model are functions, imported when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .annotate.predict import predict
    from .annotate.review import review
    from .annotate.table import annotate_table
    from .checks.check import check
    from .data.convert import convert
    from .data.split.split import split
    from .evaluation.evaluate import evaluate
    from .fitting.calibrate import calibrate
    from .fitting.final import final
    from .fitting.folds import folds
    from .fitting.tune import tune
    from .packaging.audit import audit
    from .packaging.card import card
    from .packaging.package import package
    from .training.train import train

__all__ = [
    "annotate_table",
    "audit",
    "calibrate",
    "card",
    "check",
    "convert",
    "evaluate",
    "final",
    "folds",
    "package",
    "predict",
    "review",
    "split",
    "train",
    "tune",
]
__version__ = "0.1.0"

_MODULES = {
    "annotate_table": "annotate.table",
    "audit": "packaging.audit",
    "calibrate": "fitting.calibrate",
    "card": "packaging.card",
    "check": "checks.check",
    "convert": "data.convert",
    "evaluate": "evaluation.evaluate",
    "final": "fitting.final",
    "folds": "fitting.folds",
    "package": "packaging.package",
    "predict": "annotate.predict",
    "review": "annotate.review",
    "split": "data.split.split",
    "train": "training.train",
    "tune": "fitting.tune",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
