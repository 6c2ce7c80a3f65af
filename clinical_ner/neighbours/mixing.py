"""The probability of a tag by its nearest neighbours, mixed into that of the model.

    p_knn(c | x) ~ sum over the k nearest of v_i [tag_i = c] exp(-d_i^2 / T)
    p(c | x) = r p_knn(c | x) + (1 - r) p_model(c | x)

The form is that of Khandelwal et al. 2020, Generalization through memorization: nearest neighbor
language models, eq. 3, with votes v_i that keep the prior (see `datastore`) and a temperature T.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import ClinicalNerError, check_numbers, number
from ..files import sha256
from ..types import LogProbs
from .datastore import Datastore, unusable


@dataclass(frozen=True)
class Neighbours:
    """A datastore and how much it has to say.

    Attributes:
        datastore: vectors of training tokens and their tags.
        k: number of neighbours, at least 1 and at most the size of the datastore.
        mixing: r in [0, 1], the share of the neighbours' probability.
        temperature: T > 0, in squared units of the vectors.

    Raises:
        ClinicalNerError: a number outside its range.
    """

    datastore: Datastore
    k: int = number(least=1, integer=True)
    mixing: float = number(least=0, most=1)
    temperature: float = number(above=0)

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_numbers(self)
        self.datastore.check_k(self.k)

    def log_probs(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """log p_knn(tag | vector), -inf for tags that no neighbour has. *Shape:* ``(n, K)``."""
        squared, rows = self.datastore.search(vectors, self.k)
        weights = self.datastore.votes[rows] * kernel(squared, self.temperature)
        n, n_tags = len(vectors), self.datastore.n_tags
        cells = np.arange(n)[:, None] * n_tags + self.datastore.tags[rows]
        sums = np.bincount(cells.ravel(), weights.ravel(), minlength=n * n_tags)
        shares = sums.reshape(n, n_tags) / weights.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            return np.log(shares)

    def mix(self, log_probs: LogProbs, vectors: NDArray[np.floating]) -> LogProbs:
        """log(r p_knn + (1 - r) p), -inf where both are 0.

        Args:
            log_probs: log p of the model. *Shape:* ``(n, K)``.
            vectors: of the same tokens. *Shape:* ``(n, width)``.

        Returns:
            In the dtype of ``log_probs``. *Shape:* ``(n, K)``.
        """
        return log_mixture(self.log_probs(vectors), log_probs, self.mixing).astype(log_probs.dtype)

    def to_bytes(self) -> bytes:
        """Everything as the content of an .npz file, without pickled objects."""
        buffer = BytesIO()
        np.savez(
            buffer,
            vectors=self.datastore.vectors,
            tags=self.datastore.tags,
            n_tags=np.int64(self.datastore.n_tags),
            outside_votes=np.float64(self.datastore.outside_votes),
            k=np.int64(self.k),
            mixing=np.float64(self.mixing),
            temperature=np.float64(self.temperature),
        )
        return buffer.getvalue()

    def digest(self) -> str:
        """SHA-256 of everything."""
        store = self.datastore
        numbers = store.n_tags, store.outside_votes, self.k, self.mixing, self.temperature
        as_text = repr([float(number) for number in numbers])
        return sha256(store.vectors.tobytes() + store.tags.tobytes() + as_text.encode())

    def save(self, path: Path) -> None:
        """Write what ``to_bytes`` gives."""
        path.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, file: Path | IO[bytes]) -> Neighbours:
        """Read what ``save`` wrote.

        Raises:
            ClinicalNerError: the file is damaged, or another.
        """
        # What the zip archive, numpy's header inside and its fields say to what is none.
        try:
            with np.load(file, allow_pickle=False) as stored:
                values = {name: stored[name] for name in stored.files}
            datastore = Datastore(
                values["vectors"],
                values["tags"],
                n_tags=int(values["n_tags"]),
                outside_votes=float(values["outside_votes"]),
            )
            return cls(
                datastore,
                k=int(values["k"]),
                mixing=float(values["mixing"]),
                temperature=float(values["temperature"]),
            )
        except ClinicalNerError:
            raise
        except (
            *(OSError, EOFError, zipfile.BadZipFile),
            *(AttributeError, KeyError, TypeError, ValueError),
        ) as error:
            raise unusable("not what clinical-ner neighbours writes") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Neighbours:
        """Read what ``to_bytes`` gave; see ``load``."""
        return cls.load(BytesIO(data))


def kernel(squared: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """exp(-(d_i^2 - d_1^2) / T): the nearest counts 1, so the sum over neighbours cannot vanish.

    Squared distances come with the nearest first. *Shape:* ``(n, k)``.
    """
    return np.exp(-(squared - squared[:, :1]) / temperature)


def log_mixture(
    first: NDArray[np.floating], second: NDArray[np.floating], share: float
) -> NDArray[np.float64]:
    """log(share exp(first) + (1 - share) exp(second)), -inf where both terms are 0."""
    with np.errstate(divide="ignore"):
        log_share, log_rest = np.log(share), np.log1p(-share)
    mixture: NDArray[np.float64] = np.logaddexp(
        np.asarray(first, dtype=np.float64) + log_share,
        np.asarray(second, dtype=np.float64) + log_rest,
    )
    return mixture
