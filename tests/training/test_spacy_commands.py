"""spaCy's own commands on our recipes and on what they trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
import srsly
from spacy.cli import app
from spacy.cli.debug_config import debug_config
from spacy.cli.debug_data import debug_data
from spacy.cli.evaluate import evaluate
from spacy.cli.find_threshold import find_threshold
from spacy.cli.init_config import fill_config
from spacy.cli.package import generate_readme
from typer.testing import CliRunner

from ..conftest import ROOT, Trained

RECIPES = [ROOT / "configs" / f"{name}.cfg" for name in ("tok2vec", "minilm")]


def paths(corpus: Path) -> dict[str, str]:
    return {"paths.train": str(corpus), "paths.dev": str(corpus)}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
class TestRecipes:
    def test_debug_config(
        self, recipe: Path, corpus_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        debug_config(recipe, overrides=paths(corpus_file))
        assert "Config is valid" in capsys.readouterr().out

    def test_init_fill_config_has_nothing_to_add(self, recipe: Path, tmp_path: Path) -> None:
        before, after = fill_config(tmp_path / "filled.cfg", recipe)
        assert set(after["nlp"]) == set(before["nlp"]) | {"vectors"}
        assert set(after["training"]) == set(before["training"])

    @pytest.mark.slow
    def test_debug_data(
        self, recipe: Path, corpus_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            # It calls less than 100 documents an error.
            debug_data(recipe, config_overrides=paths(corpus_file), silent=False)
        assert "Pipeline can be initialized with data" in capsys.readouterr().out

    @pytest.mark.slow
    def test_debug_model(self, recipe: Path, corpus_file: Path) -> None:
        overrides = [f"--{key}={value}" for key, value in paths(corpus_file).items()]
        done = CliRunner().invoke(app, ["debug", "model", str(recipe), "ner", *overrides])
        assert done.exit_code == 0, done.output
        assert "Initialized the model with the training corpus" in done.output
        assert "model looks good" in done.output


def test_evaluate_draws_no_entities_and_displacy_does(corpus_file: Path, tmp_path: Path) -> None:
    # spaCy draws those of a component whose factory is its own "ner".
    saved = ROOT / "tests" / "fixtures" / "model-0.1"
    (tmp_path / "html").mkdir()
    scores = evaluate(str(saved / "model"), corpus_file, displacy_path=tmp_path / "html")
    assert "ents_f" in scores and list((tmp_path / "html").iterdir()) == []
    text = srsly.read_json(saved / "outputs.json")[0]["text"]
    doc = spacy.load(saved / "model")(text)
    drawn = spacy.displacy.render(doc, style="ent", jupyter=False)
    assert drawn.count("<mark") == len(doc.ents) > 0


@pytest.mark.slow
class TestTrained:
    def test_find_threshold(self, tok2vec_model: Trained) -> None:
        best, score, scores = find_threshold(
            str(tok2vec_model.model),
            tok2vec_model.folder / "all.spacy",
            "ner",
            "threshold",
            "ents_f",
            n_trials=3,
            silent=True,
        )
        assert set(scores) == {0.0, 0.5, 1.0} and best in scores and score == max(scores.values())

    def test_the_readme_of_spacy_package_multiplies_no_count(self, tok2vec_model: Trained) -> None:
        nlp = spacy.load(tok2vec_model.folder / "training" / "model-best")
        readme = generate_readme(nlp.meta)
        assert "ENTS_MACRO_F" in readme and "MACRO_TYPES" not in readme

    def test_assemble_from_a_trained_model(self, tok2vec_model: Trained, tmp_path: Path) -> None:
        config = f"""[nlp]
lang = "en"
pipeline = ["tok2vec","ner"]
[components]
[components.tok2vec]
source = "{tok2vec_model.model}"
[components.ner]
source = "{tok2vec_model.model}"
"""
        (tmp_path / "config.cfg").write_text(config)
        done = CliRunner().invoke(
            app, ["assemble", str(tmp_path / "config.cfg"), str(tmp_path / "model")]
        )
        assert done.exit_code == 0, done.output
        text = "A 58-year-old woman took aspirin."
        expected, found = (
            [(ent.text, ent.label_, ent._.probability) for ent in spacy.load(model)(text).ents]
            for model in (tok2vec_model.model, tmp_path / "model")
        )
        assert found == expected != []
