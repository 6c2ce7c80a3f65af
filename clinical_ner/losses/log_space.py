"""Probabilities and functions of them in log space, exact at both ends."""

from __future__ import annotations

import numpy as np
from thinc.api import get_array_module

from ..arrays import log_softmax
from ..types import Logits

#: Stands for log 0 where -inf would make 0 * inf; far below any logarithm that occurs.
LOG_ZERO = -1e30


def log_probabilities(logits: Logits) -> tuple[Logits, Logits]:
    """Logarithms of p and of 1 - p, p the softmax over the last axis.

    Both keep their relative precision for p close to 0 and close to 1, where 1 - p in plain
    arithmetic is 0.

    Args:
        logits: -inf in columns that take no part. *Shape:* ``(n, K)``.

    Returns:
        Log p, -inf in columns of -inf, and log(1 - p), ``LOG_ZERO`` where no other column takes
        part. *Shape of each:* ``(n, K)``.
    """
    xp = get_array_module(logits)
    rows = xp.arange(logits.shape[0])
    top = logits.argmax(axis=-1)
    log_p = log_softmax(logits)
    rest = log_p.copy()
    rest[rows, top] = -xp.inf
    largest = xp.maximum(rest.max(axis=-1, keepdims=True), LOG_ZERO)
    # log 0 is meant here: at the top where p is 1, and where there is no rest.
    with np.errstate(divide="ignore"):
        log_rest = largest[:, 0] + xp.log(xp.exp(rest - largest).sum(axis=-1))
        log_not_p = xp.log1p(-xp.exp(log_p))
    log_rest = xp.maximum(log_rest, LOG_ZERO)
    log_not_p[rows, top] = log_rest
    # Where the top has most of the mass, its logarithm is better known from what it lacks.
    most = rows[log_rest < np.log(0.5)]
    log_p[most, top[most]] = xp.log1p(-xp.exp(log_rest[most]))
    return log_p, log_not_p


def backprop_log_odds(log_p: Logits, log_not_p: Logits, d_odds: Logits) -> Logits:
    """Gradient with respect to logits from that with respect to t_k = log p_k - log(1 - p_k).

    dt_k / dz_j is 1 for j = k and -p_j / (1 - p_k) else. The last is at most 1, though both of its
    parts may underflow, so that the one tag with most of the mass is divided in log space.

    ``log_p`` and ``log_not_p`` are what ``log_probabilities`` gives. *Shape of all:* ``(n, K)``.
    """
    xp = get_array_module(log_p)
    rows = xp.arange(log_p.shape[0])
    top = log_p.argmax(axis=-1)
    log_rest = log_not_p[rows, top][:, None]
    d_top = d_odds[rows, top][:, None]
    others = xp.array(log_not_p)
    others[rows, top] = 0.0
    per_tag = d_odds / xp.exp(others)
    per_tag[rows, top] = 0.0
    gradient = d_odds - xp.exp(log_p) * (per_tag.sum(axis=-1, keepdims=True) - per_tag)
    of_rest = log_p - log_rest
    of_rest[rows, top] = -xp.inf
    return gradient - d_top * xp.exp(of_rest)


def log_sigmoid(logits: Logits) -> Logits:
    """Logarithm of 1 / (1 + exp(-z)), for logits of any size. *Shape:* that of the logits."""
    xp = get_array_module(logits)
    return xp.minimum(logits, 0.0) - xp.log1p(xp.exp(-xp.abs(logits)))


def log_focal_factor(log_p: Logits, log_not_p: Logits, gamma: float) -> Logits:
    """Logarithm of A(p) = (1-p)^g - g p (1-p)^(g-1) log p, the pull of the focal loss.

    The gradient of -(1-p)^g log p is A times that of -log p. *Shape:* that of the arguments.
    """
    xp = get_array_module(log_p)
    return gamma * log_not_p + xp.log1p(gamma * xp.exp(log_p) * _ratio(log_p, log_not_p))


def focal_factor_slope(log_p: Logits, log_not_p: Logits, gamma: float) -> Logits:
    """Derivative of ``log_focal_factor`` with respect to the log-odds log p - log(1 - p).

    *Shape:* that of the arguments.
    """
    xp = get_array_module(log_p)
    p = xp.exp(log_p)
    p_ratio = p * _ratio(log_p, log_not_p)
    p_log = p * xp.maximum(log_p, LOG_ZERO)
    return -gamma * (2.0 * p + p_log + (gamma - 1.0) * p * p_ratio) / (1.0 + gamma * p_ratio)


def _ratio(log_p: Logits, log_not_p: Logits) -> Logits:
    """-log p / (1 - p), which is 1 in the limit p = 1."""
    xp = get_array_module(log_p)
    not_p = xp.exp(log_not_p)
    tiny = xp.finfo(log_p.dtype).tiny
    quotient = -xp.maximum(log_p, LOG_ZERO) / xp.maximum(not_p, tiny)
    return xp.where(not_p > tiny, quotient, xp.ones_like(not_p))
