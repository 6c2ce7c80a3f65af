"""From a trained pipeline to two wheels that install without an index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import ExitStack
from importlib import metadata as distributions
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from confection import Config
from packaging.version import InvalidVersion, Version
from spacy.cli.package import get_third_party_dependencies
from spacy.cli.package import package as spacy_package
from spacy.language import Language
from spacy.util import get_minor_version_range, load_config, split_requirement

from ..data.formats.reading import read_texts
from ..data.mentions import AnnotatedText
from ..errors import (
    ClinicalNerError,
    ClinicalNerWarning,
    ConfigError,
    InputError,
    missing_extra,
    not_a_folder,
)
from ..files import check_replaceable, replacing, scratch_folder
from ..locks import leaving_no_empty_folder
from ..model.encoder import (
    encoder_names,
    published_name,
    restore_encoder_names,
    uses_onnx,
    without_paths,
)
from ..pipeline.loading import CARD, load_pipeline
from ..pipeline.manifest import write_manifest
from ..pipeline.saving import save_pipeline
from .audit import search
from .card import definitions_of, scores_of
from .corpus_card import corpus_card
from .figures import SCORES, SPAN_SCORES, not_metrics, read_membership, read_metrics
from .model_card import entity_types, model_card, sources

LIBRARY = "clinical-ner"

#: What of the library an encoder on ONNX Runtime needs besides.
ONNX_EXTRA = "[onnx]"

#: Files beside the module of which the library's wheel is made.
LIBRARY_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")

#: What builds wheels without an index.
BUILD_PACKAGES = ("build", "setuptools", "wheel")


def package(
    model: str | Path,
    output: str | Path,
    *,
    metrics: str | Path,
    corpus: str | Path,
    library: str | Path = ".",
    name: str = "clinical_ner",
    version: str = "0.1.0",
    audit_report: str | Path | None = None,
    definitions: str | Path | None = None,
    allow_training_strings: bool = False,
) -> list[Path]:
    """Build the wheel of a model and that of clinical_ner, which it needs, without downloads.

    Args:
        model: folder of a trained pipeline.
        output: folder for the wheels; those of other versions of the two are removed, and what is
            made on the way to them lies there for so long.
        metrics: scores on held-out documents, as `evaluate` writes them.
        corpus: what the model was trained on, for its name and licence. The model's wheel is
            searched for words of its notes; where they cannot be read a warning says so.
        library: source folder of clinical_ner.
        name: of the model, without the language; a Python identifier.
        version: of the model.
        audit_report: what `audit` wrote, for the membership in the model's card.
        definitions: file with a table of labels and definitions, for the card; by default the
            guideline that the corpus' README.md names.
        allow_training_strings: whether a wheel may hold words of the notes, as of a corpus that is
            public; nothing is searched then.

    Returns:
        The wheels of clinical_ner and of the model.

    Raises:
        ClinicalNerError: an input is not what it should be, or a build failed. Nothing is written
            then.
    """
    check_name(name)
    check_version(version)
    model, output, metrics, corpus, library = map(Path, (model, output, metrics, corpus, library))
    _check_build_packages()
    if not (model / "meta.json").is_file() or not (model / "config.cfg").is_file():
        raise InputError(
            f"{model}: not a trained pipeline. Name the folder that clinical-ner train wrote."
        )
    if output.exists() and not output.is_dir():
        raise not_a_folder(output)
    _check_library(library)
    scores = read_metrics(metrics)
    card = corpus_card(corpus)
    definitions = None if definitions is None else Path(definitions)
    measured = None if audit_report is None else read_membership(Path(audit_report))
    notes = None if allow_training_strings else _read_notes(corpus)
    # The model's strings are not for the system's temporary folder.
    with leaving_no_empty_folder(output / "wheel"), scratch_folder(output / "wheel") as scratch:
        own = _build_wheel(_copy_library(library, scratch / "library"), scratch / "wheels")
        nlp = restore_encoder_names(load_pipeline(model))
        extra = ONNX_EXTRA if uses_onnx(nlp) else ""
        requirement = LIBRARY + extra + get_minor_version_range(own.name.split("-")[1])
        name = name.removeprefix(f"{nlp.lang}_")
        nlp.meta["training_notes"] = {"searched": notes is not None, "membership": measured}
        nlp.meta.pop(CARD, None)
        described = scores_of(nlp, metrics, scores)
        described["definitions"] = definitions_of(nlp, corpus, definitions)
        nlp.meta[CARD] = described
        _describe(nlp, card, name=name, version=version, requirement=requirement)
        try:
            readme = model_card(nlp, f"{nlp.lang}_{name}")
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise not_metrics(metrics) from error
        save_pipeline(nlp, scratch / "model")
        _forget_paths(scratch / "model" / "config.cfg", encoder_names(nlp))
        (scratch / "model" / "README.md").write_text(readme, encoding="utf-8")
        write_manifest(scratch / "model")
        (scratch / "source").mkdir()
        spacy_package(scratch / "model", scratch / "source", create_sdist=False)
        source = next((scratch / "source").iterdir())
        packed = next(source.glob("*/*/config.cfg")).parent
        # Which spaCy has written again, and puts there when the wheel is built.
        shutil.copy(source / "meta.json", packed)
        write_manifest(packed)
        wheels = [own, _build_wheel(source, scratch / "wheels")]
        if notes is not None:
            _check_strings(wheels[1], notes)
        return _deliver(wheels, output)


def check_name(name: str) -> None:
    """Raise ConfigError if no wheel can have the name."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*[A-Za-z0-9]", name):
        raise ConfigError(
            f"'{name}' is not a name of a model: use letters, digits and underscores, a letter "
            "first and no underscore last."
        )


def check_version(version: str) -> None:
    """Raise ConfigError if no wheel can have the version."""
    try:
        Version(version)
    except InvalidVersion as error:
        raise ConfigError(f"{error}.") from error


def _check_build_packages() -> None:
    for name in BUILD_PACKAGES:
        try:
            distributions.version(name)
        except distributions.PackageNotFoundError as error:
            raise missing_extra("package", name, "train") from error


def _check_library(library: Path) -> None:
    has_files = all((library / file_name).is_file() for file_name in LIBRARY_FILES)
    if not has_files or not (library / "clinical_ner" / "__init__.py").is_file():
        raise InputError(
            f"{library}: not the project's folder, which holds clinical_ner/ and "
            f"{', '.join(LIBRARY_FILES)}."
        )


def _read_notes(corpus: Path) -> list[AnnotatedText] | None:
    """The notes of a corpus, None where they cannot be read."""
    try:
        return list(read_texts(corpus, errors="record"))
    except ClinicalNerError as error:
        warnings.warn(
            f"The wheel is not searched for words of its training notes, which cannot be read "
            f"({error}) Run clinical-ner audit WHEEL --corpus TRAIN.spacy.",
            ClinicalNerWarning,
            stacklevel=3,
        )
        return None


def _check_strings(wheel: Path, notes: list[AnnotatedText]) -> None:
    found = search(wheel, notes)["found"]
    if found:
        files = ", ".join(f"{name} ({number})" for name, number in found.items())
        raise InputError(
            f"The wheel would hold words of the training notes: {files}. Save the model with a "
            "command of clinical-ner, and take out components that hold such words; or pass "
            "--allow-training-strings if the notes are public."
        )


def _forget_paths(path: Path, encoders: list[str]) -> None:
    """Take out of a pipeline's config where its data and its encoder lay."""
    config = load_config(path, interpolate=False)
    config["paths"] = dict.fromkeys(config.get("paths", {}))
    Config(without_paths(config, encoders)).to_disk(path, interpolate=False)


def _describe(
    nlp: Language,
    card: dict[str, str],
    *,
    name: str,
    version: str,
    requirement: str,
) -> None:
    """Write into the pipeline's meta data what it is, what it was made of and what it needs."""
    types = len(entity_types(nlp))
    made_of = sources(card, [published_name(encoder) for encoder in encoder_names(nlp)])
    scores, scored_on = nlp.meta[CARD]["scores"], nlp.meta[CARD]["scored_on"]
    others = [
        other
        for other in get_third_party_dependencies(nlp.config)
        if split_requirement(other)[0] != LIBRARY
    ]
    nlp.meta.update(
        {
            "name": name,
            "version": version,
            "description": f"Clinical named entities ({types} types), trained on {card['name']}.",
            "author": "",
            "license": "; ".join(f"{source['license']} ({source['name']})" for source in made_of),
            "sources": made_of,
            # The version that is built here, whichever was installed before.
            "requirements": [requirement, *sorted(others)],
            "performance": {key: scores[key] for key in (*SCORES, *SPAN_SCORES) if key in scores},
            "notes": f"performance: strict entity scores of {scored_on}.",
        }
    )


def _copy_library(library: Path, target: Path) -> Path:
    """Copy what the library's wheel is made of, so that no build folder or stale module gets in."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(library / "clinical_ner", target / "clinical_ner", ignore=ignored)
    for file_name in LIBRARY_FILES:
        shutil.copy(library / file_name, target)
    return target


def _build_wheel(source: Path, output: Path) -> Path:
    """Build the wheel of a source folder with the setuptools that are installed."""
    before = set(output.glob("*.whl"))
    # Not isolated: an isolated build asks an index for setuptools.
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", output, source],
        capture_output=True,
        text=True,
        check=False,
        cwd=source,
        env={**os.environ, "TMPDIR": str(output.parent)},
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise InputError(
            f"Building a wheel from {source.name} failed (exit code {done.returncode}): "
            f"{lines[-1]}."
        )
    return next(iter(set(output.glob("*.whl")) - before))


def _deliver(wheels: list[Path], output: Path) -> list[Path]:
    """Copy the wheels, both or none, and remove those of other versions."""
    targets = [output / wheel.name for wheel in wheels]
    for target in targets:
        check_replaceable(target, own=_is_own(target))
    with ExitStack() as stack:
        for wheel, target in zip(wheels, targets, strict=True):
            shutil.copyfile(wheel, stack.enter_context(replacing(target)))
    for target in targets:
        for old in output.glob(f"{target.name.split('-')[0]}-*.whl"):
            if old != target and _is_own(old):
                old.unlink()
    return targets


def _is_own(wheel: Path) -> bool:
    """Whether a wheel is the library's, or needs it."""
    try:
        with ZipFile(wheel) as file:
            [name] = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
            fields = file.read(name).decode().splitlines()
    except (OSError, ValueError, BadZipFile):
        return False
    return any(re.match(r"(Name|Requires-Dist): clinical[-_]ner\b", field) for field in fields)
