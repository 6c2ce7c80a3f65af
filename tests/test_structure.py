"""The package's structure: who may import whom, what importing costs, and what is registered."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .imports import PACKAGE, ROOT, closure, file_of, imported_modules, module_files

#: Ranks of the folders and of the modules beside them; a module imports only from lower ranks, or
#: from its own folder.
RANKS = {
    "errors": 0,
    "types": 0,
    "arrays": 1,
    "labels": 1,
    "formats": 2,
    "model": 2,
    "losses": 2,
    "decoding": 2,
    "calibration": 2,
    "scoring": 2,
    "training": 2,
    "tokenization": 2,
    "pipeline": 3,
    "checks": 3,
    "experiments": 4,
    "annotate": 4,
    "report": 4,
    "cli": 5,
    "__main__": 6,
}
#: Slow to import, and not needed until a pipeline is trained or run.
HEAVY = ("torch", "transformers", "spacy_transformers")

CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))


def violations(path: Path, root: Path = ROOT) -> list[str]:
    """What a module imports from the package though its rank forbids it."""
    package = root / PACKAGE.name
    own = path.relative_to(package).with_suffix("").parts[0]
    found = []
    for module in sorted(imported_modules(path, root=root)):
        top, _, rest = module.partition(".")
        unit = rest.split(".")[0]
        if top != PACKAGE.name or unit not in RANKS or unit == own:
            continue
        if own == "__init__" or RANKS[unit] >= RANKS[own]:
            found.append(module)
    return found


def entry_points() -> dict[str, dict[str, str]]:
    """The groups of setup.cfg that spaCy and thinc read, each {name: module:attribute}."""
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    groups = {}
    for group, text in parser["options.entry_points"].items():
        if group.startswith(("spacy_", "thinc_")):
            lines = [line.split("=", 1) for line in text.strip().splitlines()]
            groups[group] = {name.strip(): target.strip() for name, target in lines}
    return groups


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_lower_ranks(path: Path) -> None:
    assert violations(path) == []


def test_every_module_has_a_rank() -> None:
    units = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in module_files()}
    assert units - {"__init__"} <= RANKS.keys()


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("losses/a.py", "from ..decoding.lattice import x", "clinical_ner.decoding.lattice"),
        ("losses/a.py", "from ..pipeline import recognizer", "clinical_ner.pipeline.recognizer"),
        ("labels/a.py", "import clinical_ner.scoring.spans", "clinical_ner.scoring.spans"),
        ("errors.py", "from .types import Logits", "clinical_ner.types"),
        ("losses/a.py", "def f():\n    from .. import cli", "clinical_ner.cli"),
        ("losses/__init__.py", "from ..training import split", "clinical_ner.data.split.stratify"),
        ("__init__.py", "from .errors import Errors", "clinical_ner.errors"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "clinical_ner" / module
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    assert found in violations(path, tmp_path)


def test_allowed_imports_are_not_found(tmp_path: Path) -> None:
    path = tmp_path / "clinical_ner" / "losses" / "a.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import torch\nfrom .. import __version__\nfrom ..errors import Errors\n"
        "from ..labels.scheme import tag_names\nfrom .base import EntityLoss\nfrom . import base\n",
        encoding="utf-8",
    )
    assert violations(path, tmp_path) == []


def heavy_imports(path: Path, root: Path = ROOT) -> set[str]:
    modules = imported_modules(path, top_level_only=True, root=root)
    return {module for module in modules if module.split(".")[0] in HEAVY}


def test_the_component_imports_nothing_heavy() -> None:
    # Every spacy.blank() and spacy.load() imports the component to learn what its factory is.
    reached = closure(PACKAGE / "pipeline" / "recognizer.py", top_level_only=True)
    assert {PACKAGE / "decoding" / "lattice.py", PACKAGE / "__init__.py"} <= reached
    assert {path: names for path in reached if (names := heavy_imports(path))} == {}


@pytest.mark.parametrize(
    ("source", "heavy"),
    [
        ("import torch", {"torch"}),
        ("try:\n    import torch.nn\nexcept ImportError:\n    pass", {"torch.nn"}),
        ("class A:\n    from transformers import AutoModel", {"transformers.AutoModel"}),
        ("def f():\n    import torch", set()),
        ("if TYPE_CHECKING:\n    import torch", set()),
    ],
)
def test_a_heavy_import_is_found_where_it_runs_at_import(
    source: str, heavy: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.py"
    path.write_text(source, encoding="utf-8")
    assert heavy <= heavy_imports(path, tmp_path)
    assert bool(heavy) == bool(heavy_imports(path, tmp_path))


RESOLVE = """
import json, sys
import spacy, thinc.api
from spacy.util import registry as spacy_registry

assert "clinical_ner" not in sys.modules
libraries = {"spacy": spacy_registry, "thinc": thinc.api.registry}
resolved = {}
for group, names in sorted(json.loads(sys.argv[1]).items()):
    library, _, kind = group.partition("_")
    if kind == "factories":
        continue
    for name in names:
        found = getattr(libraries[library], kind).get(name)
        resolved[name] = f"{found.__module__}:{found.__qualname__}"
nlp = spacy.blank("en")
for name in json.loads(sys.argv[1]).get("spacy_factories", {}):
    found = type(nlp.add_pipe(name))
    resolved[name] = f"{found.__module__}:{found.__qualname__}"
print(json.dumps(resolved))
"""


def test_every_entry_point_resolves_without_an_import_of_the_package() -> None:
    groups = entry_points()
    expected = {name: target for names in groups.values() for name, target in names.items()}
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, json.dumps(groups)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT / "tests",
    )
    assert done.returncode == 0, done.stderr
    # A factory's function gives a component, whose class is what add_pipe shows.
    expected.update(
        dict.fromkeys(groups["spacy_factories"], "clinical_ner.pipeline.recognizer:ClinicalNer")
    )
    assert json.loads(done.stdout.splitlines()[-1]) == expected
    assert len(expected) >= 9


def test_every_entry_point_names_a_module_of_the_package() -> None:
    for names in entry_points().values():
        for target in names.values():
            assert file_of(target.split(":")[0]) is not None


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_name_in_a_config_is_registered(path: Path) -> None:
    groups = entry_points()
    registered = {name for names in groups.values() for name in names}
    text = path.read_text(encoding="utf-8")
    names = set(re.findall(r"clinical_ner\.\w+\.v\d+", text))
    assert "clinical_ner.TokenClassifier.v1" in names
    assert names <= registered
    factories = set(re.findall(r'^factory = "(clinical_ner\w*)"', text, flags=re.MULTILINE))
    assert factories == {"clinical_ner"} == set(groups["spacy_factories"])


def test_there_are_three_configs() -> None:
    assert {path.stem for path in CONFIGS} >= {"minilm", "biobert", "tok2vec"}
