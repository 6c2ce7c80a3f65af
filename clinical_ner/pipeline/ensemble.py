"""Several trained pipelines as one component: the mean of their probabilities.

Listeners read one ``doc._.trf_data``, so that several encoders cannot be side by side. Here whole
pipelines run on copies of the document; they are saved in the model of a ``ClinicalNer``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from confection import Config
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_model_from_config
from thinc.api import Model, Shim, chain
from thinc.types import Floats2d

from ..errors import ConfigError
from ..model.encoder import encoder_names, restore_encoder_names, without_paths
from .loading import load_pipeline, only_recognizer
from .recognizer import ClinicalNer
from .saving import scrubbed

#: Name of the model.
ENSEMBLE = "ensemble"
ARCHITECTURE = "clinical_ner.Ensemble.v1"
#: The loss whose posterior are the logits themselves.
LOSS = {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": "none"}


class Members(Shim):
    """The pipelines of an ensemble, which thinc saves with its model."""

    def __init__(self) -> None:
        super().__init__(None)
        self.pipelines: list[Language] = []

    def to_bytes(self) -> bytes:
        """Serialize the pipelines, each with what of its config a loaded one needs."""
        members = []
        for nlp in self.pipelines:
            parts = {part: nlp.config.interpolate()[part] for part in ("nlp", "components")}
            config = Config(without_paths(parts, encoder_names(nlp))).to_str()
            # The whole config would tell the paths of the corpus.
            with scrubbed(nlp):
                members.append({"config": config, "pipeline": nlp.to_bytes(exclude=["config"])})
        data: bytes = srsly.msgpack_dumps(members)
        return data

    def from_bytes(self, data: bytes) -> "Members":
        """Load what ``to_bytes`` gave."""
        self.pipelines = []
        for member in srsly.msgpack_loads(data):
            nlp = load_model_from_config(Config().from_str(member["config"]), auto_fill=True)
            self.pipelines.append(nlp.from_bytes(member["pipeline"]))
        return self


def build_ensemble() -> Model[list[Doc], list[Floats2d]]:
    """Build the model of an ensemble, which gets its members when it is made or loaded.

    Register name: ``clinical_ner.Ensemble.v1`` (``@architectures``).

    Returns:
        A model from documents to the logarithm of the mean over the members of p(tag | text).
        *Output shape, per document:* ``(n, K)``.
    """
    members: Any = Model("members", _mean_log_probs, init=_refuse, shims=[Members()])
    head: Any = Model("identity", lambda model, rows, is_train: (rows, None), dims={"nO": None})
    model: Model = chain(members, head)
    model.name = ENSEMBLE
    model.set_ref("tok2vec", members)
    model.set_ref("head", head)
    return model


def make_ensemble(models: Sequence[Path]) -> tuple[Language, str, ClinicalNer]:
    """Make a pipeline of several, whose tags are still to be counted.

    Args:
        models: folders of trained pipelines with the same components and labels.

    Returns:
        The pipeline, and the name of its recognizer and the recognizer.

    Raises:
        ConfigError: tokens may have several tags, or a component would be left out.
    """
    pipelines = [load_pipeline(path) for path in models]
    name, first = only_recognizer(pipelines[0], models[0])
    if first.overlaps:
        raise ConfigError(
            f"Component '{name}' has overlaps = true, and an ensemble gives one tag per token: "
            "choose another method."
        )
    others = [
        of
        for of, pipe in pipelines[0].pipeline
        if of != name and name not in getattr(pipe, "listening_components", ())
    ]
    if others:
        raise ConfigError(
            f"{models[0]}: has the component '{others[0]}', which an ensemble would not run: "
            "choose another method, or a recipe without it."
        )
    config = pipelines[0].config.interpolate()
    settings = {"model": {"@architectures": ARCHITECTURE}, "loss": LOSS}
    parts = {
        "nlp": config["nlp"] | {"pipeline": [name], "disabled": []},
        "components": {name: config["components"][name] | settings},
    }
    nlp = load_model_from_config(Config(parts), auto_fill=True)
    tokenizers: list[Any] = [nlp.tokenizer, pipelines[0].tokenizer]
    tokenizers[0].from_bytes(tokenizers[1].to_bytes())
    _, recognizer = nlp.pipeline[0]
    assert isinstance(recognizer, ClinicalNer)
    for label in first.labels:
        recognizer.add_label(label)
    members: Any = recognizer.model.get_ref("tok2vec").shims[0]
    members.pipelines = pipelines
    return restore_encoder_names(nlp), name, recognizer


def _mean_log_probs(model: Model, docs: Sequence[Doc], is_train: bool) -> tuple[Any, Any]:
    if is_train:
        _refuse()
    members: Any = model.shims[0]
    of_members = []
    for nlp in members.pipelines:
        copies = [
            Doc(nlp.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])
            for doc in docs
        ]
        for _, pipe in nlp.pipeline:
            if isinstance(pipe, ClinicalNer):
                of_members.append([model.ops.to_numpy(rows) for rows in pipe.predict(copies)])
            else:
                copies = list(pipe.pipe(copies, batch_size=len(copies)))
    mean = [
        np.logaddexp.reduce(np.stack(rows)) - np.float32(np.log(len(rows)))
        for rows in zip(*of_members, strict=True)
    ]
    return [model.ops.asarray2f(rows) for rows in mean], None


def _refuse(*_: Any, **__: Any) -> Any:
    raise ConfigError(
        "An ensemble is made of trained models, and is not trained itself: train a recipe, and "
        "make an ensemble with clinical-ner final."
    )
