"""One pipeline whose weights are the mean of those of several that began with the same ones.

Models that were trained from the same weights stay in one basin of the loss, where their mean is a
model as well (Izmailov et al. 2018, arXiv 1803.05407; Wortsman et al. 2022, arXiv 2203.05482).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Model

from ..errors import ConfigError
from ..evaluation.runner import unannotated
from ..losses.base import TokenLoss
from ..pipeline.loading import load_pipeline, only_recognizer
from ..pipeline.recognizer import ClinicalNer
from ..tags.encode import taggable

#: What names of parameters of torch begin with.
TORCH = "torch:"


def average_weights(
    models: Sequence[Path], references: Sequence[Doc], *, same_seed: bool
) -> tuple[Language, str]:
    """Average the weights of pipelines, and count the tags of all documents.

    Every model has its own statistics, and so its own shift s back to log p(tag | text) = W v + b +
    s of a token vector v, up to a constant; that of the average is s'. Its bias is mean(b + s) -
    s', with which its log p at v is the mean of the models' at v, whatever each was counted on. The
    row of a tag is the mean over the models that learned it; a tag that none of them learned is
    not counted, and stays impossible.

    Args:
        models: folders of pipelines with the same components and labels.
        references: gold documents, those of all models together.
        same_seed: whether all models began with the same random numbers.

    Returns:
        The pipeline and the name of its recognizer.

    Raises:
        ConfigError: the inverse of the loss is not a shift of the logits, or the models began with
            different random weights.
    """
    nlp = load_pipeline(models[0])
    name, component = only_recognizer(nlp, models[0])
    head: Any = component.model.get_ref("head")
    ops: Any = component.model.ops
    if not (isinstance(component.loss, TokenLoss) and component.loss.takes_soft_targets):
        raise ConfigError(
            "The method average needs a loss whose inverse adds a constant to each logit, which "
            f"'{type(component.loss).__name__}' with its settings does not have: choose another "
            "method."
        )
    random = [of for of, _, node in _layers(nlp) if node is not head and node.param_names]
    if random and not same_seed:
        raise ConfigError(
            f"Component '{random[0]}' begins with random weights, other ones for every seed, so "
            "that the method average is of no use: run clinical-ner folds with one seed, or choose "
            "another method."
        )
    sums: dict[tuple[str, int, str], Any] = {}
    learned = at_zero = np.zeros(len(component.statistics.counts))
    rows = np.zeros((len(learned), 1))
    for path in models:
        member = load_pipeline(path)
        _, recognizer = only_recognizer(member, path)
        seen = recognizer.statistics.seen
        learned = learned + seen
        at_zero = at_zero + np.where(seen, _log_probs_at_zero(recognizer), 0.0)
        rows = rows + seen[:, None] * ops.to_numpy(recognizer.model.get_ref("head").get_param("W"))
        for key, value in weights(member).items():
            sums[key] = sums.get(key, 0.0) + value.astype(np.float64)
    set_weights(nlp, {key: of_all / len(models) for key, of_all in sums.items()})
    head.set_param("W", ops.asarray2f(rows / np.maximum(learned, 1)[:, None]))
    head.set_param("b", ops.alloc1f(len(learned)))
    count_tags(nlp, component, references)
    component.statistics.counts[learned == 0] = 0
    component.loss.initialize(component.statistics)
    seen = component.statistics.seen
    bias = at_zero[seen] / learned[seen] - _log_probs_at_zero(component)[seen]
    head.get_param("b")[ops.xp.asarray(seen)] = ops.asarray1f(bias)
    return nlp, name


def count_tags(nlp: Language, component: ClinicalNer, references: Sequence[Doc]) -> None:
    """Count gold as training on it would, and initialize the loss."""
    examples = [Example(unannotated(nlp, of), of) for of in references]
    documents = [component.gold_ids(example) for example in examples]
    component.statistics.count(component.labels, documents)
    if not component.overlaps:
        tagged = zip(documents, (taggable(example.predicted) for example in examples), strict=True)
        component.statistics.count_pairs(ids[mask] for ids, mask in tagged)
    component.loss.initialize(component.statistics)


def weights(nlp: Language) -> dict[tuple[str, int, str], NDArray[Any]]:
    """All parameters of a pipeline, those of disabled components too, on the CPU.

    Returns:
        By name of the component, number of the layer in it and name in that.
    """
    found = {}
    for name, number, node in _layers(nlp):
        for param in node.param_names:
            found[name, number, param] = node.ops.to_numpy(node.get_param(param))
        for shim in node.shims:
            for param, tensor in shim._model.state_dict().items():
                found[name, number, TORCH + param] = tensor.detach().cpu().numpy()
    return found


def set_weights(nlp: Language, values: dict[tuple[str, int, str], NDArray[Any]]) -> None:
    """Replace all parameters of a pipeline, each in its own number format; see ``weights``."""
    for name, number, node in _layers(nlp):
        for param in node.param_names:
            ops: Any = node.ops
            value = values[name, number, param].astype(node.get_param(param).dtype)
            node.set_param(param, ops.asarray(value))
        for shim in node.shims:
            for param, tensor in shim._model.state_dict().items():
                tensor.copy_(tensor.new_tensor(values[name, number, TORCH + param]))


def _layers(nlp: Language) -> Iterator[tuple[str, int, Model]]:
    for name, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        for number, node in enumerate(model.walk() if isinstance(model, Model) else ()):
            yield name, number, node


def _log_probs_at_zero(component: ClinicalNer) -> NDArray[np.float64]:
    """Log p(tag) at a token vector of zeros, which leaves bias and shift. *Shape:* ``(K,)``."""
    ops = component.model.ops
    width = component.model.get_ref("head").get_dim("nI")
    (rows,) = component.log_probs([ops.alloc2f(1, width)])
    return np.asarray(ops.to_numpy(rows)[0], dtype=np.float64)
