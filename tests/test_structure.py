"""The package's structure: who may import whom, what importing costs, and what is registered."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .imports import PACKAGE, ROOT, closure, file_of, imported_modules

#: Slow to import, and not needed until a pipeline is trained or run.
HEAVY = ("torch", "transformers", "spacy_transformers")

CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))


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


@pytest.mark.slow
def test_modules_import_only_from_rooms_below_their_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout


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
        module, _, attribute = names[name].partition(":")
        # A function may have a second name.
        same = found is getattr(sys.modules[module], attribute)
        resolved[name] = names[name] if same else f"{found.__module__}:{found.__qualname__}"
nlp = spacy.blank("en")
for name in json.loads(sys.argv[1]).get("spacy_factories", {}):
    found = type(nlp.add_pipe(name))
    resolved[name] = f"{found.__module__}:{found.__qualname__}"
print(json.dumps(resolved))
"""


@pytest.mark.slow
def test_every_entry_point_resolves_without_an_import_of_the_package(tmp_path: Path) -> None:
    groups = entry_points()
    expected = {name: target for names in groups.values() for name, target in names.items()}
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, json.dumps(groups)],
        capture_output=True,
        text=True,
        # Where no folder has the name of a package.
        cwd=tmp_path,
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


def test_there_are_two_complete_configs() -> None:
    assert {path.stem for path in CONFIGS} == {"minilm", "tok2vec"}
