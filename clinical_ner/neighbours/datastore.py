"""The vectors of training tokens with their tags, and the exact search among them.

A datastore holds no words, but its vectors derive from the notes it was built from, and a vector
of a contextual encoder may tell something of the text around its token. Treat it as the notes.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, NotFittedError, check_number, missing_extra
from ..tags.scheme import OUTSIDE

#: The process that imported this module, or whose child inherited it by a fork.
_IMPORTED_IN = os.getpid()


class Datastore:
    """Vectors of labelled tokens: fewer of O than the corpus has, with votes that make up for it.

    Attributes:
        vectors: kept in half precision. *Shape:* ``(m, width)``.
        tags: tag ids, none masked. *Shape:* ``(m,)``.
        n_tags: number K of tags.
        outside_votes: votes of one vector of O, >= 1; all others have one.

    Raises:
        ClinicalNerError: the arrays do not fit each other, or the vectors are not finite in half
            precision.
    """

    def __init__(
        self,
        vectors: NDArray[Any],
        tags: NDArray[Any],
        *,
        n_tags: int,
        outside_votes: float = 1.0,
    ) -> None:
        if vectors.ndim != 2 or tags.shape != vectors.shape[:1]:
            raise unusable("vectors and tags differ in number")
        if len(tags) == 0:
            raise unusable("it has no vector")
        if tags.min() < 0 or tags.max() >= n_tags:
            raise unusable(f"a tag is not below {n_tags}")
        check_number("outside_votes", outside_votes, least=1)
        self.vectors = half_precision(vectors)
        self.tags: NDArray[np.int32] = np.asarray(tags, dtype=np.int32)
        self.n_tags = n_tags
        self.outside_votes = float(outside_votes)
        self._index: Any = None

    @classmethod
    def build(
        cls,
        vectors: NDArray[Any],
        tags: NDArray[Any],
        *,
        n_tags: int,
        outside_ratio: float = 1.0,
        seed: int = 0,
    ) -> Datastore:
        """Keep the vectors of all entity tokens, and a random sample of those of O.

        Each vector of O that is kept gets as many votes as it stands for, so that the shares of
        the votes are those of the tags in the corpus.

        Args:
            vectors: *Shape:* ``(n, width)``.
            tags: tag ids, none masked. *Shape:* ``(n,)``.
            n_tags: number K of tags.
            outside_ratio: of O, at most this multiple (> 0) of the number of entity tokens is kept,
                but one vector at least.
            seed: of the sample.

        Raises:
            ClinicalNerError: the ratio is out of range, or see the class.
        """
        check_number("outside_ratio", outside_ratio, above=0)
        outside = np.flatnonzero(tags == OUTSIDE)
        entities = np.flatnonzero(tags != OUTSIDE)
        n_kept = min(len(outside), max(1, int(outside_ratio * len(entities))))
        kept = np.random.default_rng(seed).choice(outside, size=n_kept, replace=False)
        rows = np.sort(np.concatenate([entities, kept]))
        return cls(
            vectors[rows],
            tags[rows],
            n_tags=n_tags,
            outside_votes=len(outside) / n_kept if n_kept else 1.0,
        )

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.tags)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the index out, which is larger than the vectors: another process makes its own."""
        return {**self.__dict__, "_index": None}

    @property
    def width(self) -> int:
        """Size of a vector."""
        return int(self.vectors.shape[1])

    @property
    def nbytes(self) -> int:
        """Size of what is stored, in bytes."""
        return self.vectors.nbytes + self.tags.nbytes

    @property
    def votes(self) -> NDArray[np.float64]:
        """Votes v_i of each vector. *Shape:* ``(m,)``."""
        return np.where(self.tags == OUTSIDE, self.outside_votes, 1.0)

    def check_k(self, k: int) -> None:
        """Raise InputError if there are fewer than k vectors."""
        if k > len(self):
            raise InputError(
                f"{k} neighbours were asked for, but the datastore has {len(self)} vectors: ask "
                "for fewer (--max-k), or give more training documents."
            )

    def search(self, vectors: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """The k nearest vectors by Euclidean distance, exactly, the nearest first.

        Args:
            vectors: *Shape:* ``(n, width)``.
            k: number of neighbours.

        Returns:
            Squared distances and rows of the datastore. *Shape of each:* ``(n, k)``.

        Raises:
            ClinicalNerError: k is larger than the datastore.
        """
        self.check_k(k)
        if len(vectors) == 0:
            return np.zeros((0, k)), np.zeros((0, k), dtype=np.intp)
        if self._index is None:
            # Takes a second to import, and only a search needs it: spacy.blank must not.
            try:
                from sklearn.neighbors import NearestNeighbors
            except ImportError as error:
                raise missing_extra("Mixing neighbours", "scikit-learn", "train") from error
            index = NearestNeighbors(algorithm="brute", metric="sqeuclidean")
            self._index = index.fit(self.vectors.astype(np.float32))
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        with _threads():
            squared, rows = self._index.kneighbors(queries, n_neighbors=k)
        return squared.astype(np.float64), rows


def half_precision(vectors: NDArray[Any]) -> NDArray[np.float16]:
    """Vectors as a datastore holds them.

    Raises:
        ClinicalNerError: one is not finite then.
    """
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(vectors, dtype=np.float16)
    if not np.isfinite(halves).all():
        raise unusable("a vector is not finite in half precision")
    return halves


def unusable(reason: str) -> NotFittedError:
    """A datastore that cannot be what clinical-ner wrote."""
    return NotFittedError(
        f"The datastore of neighbours cannot be used ({reason}): build it again with "
        "clinical-ner neighbours."
    )


def _threads() -> AbstractContextManager[Any]:
    """One thread in a forked process, else as many as there are.

    GNU's OpenMP cannot start threads in a fork of a process that had some: it waits for them
    forever. nlp.pipe with n_process forks by default on Linux.
    """
    forked = os.getpid() != _IMPORTED_IN
    return _thread_controller().limit(limits=1, user_api="openmp") if forked else nullcontext()


@cache
def _thread_controller() -> Any:
    # Comes with scikit-learn. Looks for the libraries of OpenMP, which that has loaded by now.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
