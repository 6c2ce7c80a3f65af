"""Recipes: a complete config, or an overlay of a few lines that is merged over a base.

An overlay changes settings of the base one by one; a block whose registered name or factory is not
the base's replaces it whole, since the settings of the one mean nothing to the other. What an
overlay names must exist: spaCy takes many a misspelt setting and never reads it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from configparser import Error as ConfigParserError
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import spacy
from catalogue import RegistryError
from confection import Config, ConfigValidationError
from spacy.language import DEFAULT_CONFIG, Language
from spacy.util import registry

from ..errors import ConfigError, cannot_be_read, close_matches
from ..pipeline.annotation import FACTORY

#: Complete config that overlays are merged over; names of recipes are looked up beside it.
BASE = Path("configs/minilm.cfg")
#: Folder of the overlays, beside their base.
OVERLAYS = "recipes"
#: Suffix of a recipe whose trained model gets a memory of its training tokens.
NEIGHBOURS = "+neighbours"


@dataclass(frozen=True)
class Recipe:
    """What is trained, under the name that its runs have.

    Attributes:
        path: the file that it was read from.
        config: complete, not interpolated.
        neighbours: whether the trained model gets a memory of its training tokens.
    """

    name: str
    path: Path
    config: Config
    neighbours: bool = False

    @property
    def text(self) -> str:
        """The config as a file holds it."""
        return self.config.to_str(interpolate=False)


def read_recipe(name: str | Path, base: Path = BASE) -> Recipe:
    """Read a recipe; nothing of it is run.

    Args:
        name: Path of a .cfg file, a complete config or an overlay; or the name, without suffix, of
            one in the folder of the base or in its folder ``recipes``.
        base: The complete config that an overlay is merged over.

    Raises:
        ConfigError: A file is missing or not a config, or names what does not exist.
    """
    path = _find(name, base.parent)
    config = _read(path)
    if "pipeline" not in config.get("nlp", {}):
        if not base.is_file():
            raise ConfigError(
                f"{path}: an overlay, and its base {base} does not exist. Run the command in the "
                "folder that holds configs/, or name the base."
            )
        config = merge_overlay(_read(base), config, path=path)
    return Recipe(path.stem, path, config)


def read_recipes(names: list[str], base: Path = BASE) -> list[Recipe]:
    """Read the recipes of a comparison.

    Args:
        names: As in `read_recipe`, with or without the suffix ``+neighbours``, which recipes that
            ask for neighbours get.
        base: The complete config that overlays are merged over.

    Raises:
        ConfigError: See `read_recipe`; or two recipes have one name.
    """
    recipes: dict[str, Recipe] = {}
    for name in names:
        recipe = read_recipe(name.removesuffix(NEIGHBOURS), base)
        if name.endswith(NEIGHBOURS) or asks_for_neighbours(recipe.config):
            recipe = replace(recipe, name=recipe.name + NEIGHBOURS, neighbours=True)
        if recipe.name in recipes:
            raise ConfigError(
                f"{recipes[recipe.name].path} and {recipe.path}: both would have runs named "
                f"'{recipe.name}'. Rename one of the files."
            )
        recipes[recipe.name] = recipe
    return list(recipes.values())


def has_overlaps(config: Mapping[str, Any]) -> bool:
    """Whether a recognizer of a recipe is to find mentions that overlap."""
    components = config.get("components", {}).values()
    return any(of.get("factory") == FACTORY and of.get("overlaps") for of in components)


def asks_for_neighbours(config: Mapping[str, Any]) -> bool:
    """Whether a recipe, or a pipeline made of it, says that neighbours are to be added.

    Raises:
        ConfigError: its answer is neither true nor false.
    """
    asked = config.get("neighbours", {}).get("add", False)
    if not isinstance(asked, bool):
        raise ConfigError(
            "neighbours.add of the recipe is neither true nor false: set one of them."
        )
    return asked


def list_recipes(folder: Path = BASE.parent) -> dict[str, str]:
    """Recipes that can be named, complete configs first, each with the comment it begins with.

    Raises:
        ConfigError: The folder holds none.
    """
    paths = [*sorted(folder.glob("*.cfg")), *sorted((folder / OVERLAYS).glob("*.cfg"))]
    if not paths:
        raise _no_folder(folder)
    first = {path.stem: path.read_text(encoding="utf-8").partition("\n")[0] for path in paths}
    return {name: line.removeprefix("#").strip() for name, line in first.items()}


def merge_overlay(base: Config, overlay: Config, *, path: Path) -> Config:
    """Merge an overlay, from a file, over a complete config; neither is interpolated or changed.

    Raises:
        ConfigError: the overlay names a setting or a registered function that there is not.
    """
    merged = Config(_merged(base, overlay))
    filled = Config(DEFAULT_CONFIG).merge(base)
    _Known(merged, filled, path).check(overlay, ())
    return merged


def _find(name: str | Path, folder: Path) -> Path:
    path = Path(name)
    if path.suffix == ".cfg" and path.is_file():
        return path
    files = [folder / f"{name}.cfg", folder / OVERLAYS / f"{name}.cfg"]
    if found := next(filter(Path.is_file, files), None):
        return found
    if not folder.is_dir():
        raise _no_folder(folder, f"Recipe '{name}': no such file, and ")
    hint = close_matches(path.stem, list(list_recipes(folder)))
    raise ConfigError(f"Recipe '{name}': no such file, and {folder} has none of this name. {hint}")


def _no_folder(folder: Path, problem: str = "") -> ConfigError:
    return ConfigError(
        f"{problem}{folder} holds no recipes. Run the command in the folder that holds configs/, "
        "or name the path of a complete .cfg file."
    )


def _read(path: Path) -> Config:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise cannot_be_read(path, reason) from error
    try:
        return Config().from_str(_with_parents(text), interpolate=False)
    except (ConfigValidationError, ConfigParserError, KeyError) as error:
        raise _not_a_recipe(path, error) from error


def _not_a_recipe(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path}: not a recipe in spaCy's config format ({problems(error)}).")


def problems(error: Exception) -> str:
    """What is wrong with a config, on one line."""
    found = [
        f"{' -> '.join(str(part) for part in problem.get('loc', ()))}: {problem.get('msg')}"
        for problem in getattr(error, "errors", None) or ()
    ]
    text = "; ".join(found) or getattr(error, "desc", None) or str(error)
    # The parser quotes the lines, which are a note's if that is what was given as a recipe.
    text = re.sub(r"(\[line +\d+\]|, line: \d+):?\s+(?:'.*'|\".*\")", r"\1", text)
    return " ".join(text.split()).rstrip(".")


def _with_parents(text: str) -> str:
    """Put before a text the sections in which its own stand, which the format asks for."""
    sections = re.findall(r"^\[([^\]\n]+)\]", text, flags=re.MULTILINE)
    parents = dict.fromkeys(
        section[: dot.start()] for section in sections for dot in re.finditer(r"\.", section)
    )
    return "".join(f"[{name}]\n" for name in parents if name not in sections) + text


def _identity(block: Any) -> dict[str, Any]:
    """What a block makes: the name of its registered function, or its factory."""
    if not isinstance(block, Mapping):
        return {}
    return {key: value for key, value in block.items() if key[:1] == "@" or key == "factory"}


def _merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in overlay.items():
        under = base.get(key)
        replaces = bool(_identity(value)) and _identity(value) != _identity(under)
        if isinstance(value, Mapping) and isinstance(under, Mapping) and not replaces:
            result[key] = _merged(under, value)
        else:
            result[key] = value
    return result


class _Known:
    """Which keys a config may have.

    Attributes:
        merged: base and overlay together, which says what each block makes.
        filled: the base with spaCy's defaults.
    """

    def __init__(self, merged: Config, filled: Config, path: Path) -> None:
        self.merged = merged
        self.filled = filled
        self.path = path
        nlp = merged.get("nlp", {})
        self.pipeline = list(nlp.get("pipeline", []))
        try:
            self.language = _language(nlp.get("lang", "xx"))
        except ImportError as error:
            raise _not_a_recipe(path, error) from error

    def check(self, block: Mapping[str, Any], at: tuple[str, ...]) -> None:
        """Raise ConfigError if a key of an overlay cannot stand where it does."""
        known = self._keys(at)
        for key, value in block.items():
            if known is not None and key not in known:
                raise ConfigError(
                    f"{self.path}: '{'.'.join((*at, key))}' is no setting of the base recipe, of "
                    f"spaCy or of what it names. {close_matches(key, sorted(known))}"
                )
            if isinstance(value, Mapping) and (known is not None or _identity(value)):
                self.check(value, (*at, key))

    def _keys(self, at: tuple[str, ...]) -> set[str] | None:
        """Keys that a block may have, None if any."""
        block = _block(self.merged, at)
        references = [key for key in block if key.startswith("@")]
        if references:
            return self._arguments(references[0], block[references[0]], at)
        if at[:1] == ("components",) and len(at) == 2:
            return self._settings(block, at)
        if at == ("components",) or at == ("initialize", "components"):
            return {*self.filled["components"], *self.pipeline}
        if at == ("training", "score_weights"):
            return {*_block(self.filled, at), *self._scores()}
        if at and not self._is_fixed(at):
            return None
        return set(_block(self.filled, at))

    def _is_fixed(self, at: tuple[str, ...]) -> bool:
        """Whether a block is a section of spaCy's, not a value such as a table of weights."""
        above = _block(self.merged, at[:-1])
        return not _identity(above) and isinstance(
            _block(self.filled, at[:-1]).get(at[-1]), Mapping
        )

    def _arguments(self, reference: str, name: str, at: tuple[str, ...]) -> set[str] | None:
        """Arguments of a registered function, None if it takes any."""
        kind = reference[1:]
        if kind not in registry.get_registry_names():
            # The packages of components that are not loaded yet may bring registries.
            registry.factories.get_all()
        if kind not in registry.get_registry_names():
            raise self._unregistered(at, reference, "registries", registry.get_registry_names())
        try:
            function = registry.get(kind, name)
        except (RegistryError, ValueError) as error:
            known = getattr(registry, kind).get_all()
            raise self._unregistered(at, name, kind, known) from error
        return _parameters(function, reference)

    def _settings(self, block: Mapping[str, Any], at: tuple[str, ...]) -> set[str] | None:
        """Settings of a component."""
        factory = block.get("factory")
        if factory is None:
            return {"source", "component", "replace_listeners"}
        if not self.language.has_factory(factory):
            known = sorted(registry.factories.get_all())
            raise self._unregistered(at, factory, "factories", known)
        defaults = self.language.get_factory_meta(factory).default_config or {}
        internal = self.language.get_factory_name(factory)
        function = registry.factories.get(internal if internal in registry.factories else factory)
        parameters = _parameters(function, "factory")
        return None if parameters is None else {*parameters, *defaults} - {"nlp", "name"}

    def _unregistered(
        self, at: tuple[str, ...], name: str, kind: str, known: Iterable[str]
    ) -> ConfigError:
        return ConfigError(
            f"{self.path}: [{'.'.join(at)}] names '{name}', which is not among the registered "
            f"{kind}. {close_matches(name.removeprefix('@'), known)}"
        )

    def _scores(self) -> set[str]:
        """Scores that the components of the merged config give."""
        factories = [
            _block(self.merged, ("components", name)).get("factory") for name in self.pipeline
        ]
        return {
            score
            for factory in factories
            if factory is not None and self.language.has_factory(factory)
            for score in self.language.get_factory_meta(factory).default_score_weights or {}
        }


@cache
def _language(lang: str) -> type[Language]:
    """The class of a language; factories of installed packages are known once it is used."""
    return type(spacy.blank(lang))


def _parameters(function: Any, reference: str) -> set[str] | None:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
        return None
    return {reference, *(p.name for p in parameters)}


def _block(config: Mapping[str, Any], at: tuple[str, ...]) -> Mapping[str, Any]:
    """The block at a place, an empty one where there is none."""
    block: Any = config
    for key in at:
        block = block.get(key) if isinstance(block, Mapping) else None
    return block if isinstance(block, Mapping) else {}
