"""``clinical-ner package``: from a trained pipeline to two wheels that install without an index."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import spacy
import typer
from spacy.cli.package import package as spacy_package
from spacy.language import Language

from ..errors import ClinicalNerError, Errors
from ..model.encoder import INSTALLED_ENCODERS
from ._app import app
from ._model_card import corpus_card, model_readme, sources

#: Scores of metrics.json that the wheel's meta.json repeats.
SCORES = (
    "ents_p",
    "ents_r",
    "ents_f",
    "ents_macro_f",
    "ents_macro_types",
    "token_unweighted_accuracy",
    "token_unweighted_accuracy_no_o",
    "ents_per_type",
    "documents",
)


@app.command("package")
def package_cli(
    model: Path = typer.Argument(..., metavar="MODEL_DIR", help="Trained pipeline."),
    output: Path = typer.Argument(..., metavar="OUT_DIR", help="Folder for the two wheels."),
    metrics: Path = typer.Option(
        ..., help="metrics.json of clinical-ner evaluate; its scores go into meta.json."
    ),
    corpus: Path = typer.Option(
        ..., help="The annotated corpus; its README.md may state a name and a license."
    ),
    library: Path = typer.Option(
        Path("."), help="Source folder of clinical_ner, from which its own wheel is built."
    ),
    name: str = typer.Option("clinical_ner", help="Name of the model, without the language."),
    version: str = typer.Option("0.1.0", help="Version of the model."),
) -> None:
    """Build the wheel of a model and that of clinical_ner, which it needs.

    Wheels of other versions of the two in OUT_DIR are removed, since pip given both ends in a conflict.

    Example:
      clinical-ner package training/model-best packages --metrics metrics/test.json
      --corpus corpus/case_reports
    """
    wheels = package(
        model,
        output,
        metrics=metrics,
        corpus=corpus,
        library=library,
        name=name,
        version=version,
    )
    for wheel in wheels:
        typer.echo(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"Install both in one command: pip install {wheels[0]} {wheels[1]}")


def package(
    model: Path,
    output: Path,
    *,
    metrics: Path,
    corpus: Path,
    library: Path = Path("."),
    name: str = "clinical_ner",
    version: str = "0.1.0",
) -> list[Path]:
    """Build both wheels; nothing is downloaded.

    model: folder of a trained pipeline.
    output: folder for the wheels.
    metrics: scores on held-out documents, as clinical-ner evaluate writes them.
    corpus: what the model was trained on, for its name and licence.
    library: source folder of clinical_ner.
    name: of the model, without the language.
    version: of the model.

    RETURNS: the wheels of clinical_ner and of the model.
    RAISES ClinicalNerError: an input is not what it should be, or a build failed; nothing is written.
    """
    if not (model / "meta.json").is_file():
        raise ClinicalNerError(Errors.E080.format(path=model))
    if not (library / "setup.cfg").is_file() or not (library / "clinical_ner").is_dir():
        raise ClinicalNerError(Errors.E081.format(path=library))
    scores = _read_metrics(metrics)
    card = corpus_card(corpus)
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        nlp = spacy.load(model)
        _describe(nlp, scores, card, name=name, version=version)
        nlp.to_disk(scratch / "model")
        meta = json.loads((scratch / "model" / "meta.json").read_text(encoding="utf-8"))
        (scratch / "model" / "README.md").write_text(
            model_readme(meta, scores, card), encoding="utf-8"
        )
        (scratch / "source").mkdir()
        spacy_package(scratch / "model", scratch / "source", create_sdist=False)
        built = [
            _build_wheel(_copy_library(library, scratch / "library"), scratch / "wheels"),
            _build_wheel(next((scratch / "source").iterdir()), scratch / "wheels"),
        ]
        output.mkdir(parents=True, exist_ok=True)
        for wheel in built:
            for old in output.glob(f"{wheel.name.split('-')[0]}-*.whl"):
                old.unlink()
        return [Path(shutil.move(str(wheel), output / wheel.name)) for wheel in built]


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ClinicalNerError(Errors.E083.format(path=path)) from None
    if not isinstance(scores, dict) or not all(key in scores for key in SCORES):
        raise ClinicalNerError(Errors.E083.format(path=path))
    return scores


def _describe(
    nlp: Language, scores: dict[str, Any], card: dict[str, str], *, name: str, version: str
) -> None:
    """Write into the pipeline's meta data what it is and what it was made of."""
    # Where the training data lay is nobody's business but its owner's.
    nlp.config["paths"] = {key: None for key in nlp.config.get("paths", {})}
    components = nlp.config.interpolate()["components"]
    names = [
        value["model"]["name"] for value in components.values() if "name" in value.get("model", {})
    ]
    # Only the published name: an encoder that was a folder is a path of the machine.
    encoders = [encoder for encoder in names if encoder in INSTALLED_ENCODERS]
    made_of = sources(card, encoders)
    nlp.meta.update(
        {
            "name": name,
            "version": version,
            "description": (
                f"Clinical named entities ({len(nlp.get_pipe('ner').labels)} types), trained on "
                f"{card['name']}."
            ),
            "author": "",
            "license": "; ".join(f"{source['license']} ({source['name']})" for source in made_of),
            "sources": made_of,
            "performance": {key: scores[key] for key in SCORES},
            "notes": (
                f"performance: strict entity scores on {scores['documents']} held-out documents."
            ),
        }
    )


def _copy_library(library: Path, target: Path) -> Path:
    """Copy what the library's wheel is made of, so that no build folder or stale module gets in."""
    target.mkdir()
    for file_name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(library / file_name, target / file_name)
    shutil.copytree(
        library / "clinical_ner",
        target / "clinical_ner",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
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
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise ClinicalNerError(
            Errors.E082.format(path=source.name, code=done.returncode, reason=lines[-1])
        )
    return next(iter(set(output.glob("*.whl")) - before))
