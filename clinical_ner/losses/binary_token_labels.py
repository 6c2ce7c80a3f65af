"""Binary token labels (BTL): in a batch, one entity type against O."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module

from ..arrays import as_like
from ..errors import ConfigError, check_choice
from ..tags.batch_sampling import BatchSampling
from ..tags.scheme import OUTSIDE, begin_id, class_index, inside_id
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .base import TokenLoss

WEIGHTS = ("paper", "none")
OTHERS = ("masked", "outside")


@dataclass(kw_only=True, eq=False)
class BinaryTokenLabels(TokenLoss):
    """In a batch for type m, cross-entropy over the columns O, B-m and I-m (after arXiv 2409.03238;
    what it does with other types is our definition).

    Tokens of other types are masked, and other columns get gradient 0. Batches for one type come
    from ``clinical_ner.batch_by_entity.v1``, which says at which odds it draws the tags. With no
    signal p_c / p_O is (w_c / w_O) odds_c, so that z - log(w_c / w_O) leads back to these odds,
    and the sampling shift from them to the prior. A type that never had a batch has probability 0.

    Attributes:
        weights: paper (1 - share: w_O is the share of m among the kept tokens, w_B-m = w_I-m that
            of O, arXiv 2409.03238) or none.
        scale_types: divide the loss by the expected weight of a kept token, so that batches of all
            types pull alike; without it, paper weights make a batch for type m weigh 2 share_O
            share_m, as many as its mentions. A constant per type, it leaves the inverse exact.
            Tried on 41 types of real reports: the few tokens of the rarest types then weigh
            hundreds of times as much as others, and nothing was learned in the first epochs.
        others: what tokens of other types are: masked, or "outside", which counts them as O and has
            no way back to the empirical probability.
        reduction: see ``EntityLoss``; a document's mean is over its kept tokens.

    Raises:
        ClinicalNerError: an unknown setting.
    """

    weights: str = "paper"
    scale_types: bool = False
    others: str = "masked"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        check_choice("weights", self.weights, WEIGHTS)
        check_choice("others", self.others, OTHERS)

    @property
    def has_posterior(self) -> bool:
        """Only where other types are masked; see also the base class."""
        return super().has_posterior and self.others == "masked"

    def training_odds(self) -> NDArray[np.float64]:
        """Odds of each tag against O in batches of its type, those of O alone before any batch.

        *Shape:* ``(K,)``.
        """
        if self.reduction == "documents":
            odds = self.statistics.type_document_odds
        else:
            odds = self.statistics.type_odds
        return self.statistics.by_tag({"O": 1.0}) if odds is None else odds

    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits minus log(w_c / w_O), -inf for types that had no batch. *Shape:* ``(n, K)``.

        Raises:
            ClinicalNerError: other types count as O.
        """
        if self.others == "outside":
            raise self._no_posterior()
        odds = self.training_odds()
        classes = class_index(len(odds))
        of_class = np.bincount(classes, weights=odds)[classes]
        offset = np.zeros(len(odds))
        offset[of_class <= 0] = -np.inf
        if self.weights == "paper":
            # w_c / w_O = share_O / share_m, the inverse of the type's odds.
            entity = (classes != OUTSIDE) & (of_class > 0)
            offset[entity] = np.log(of_class[entity])
        return self._without_unseen(logits) + as_like(offset, logits)

    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        if batch is None or batch["type"] is None:
            raise ConfigError(
                "BTL needs batches for one entity type: set training.batcher to "
                "clinical_ner.batch_by_entity.v1."
            )
        own = _tags_of(self.statistics, batch["type"])
        xp = get_array_module(guesses)
        is_own = (truths == own[0]) | (truths == own[1])
        # -1 stays -1, and O stays O, either way.
        rest = xp.minimum(truths, OUTSIDE) if self.others == "outside" else truths
        kept = xp.where(is_own, truths, xp.where(rest <= OUTSIDE, rest, -1))
        columns = [OUTSIDE, *own]
        logits = xp.full_like(guesses, -xp.inf)
        logits[:, columns] = guesses[:, columns]
        return super()._gradient_and_loss(logits, kept, lengths, batch)

    def _weights_in(self, batch: BatchSampling | None) -> NDArray[np.float64]:
        """Weight of each tag in batches of a type. *Shape:* ``(K,)``."""
        assert batch is not None
        own = _tags_of(self.statistics, batch["type"])
        share_outside, share_own = self._shares(own, batch)
        weights = np.ones(len(self.statistics.counts))
        if self.weights == "paper":
            weights[OUTSIDE] = share_own
            weights[own] = share_outside
        if self.scale_types:
            weights /= share_outside * weights[OUTSIDE] + share_own * weights[own[0]]
        return weights

    def _shares(self, own: list[int], batch: BatchSampling) -> tuple[float, float]:
        """Expected shares of O and of the type among the kept tokens of its batches."""
        if self.others == "masked":
            odds = float(self.training_odds()[own].sum())
            share_own = odds / (1.0 + odds) if np.isfinite(odds) else 1.0
        else:
            share_own = float(self._batch_shares(batch)[own].sum())
        if not self.statistics.seen[OUTSIDE] or share_own >= 1.0:
            missing = "outside entities"
        elif share_own <= 0.0:
            missing = "of that type"
        else:
            return 1.0 - share_own, share_own
        raise ConfigError(
            f"BTL cannot learn '{batch['type']}': the documents drawn for it hold no token "
            f"{missing}. Leave the type out of the corpus, or choose another loss."
        )


def _tags_of(statistics: TagStatistics, label: str | None) -> list[int]:
    """Ids of the begin and inside tags of a type.

    Raises:
        ClinicalNerError: the corpus lacks the type.
    """
    if label not in statistics.labels:
        known = ", ".join(statistics.labels)
        raise ConfigError(
            f"BTL was given a batch for the entity type '{label}', which the corpus lacks. Its "
            f"types are: {known}."
        )
    index = statistics.labels.index(label)
    return [begin_id(index), inside_id(index)]
