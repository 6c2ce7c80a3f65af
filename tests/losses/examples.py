"""A small corpus of tags, the losses under test, and their definitions in torch's own terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, logsigmoid, one_hot, softmax

from clinical_ner.losses.asymmetric import Asymmetric
from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.losses.focal import Focal
from clinical_ner.losses.ldam import LDAM
from clinical_ner.losses.logit_adjusted import LogitAdjusted
from clinical_ner.losses.majority_or_minority import MajorityOrMinority
from clinical_ner.losses.self_adjusting_dice import SelfAdjustingDice
from clinical_ner.losses.soft_dice import SoftDice
from clinical_ner.losses.vector_scaling import VectorScaling
from clinical_ner.tags.scheme import begin_id, inside_id, tag_names
from clinical_ner.tags.statistics import TagStatistics

PRIOR = np.array([0.80, 0.12, 0.05, 0.02, 0.01])
#: Tokens per tag of four documents that differ in length and composition; together 1000 x PRIOR.
DOCUMENTS = np.array(
    [[400, 30, 5, 0, 0], [250, 20, 15, 15, 8], [100, 60, 20, 0, 0], [50, 10, 10, 5, 2]]
)
REDUCTIONS = ("tokens", "documents", "classes", "weights")
#: Settings of the weights of BTL.
WEIGHTINGS = {
    "paper": {},
    "none": {"weights": "none"},
    **{f"power-{a}": {"weights": "power", "power": a} for a in (0.0, 0.5, 1.0)},
}


def tags_of(counts) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def statistics_of(*documents) -> TagStatistics:
    statistics = TagStatistics()
    labels = [f"L{i}" for i in range((len(documents[0]) - 1) // 2)]
    statistics.count(labels, [tags_of(counts) for counts in documents])
    return statistics


def corpus() -> tuple[TagStatistics, np.ndarray, np.ndarray]:
    """Statistics, the tags of all tokens, and tokens per document."""
    tags = np.concatenate([tags_of(counts) for counts in DOCUMENTS])
    return statistics_of(*DOCUMENTS), tags, DOCUMENTS.sum(axis=1)


def overlapping_corpus() -> tuple[TagStatistics, list[np.ndarray], np.ndarray]:
    """Statistics, the tags of documents in which a token may be of both types, and their numbers.

    The tags of a document by token and type; the numbers by document and tag, O being no type. The
    types do not depend on each other; one document has none of the second.
    """
    generator = np.random.default_rng(7)
    documents, counts = [], []
    for n_tokens, *rates in ((400, 0.1, 0.0), (250, 0.3, 0.2), (180, 0.2, 0.05), (70, 0.4, 0.3)):
        columns = [
            generator.choice([0, begin_id(i), inside_id(i)], n_tokens, p=[1 - r, r / 3, r * 2 / 3])
            for i, r in enumerate(rates)
        ]
        documents.append(np.stack(columns, axis=1))
        numbers = np.bincount(documents[-1].ravel(), minlength=5)
        counts.append([(documents[-1] == 0).all(axis=1).sum(), *numbers[1:]])
    statistics = TagStatistics()
    statistics.count(["L0", "L1"], documents)
    return statistics, documents, np.array(counts)


def per_type(tags: np.ndarray, n_tags: int) -> np.ndarray:
    """Tags of one type at most, by token and type; -1 in all columns where masked."""
    columns = [np.where((tags + 1) // 2 == i, tags, 0) for i in range(1, n_tags // 2 + 1)]
    return np.where(tags[:, None] < 0, -1, np.stack(columns, axis=1))


def mean_shares(documents, tokens=None) -> dict[str, np.ndarray]:
    """Share of each tag, by the reduction of the loss that averages over it.

    documents: tokens of each tag in each document; tokens: all of each, by default their sum.
    """
    counts = np.asarray(documents, dtype=float)
    tokens = counts.sum(axis=1) if tokens is None else np.asarray(tokens)
    in_document = counts / tokens[:, None]
    return {"tokens": counts.sum(axis=0) / tokens.sum(), "documents": in_document.mean(axis=0)}


def batch_of(documents, label: str | None, tokens=None):
    """What a batcher says that draws these documents alike, all of them for one type.

    Arguments: see ``mean_shares``.
    """
    shares = mean_shares(documents, tokens)
    names = tag_names([f"L{i}" for i in range(len(shares["tokens"]) // 2)])
    own = [] if label is None else [names.index(f"{prefix}-{label}") for prefix in "BI"]
    odds = {
        reduction: {names[tag]: of[tag] / (1 - of[own].sum()) for tag in own}
        for reduction, of in shares.items()
    }
    by_name = {r: dict(zip(names, of.tolist(), strict=True)) for r, of in shares.items()}
    return {
        "type": label,
        "shares": by_name["tokens"],
        "document_shares": by_name["documents"],
        "batch_shares": by_name["tokens"],
        "batch_document_shares": by_name["documents"],
        "type_odds": odds["tokens"],
        "type_document_odds": odds["documents"],
    }


def class_counts(counts) -> np.ndarray:
    return np.array([counts[0], *(np.asarray(counts[1::2]) + np.asarray(counts[2::2]))])


def per_tag(per_class) -> torch.Tensor:
    return torch.tensor(np.concatenate([per_class[:1], np.repeat(per_class[1:], 2)]))


def torch_weights(scheme: Any, counts: np.ndarray, beta: float = 0.0) -> torch.Tensor:
    n = class_counts(counts).astype(float)
    share = n / n.sum()
    if isinstance(scheme, dict):
        return per_tag(np.array([scheme.get(c, 1.0) for c in ("O", "L0", "L1")]))
    if scheme == "effective_number":
        effective = (1 - beta**n) / (1 - beta)
        return per_tag((1 / effective) / (1 / effective).sum() * len(n))
    powers = {"none": share**0, "paper": 1 - share, "inverse": 1 / (len(n) * share)}
    powers["sqrt_inverse"] = powers["inverse"] ** 0.5
    return per_tag(powers[scheme])


@dataclass(frozen=True)
class Case:
    """A loss with settings.

    make: the loss, given reduction and tokens_per_batch.
    token_loss: the unweighted loss of each token in torch, of logits, gold and counts per tag.
    weights: weight of each tag in torch, from the counts.
    posterior: p(tag | text) up to a factor in torch, from logits and counts; None without.
    """

    make: Callable[..., Any]
    token_loss: Callable[..., torch.Tensor]
    weights: Callable[[np.ndarray], torch.Tensor]
    posterior: Callable[..., torch.Tensor] | None


def none(counts):
    return torch.ones(len(counts), dtype=torch.float64)


def weighted(scheme, beta=0.0):
    return lambda counts: torch_weights(scheme, counts, beta)


def log_prior(counts):
    return torch.tensor(np.log(np.asarray(counts) / np.sum(counts)))


def plain(z, y, counts):
    return cross_entropy(z, y, reduction="none")


def adjusted(tau):
    return lambda z, y, counts: plain(z + tau * log_prior(counts), y, counts)


def scaling(gamma, tau, z, counts):
    n = class_counts(counts)
    return z * per_tag((n / n.max()) ** gamma) + tau * log_prior(counts)


def focal(gamma):
    def token_loss(z, y, counts):
        ce = cross_entropy(z, y, reduction="none")
        return (1 - torch.exp(-ce)) ** gamma * ce

    return token_loss


def focal_posterior(gamma):
    def posterior(z, counts):
        p = softmax(z, -1)
        return p / ((1 - p) ** gamma - gamma * p * (1 - p) ** (gamma - 1) * torch.log(p))

    return posterior


def margins(max_margin, counts):
    raw = per_tag(class_counts(counts) ** -0.25)
    return raw / raw.max() * max_margin


def ldam(max_margin, scale):
    def token_loss(z, y, counts):
        lowered = z - one_hot(y, z.shape[1]) * margins(max_margin, counts)
        return cross_entropy(scale * lowered, y, reduction="none")

    return token_loss


def ldam_posterior(max_margin, scale):
    def posterior(z, counts):
        p = softmax(scale * z, -1)
        return p * (1 - p * (1 - torch.exp(-scale * margins(max_margin, counts))))

    return posterior


def asymmetric(positive, negative, margin):
    def token_loss(z, y, counts):
        gold = one_hot(y, z.shape[1])
        p = torch.sigmoid(z)
        present = -((1 - p) ** positive) * logsigmoid(z)
        if margin:
            shifted = torch.clamp(p - margin, min=0)
            absent = -(shifted**negative) * torch.log(1 - shifted)
        else:
            absent = -(p**negative) * logsigmoid(-z)
        return torch.where(gold.bool(), present, absent).sum(1)

    return token_loss


def asymmetric_posterior(positive, negative):
    def posterior(z, counts):
        p = torch.sigmoid(z)
        q = 1 - p
        a = q * (q**positive - positive * p * q ** (positive - 1) * torch.log(p))
        b = p * (p**negative - negative * q * p ** (negative - 1) * torch.log(q))
        return b / (a + b)

    return posterior


def self_adjusting(alpha, smoothing):
    def token_loss(z, y, counts):
        p = softmax(z, -1)
        gold = one_hot(y, z.shape[1])
        x = (1 - p) ** alpha * p
        return (1 - (2 * x * gold + smoothing) / (x + gold + smoothing)).sum(1)

    return token_loss


def exponential(z, counts):
    return softmax(z, -1)


TABLE = {"O": 0.2, "L1": 7.0}


def cross_entropies() -> dict[str, Case]:
    schemes = ("none", "paper", "inverse", "sqrt_inverse", TABLE)
    cases = {
        f"ce-{scheme if isinstance(scheme, str) else 'table'}": Case(
            lambda scheme=scheme, **kw: WeightedCrossEntropy(weights=scheme, **kw),
            plain,
            weighted(scheme),
            exponential,
        )
        for scheme in schemes
    }
    cases["ce-effective"] = Case(
        lambda **kw: WeightedCrossEntropy(weights="effective_number", beta=0.99, **kw),
        plain,
        weighted("effective_number", 0.99),
        exponential,
    )
    for tau in (0.0, 1.0, 1.7):
        cases[f"adjusted-{tau}"] = Case(
            lambda tau=tau, **kw: LogitAdjusted(tau=tau, **kw),
            adjusted(tau),
            none,
            lambda z, counts, tau=tau: softmax(z + tau * log_prior(counts), -1),
        )
    cases["majority"] = Case(
        lambda **kw: MajorityOrMinority(lam=0.3, **kw),
        plain,
        lambda counts: torch.tensor([1.0, 0.3, 0.3, 0.3, 0.3], dtype=torch.float64),
        exponential,
    )
    return cases


def further() -> dict[str, Case]:
    cases = {}
    for gamma, tau, scheme in ((0.3, 0.0, "none"), (0.2, 1.0, "inverse")):
        cases[f"scaling-{gamma}-{tau}"] = Case(
            lambda g=gamma, t=tau, s=scheme, **kw: VectorScaling(gamma=g, tau=t, weights=s, **kw),
            lambda z, y, c, g=gamma, t=tau: plain(scaling(g, t, z, c), y, c),
            weighted(scheme),
            lambda z, c, g=gamma, t=tau: softmax(scaling(g, t, z, c), -1),
        )
    for gamma, scheme in ((2.0, "none"), (0.5, "paper"), (1.0, TABLE)):
        cases[f"focal-{gamma}"] = Case(
            lambda g=gamma, s=scheme, **kw: Focal(gamma=g, weights=s, **kw),
            focal(gamma),
            weighted(scheme),
            focal_posterior(gamma),
        )
    for margin, scale, scheme in ((0.5, 1.0, "none"), (0.8, 3.0, "sqrt_inverse")):
        cases[f"ldam-{margin}-{scale}"] = Case(
            lambda m=margin, s=scale, w=scheme, **kw: LDAM(max_margin=m, scale=s, weights=w, **kw),
            ldam(margin, scale),
            weighted(scheme),
            ldam_posterior(margin, scale),
        )
    for a, b, margin in ((0.0, 4.0, 0.0), (1.0, 2.5, 0.0), (1.0, 4.0, 0.05), (0.0, 0.0, 0.2)):
        cases[f"asymmetric-{a}-{b}-{margin}"] = Case(
            lambda a=a, b=b, m=margin, **kw: Asymmetric(
                gamma_positive=a, gamma_negative=b, margin=m, **kw
            ),
            asymmetric(a, b, margin),
            none,
            None if margin else asymmetric_posterior(a, b),
        )
    for alpha, smoothing in ((1.0, 1.0), (0.4, 0.1)):
        cases[f"self-adjusting-{alpha}"] = Case(
            lambda a=alpha, s=smoothing, **kw: SelfAdjustingDice(alpha=a, smoothing=s, **kw),
            self_adjusting(alpha, smoothing),
            none,
            None,
        )
    return cases


#: Losses that are sums over tokens.
TOKEN_CASES = {**cross_entropies(), **further()}
WITH_POSTERIOR = {name: case for name, case in TOKEN_CASES.items() if case.posterior}
#: One of each class, for what holds of all.
ONE_OF_EACH: dict[str, Callable[..., Any]] = {
    **{
        name: TOKEN_CASES[name].make
        for name in (
            *("ce-table", "adjusted-1.0", "majority", "scaling-0.2-1.0", "focal-2.0"),
            *("ldam-0.8-3.0", "asymmetric-1.0-2.5-0.0", "asymmetric-1.0-4.0-0.05"),
            *("self-adjusting-1.0", "focal-0.5"),
        )
    },
    "soft-dice": SoftDice,
}


def reduce_in_torch(reduction, losses, weights, y, lengths, statistics, tokens_per_batch):
    """The reductions, of each labelled token's loss and weight; y and lengths with masked ones."""
    keep = y >= 0
    if reduction == "tokens":
        return (weights * losses).sum() / tokens_per_batch
    if reduction == "weights":
        return (weights * losses).sum() / weights.sum()
    if reduction == "classes":
        gold = y[keep]
        means = [(weights * losses)[gold == c].mean() for c in torch.unique(gold)]
        return torch.stack(means).mean()
    full = torch.zeros(len(y), dtype=torch.float64).masked_scatter(keep, weights * losses)
    total = 0.0
    for part, labelled in zip(full.split(lengths), keep.split(lengths), strict=True):
        if labelled.any():
            total = total + part.sum() / labelled.sum()
    return total / (tokens_per_batch * statistics.documents / statistics.total)


def torch_loss(case, reduction, z, y, lengths, statistics, tokens_per_batch):
    keep = y >= 0
    losses = case.token_loss(z[keep], y[keep], statistics.counts)
    weights = case.weights(statistics.counts)[y[keep]]
    return reduce_in_torch(
        reduction, losses, weights, y, list(lengths), statistics, tokens_per_batch
    )
