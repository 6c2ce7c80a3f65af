from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from clinical_ner.errors import InputError
from clinical_ner.fitting.minimum import minimum


def parabola(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    return float(((x - 3.0) ** 2).sum()), 2 * (x - 3.0)


def test_it_is_found_within_the_bounds() -> None:
    found = minimum(parabola, np.zeros(2), bounds=[(None, None), (None, 1.0)], options={})
    assert found == pytest.approx([3.0, 1.0])


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    message = r"^calibrate needs scipy: pip install 'clinical-ner\[train\]'\.$"
    with pytest.raises(InputError, match=message):
        minimum(parabola, np.zeros(1), bounds=[(None, None)], options={})
