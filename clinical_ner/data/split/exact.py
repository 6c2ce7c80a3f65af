"""Exact answers to what a division can reach, by integer programming with HiGHS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_array, diags, identity, kron

from .units import Units

#: Of the branch and bound. A limit of time would let the result depend on the machine.
NODE_LIMIT = 20


def exact_cover(units: Units, part_of: NDArray[np.intp], *, parts: int) -> NDArray[np.intp]:
    """Find the division in which the fewest labels are not in every part.

    Only labels count that as many units as parts hold; those in every part stay there. Of equal
    divisions it is one in which the fewest parts lack a label, of any label, and of these one with
    the fewest units in another part than before. Parts of documents keep their sizes, parts of
    groups at least one.

    part_of: the division to start from, without an empty part. *Shape:* ``(units,)``.
    parts: their number.

    RETURNS: the part of each unit; the best found if the search ends at its limit, and if it has
        found none, the part that each unit had.
    """
    held = _held(units, part_of, parts)
    required = (units.holding > 0).sum(axis=0) >= parts
    in_every_part = held.all(axis=1) & required
    of_lack = len(units) + 1
    return _solve(
        units,
        part_of,
        keep=np.repeat(in_every_part[:, None], parts, axis=1),
        required=required,
        sizes=units.documents.astype(np.float64) @ np.eye(parts)[part_of],
        sizes_fixed=units.are_documents,
        weights=(of_lack, of_lack * (held.size + 1), 0),
    )


def exact_sizes(
    units: Units, part_of: NDArray[np.intp], sizes: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Find the division whose parts are nearest to their sizes, and hold every label they held.

    Of equal divisions it is one with the fewest units in another part than before.

    part_of: the division to start from, without an empty part. *Shape:* ``(units,)``.
    sizes: documents that each part should have. *Shape:* ``(parts,)``.

    RETURNS: as `exact_cover`.
    """
    held = _held(units, part_of, len(sizes))
    return _solve(
        units,
        part_of,
        keep=held,
        required=np.zeros(len(held), dtype=bool),
        sizes=sizes,
        sizes_fixed=False,
        weights=(0, 0, len(units) + 1),
    )


def _held(units: Units, part_of: NDArray[np.intp], parts: int) -> NDArray[np.bool_]:
    """Whether parts hold labels. *Shape:* ``(labels, parts)``."""
    return units.holding.T @ np.eye(parts)[part_of] > 0


def _solve(
    units: Units,
    part_of: NDArray[np.intp],
    *,
    keep: NDArray[np.bool_],
    required: NDArray[np.bool_],
    sizes: NDArray[np.float64],
    sizes_fixed: bool,
    weights: tuple[float, float, float],
) -> NDArray[np.intp]:
    """Minimise the weighted sum of what is amiss, and of the units in another part than before.

    keep: labels that a part must hold. *Shape:* ``(labels, parts)``.
    required: labels that should be in every part. *Shape:* ``(labels,)``.
    sizes: documents that each part must (`sizes_fixed`) or should have. *Shape:* ``(parts,)``.
    weights: of a part that lacks a label, of a required label that is not in every part, and of a
        document too many or too few in a part; that of a unit in another part is 1.
    """
    labels, parts = keep.shape
    # Variables: unit u is in part p; part p lacks label l; label l is required and not in every
    # part; documents too many or too few in part p. Integers of the first make all integers.
    numbers = len(units) * parts, labels * parts, labels, parts
    per_part, once_per_part = identity(parts), np.ones((parts, 1))
    holders = kron((units.holding > 0).T.astype(np.float64), per_part)
    documents = kron(units.documents[None, :].astype(np.float64), per_part)
    of_required = diags(required.astype(np.float64))
    rows = block_array(
        [
            [kron(identity(len(units)), once_per_part.T), None, None, None],
            [kron(np.ones((1, len(units))), per_part), None, None, None],
            [holders, identity(labels * parts), None, None],
            [None, -kron(of_required, per_part), kron(of_required, once_per_part), None],
            [documents, None, None, identity(parts)],
            [-documents, None, None, identity(parts)],
        ],
        format="csr",
    )
    low = [np.ones(len(units) + parts + labels * parts), np.zeros(labels * parts), sizes, -sizes]
    high = np.full(rows.shape[0], np.inf)
    high[: len(units)] = 1  # each unit is in one part
    upper = [
        np.ones(numbers[0]),
        (~keep).ravel().astype(np.float64),
        np.ones(labels),
        np.full(parts, 0 if sizes_fixed else np.inf),
    ]
    costs = [1 - np.eye(parts)[part_of].ravel(), np.repeat(weights, numbers[1:])]
    found = milp(
        np.concatenate(costs),
        integrality=np.repeat([1, 0, 0, 0], numbers),
        bounds=Bounds(0, np.concatenate(upper)),
        constraints=LinearConstraint(rows, np.concatenate(low), high),
        options={"node_limit": NODE_LIMIT, "mip_rel_gap": 0},
    )
    if found.x is None:
        return part_of
    return np.asarray(found.x[: numbers[0]].reshape(-1, parts).argmax(axis=1), dtype=np.intp)
