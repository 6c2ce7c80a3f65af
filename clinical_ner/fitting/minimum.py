"""The minimum of a convex function within bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import missing_extra


def minimum(
    objective: Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]],
    start: NDArray[np.float64],
    *,
    bounds: Sequence[tuple[float | None, float | None]],
    options: Mapping[str, float],
) -> NDArray[np.float64]:
    """Minimize with L-BFGS-B, which scipy has and a loaded model does not need.

    Args:
        objective: gives the value and the gradient.
        start: where to begin. *Shape:* ``(n,)``.
        bounds: of each of the n parameters.
        options: when to stop, see ``scipy.optimize.minimize``.

    Returns:
        The parameters at the minimum. *Shape:* ``(n,)``.

    Raises:
        InputError: scipy is not installed.
    """
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise missing_extra("calibrate", "scipy", "train") from error
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x)
