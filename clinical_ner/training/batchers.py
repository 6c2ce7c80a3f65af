"""The registered batchers that draw documents at other rates than the corpus holds them."""

from .samplers import BalancedBatcher, Batcher, EntityBatcher


def configure_batch_by_entity(
    *, size: int, tolerance: float = 0.2, rates: str = "uniform", seed: int = 0
) -> Batcher:
    """Create a batcher each of whose batches is for one entity type.

    The documents of a batch are drawn among those that hold its type, so a document without
    entities is never drawn. Types take turns: the next is that which is furthest behind its share
    of the words drawn so far. The documents of a type come in shuffled rounds, so that in the long
    run all of them are drawn equally often. An epoch draws as many words as the corpus has; what
    one draws too many, the next draws less.

    All examples of an epoch are held in memory. What is said of a batch is in ``user_data`` of
    its gold documents from just before it is yielded; see ``labels.sampling``.

    Register name: ``clinical_ner.batch_by_entity.v1`` (``@batchers``).

    Args:
        size: words (tokens) of a batch, at least 1. Documents are added until it is reached; a
            batch is smaller if the next document is too long for it or all documents of the type
            are in it, and larger only by what ``tolerance`` allows, or if a single document is.
        tolerance: share of ``size`` by which a batch of several documents may exceed it, >= 0.
        rates: shares of the types in the words drawn: uniform, or proportional to the type's number
            of labelled tokens, or to the root (sqrt) of that.
        seed: of the batcher's own generator. Equal seeds, and documents in equal order, give equal
            batches.

    Raises:
        ClinicalNerError: a setting outside its range; when called, no entity in the data, or a type
            whose documents have no token outside entities.
    """
    return EntityBatcher(size=size, tolerance=tolerance, rates=rates, seed=seed)


def configure_batch_balanced(
    *, size: int, tolerance: float = 0.2, power: float = 0.5, seed: int = 0
) -> Batcher:
    """Create a batcher that draws a document more often, the rarer its rarest entity type is.

    An epoch is expected to draw as many words as the corpus has. It draws each document as often as
    expected, rounded down or up at random (systematic resampling: Kitagawa 1996, Journal of
    Computational and Graphical Statistics 5; Carpenter et al. 1999, IEE Proceedings F 146), in
    shuffled order, but never twice in a batch. Memory and ``user_data`` as in
    ``configure_batch_by_entity``.

    Register name: ``clinical_ner.batch_balanced.v1`` (``@batchers``).

    Args:
        size: as in ``configure_batch_by_entity``.
        tolerance: as in ``configure_batch_by_entity``.
        seed: as in ``configure_batch_by_entity``.
        power: p in [0, 1] of the rate (1 / share of documents that hold the type)^p; 0 draws all
            documents alike. See ``sampling.document_rates``.

    Raises:
        ClinicalNerError: a setting outside its range; when called, no entity in the data.
    """
    return BalancedBatcher(size=size, tolerance=tolerance, power=power, seed=seed)
