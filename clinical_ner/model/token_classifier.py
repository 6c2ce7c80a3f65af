"""A linear head over token vectors."""

from spacy.tokens import Doc
from thinc.api import Dropout, Linear, Model, chain, with_array, zero_init
from thinc.types import Floats2d


def build_token_classifier(
    tok2vec: Model[list[Doc], list[Floats2d]], nO: int | None = None
) -> Model[list[Doc], list[Floats2d]]:
    """Build a token classifier that gives raw logits: no softmax, which belongs to the loss.

    Token vectors pass a dropout first, at the rate of ``training.dropout``. The head starts at
    zero, so that training starts from the prior of a logit-adjusted loss.

    Args:
        tok2vec: token vectors: a Tok2Vec, or a listener to one or to a transformer. *Output shape,
            per document:* ``(n, width)``.
        nO: number of tags K; set from the labels at initialization.

    Returns:
        A model from documents to logits. *Output shape, per document:* ``(n, K)``.
    """
    head = Linear(nO, init_W=zero_init)
    per_token: Model[Floats2d, Floats2d] = chain(Dropout(), head)
    per_document: Model[list[Floats2d], list[Floats2d]] = with_array(per_token)
    model: Model[list[Doc], list[Floats2d]] = chain(tok2vec, per_document)
    # spaCy's listeners are found and replaced under this name only.
    model.set_ref("tok2vec", tok2vec)
    model.set_ref("head", head)
    return model
