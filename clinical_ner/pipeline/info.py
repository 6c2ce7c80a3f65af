"""What a saved model says of itself, and whether it is what was saved."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from spacy.util import get_package_path, is_package, load_config

from ..errors import ClinicalNerError, InputError, damage_in_one_line
from .loading import load_pipeline
from .manifest import MANIFEST, verify
from .saving import UNFINISHED

#: Key of meta.json for the versions that a model was trained with.
TRAINED_WITH = "trained_with"
#: Packages on whose versions it depends what a model gives, or whether it loads.
PACKAGES = (
    "clinical-ner",
    "spacy",
    "thinc",
    "numpy",
    "torch",
    "transformers",
    "spacy-transformers",
    "safetensors",
    "onnxruntime",
)


def installed_versions() -> dict[str, str]:
    """The versions that run now, of those PACKAGES that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            # Without "+cpu" and the like.
            found[package] = metadata.version(package).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return found


def model_info(model: str | Path, *, check: bool = False) -> dict[str, Any]:
    """What the files of a model say, without loading its weights.

    Args:
        model: its folder, or the name of an installed package.
        check: whether to compare all checksums, and load it.

    Returns:
        ``name``, ``version``, ``finished`` (whether its training ended), ``versions`` (by package,
        those ``trained_with``, None where the model does not say, and ``running``), ``labels`` by
        component, ``data`` (what it was made of), ``scores``, ``calibration`` by component,
        ``checksums`` (whether there are any), ``verified`` (None where nothing was compared), and
        ``mismatches``: a line for whatever is not as it was saved, or trained with.

    Raises:
        InputError: there is no model, or what it says of itself cannot be read.
    """
    folder = _folder(str(model))
    with damage_in_one_line(f"{folder}: what the model says of itself"):
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        paths = load_config(folder / "config.cfg", interpolate=False).get("paths", {})
        trained, running = dict(meta.get(TRAINED_WITH, {})), installed_versions()
        versions = {
            package: {"trained_with": trained.get(package), "running": running.get(package)}
            for package in {**trained, **running}
        }
        made_of = [source["name"] for source in meta.get("sources") or ()]
        info: dict[str, Any] = {
            "name": f"{meta.get('lang')}_{meta.get('name')}",
            "version": meta.get("version"),
            "finished": not meta.get(UNFINISHED, False),
            "versions": versions,
            "labels": {name: found for name, found in meta.get("labels", {}).items() if found},
            "data": made_of or sorted({Path(path).name for path in paths.values() if path}),
            "scores": {
                name: score
                for name, score in meta.get("performance", {}).items()
                if isinstance(score, int | float) and not isinstance(score, bool)
            },
            "calibration": dict(meta.get("calibration", {})),
            "checksums": (folder / MANIFEST).is_file(),
            "verified": None,
            "mismatches": [],
        }
    if check:
        found = verify(folder) or []
        try:
            load_pipeline(model)
        except ClinicalNerError as error:
            found.append(str(error))
        info["mismatches"] += found
        info["verified"] = False if found else info["checksums"] or None
    info["mismatches"] += [
        f"{package}: trained with {of['trained_with']}, running with {of['running'] or 'none'}"
        for package, of in versions.items()
        if of["trained_with"] not in (None, of["running"])
    ]
    return info


def _folder(model: str) -> Path:
    """Where the files of a model are; those of a package are in a folder inside it."""
    if (Path(model) / "meta.json").is_file():
        return Path(model)
    if is_package(model):
        found = sorted(get_package_path(model).glob("*/meta.json"))
        if len(found) == 1:
            return found[0].parent
    raise InputError(
        f"{model}: neither a folder with a meta.json nor an installed pipeline package. Check the "
        "path, or install the pipeline's wheel with pip."
    )
