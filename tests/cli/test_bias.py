"""clinical-ner bias: files, tables, exit codes and bad input."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.research.bias import bias as command

from ..research.bias_examples import tiny_encoder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the command draws with matplotlib"
)
FILES = {"bias.json", "bias.csv", "bias.png", "bias.svg"}


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["bias", *map(str, args)])
    return int(ended.value.code or 0)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of some hundred weights, which learns nothing, in place of a transformer."""
    monkeypatch.setattr(command, "transformer", lambda name: tiny_encoder)
    monkeypatch.setattr("spacy.language.Language.update", lambda *args, **kwargs: {})


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, tiny: None) -> Callable[[float], None]:
    """Let every mass ratio be as said, since what a training gives is tested elsewhere."""

    def set_mass(mass: float) -> None:
        measured = command.run_bias_test

        def changed(*args: Any, **kwargs: Any) -> dict[str, Any]:
            from clinical_ner.research.bias.bias_test import verdict

            results = measured(*args, **kwargs)
            for result in results["losses"]:
                for row in result["tags"]:
                    row["mass_after"] = mass if result["has_posterior"] else None
            return {**results, "verdict": verdict(results["losses"])}

        monkeypatch.setattr(command, "run_bias_test", changed)

    return set_mass


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    vocab = Vocab()
    docs = []
    for n in range(12):
        doc = Doc(vocab, words=["fever"] * 50)
        doc.set_ents(
            [Span(doc, i, i + 2, "AB"[(i + n) % 3 == 0]) for i in range(0, 50, 5)],
            default="outside",
        )
        docs.append(doc)
    write_docbin(docs, tmp_path / "corpus.spacy")
    return tmp_path / "corpus.spacy"


def test_files_table_and_verdict(
    tmp_path: Path, judge: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(1.1)
    out = tmp_path / "out"
    code = run("--output", out, "--shares", "0.8,0.2", "--words", 600, "--losses", "plain,paper")
    shown = capsys.readouterr()
    assert code == 0
    assert shown.err == ""
    assert {path.name for path in out.iterdir()} == FILES
    assert shown.out.splitlines()[-1] == (
        "Bias: every promised inverse is within 0.8 to 1.25 (2 losses, 2 tags)."
    )
    results = json.loads((out / "bias.json").read_text(encoding="utf-8"))
    assert results["settings"]["shares"] == [0.8, 0.2]
    assert results["settings"]["training_words"] == 600
    assert results["settings"]["fresh_words"] == 120
    assert [result["loss"] for result in results["losses"]] == ["plain", "paper"]
    for name in ("plain", "paper", "B-L1", "1.100"):
        assert name in shown.out


def test_exit_code_1_if_a_promised_inverse_is_off(
    tmp_path: Path, judge: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(1.3)
    out = tmp_path / "out"
    assert run("--output", out, "--shares", "0.8,0.2", "--words", 300, "--losses", "plain") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Bias: 1 of 1 promised inverse")
    # The verdict is a result, not an error: the files are there.
    assert {path.name for path in out.iterdir()} == FILES


def test_few_tokens_are_marked(
    tmp_path: Path, judge: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(1.0)
    run("--output", tmp_path / "out", "--shares", "0.9,0.1", "--words", 200, "--losses", "plain")
    shown = capsys.readouterr().out
    assert "B-L1 *" in shown
    assert "under 50 training tokens" in shown


def test_a_loss_without_inverse_alone_is_fine(
    tmp_path: Path, tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("--output", out, "--words", 2000, "--losses", "soft_dice") == 0
    shown = capsys.readouterr().out
    assert "n/a" in shown
    assert "no inverse promised by soft_dice" in shown.splitlines()[-1]


def test_json_on_stdout_and_verdict_on_stderr(
    tmp_path: Path, judge: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(1.0)
    out = tmp_path / "out"
    run("--output", out, "--shares", "0.8,0.2", "--words", 300, "--losses", "plain", "--json")
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads((out / "bias.json").read_text(encoding="utf-8"))
    assert shown.err.splitlines()[-1].startswith("Bias: every promised inverse")


def test_a_corpus(tmp_path: Path, judge: Callable, corpus: Path) -> None:
    judge(1.0)
    out = tmp_path / "out"
    assert run("--output", out, "--corpus", corpus, "--losses", "paper,btl,btl_batch") == 0
    results = json.loads((out / "bias.json").read_text(encoding="utf-8"))
    assert results["settings"]["corpus"] == str(corpus)
    assert results["settings"]["shares"] is None
    tags = {tag["tag"]: tag["tokens"] for tag in results["tags"]}
    assert set(tags) == {"O", "B-A", "I-A", "B-B", "I-B"}
    # Ten documents of 50 tokens, with ten mentions of two tokens each.
    assert sum(tags.values()) == 500
    assert tags["B-A"] + tags["B-B"] == tags["I-A"] + tags["I-B"] == 100


def test_overlaps(tmp_path: Path, judge: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    judge(1.0)
    out = tmp_path / "out"
    assert run("--output", out, "--overlaps", "--shares", "0.5,0.4,0.1", "--words", 500) == 0
    results = json.loads((out / "bias.json").read_text(encoding="utf-8"))
    assert results["settings"]["design"] == "random words, overlaps"
    assert results["settings"]["shares"] == [0.5, 0.4, 0.1]
    assert [result["loss"] for result in results["losses"]] == ["btl"]
    assert [tag["tag"] for tag in results["tags"]] == ["B-L1", "B-L2", "B-L3"]
    # An untrained network has the three balanced problems at one half each.
    assert results["losses"][0]["sum_above_1"] == {"before": 1.0, "after": 0.0}
    assert "Sum of types above 1, btl: " in capsys.readouterr().out


def test_equal_seeds_give_equal_files(tmp_path: Path, judge: Callable) -> None:
    judge(1.0)
    for name in ("a", "b"):
        run("--output", tmp_path / name, "--words", 500, "--losses", "inverse")
    for name in ("bias.csv", "bias.png", "bias.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--shares", "0.9,0.2"], 2, "sum to 1, got 1.1"),
        (["--shares", "1.0"], 2, "at least two"),
        (["--shares", "1.1,-0.1"], 2, "above 0, got -0.1"),
        (["--shares", "much,little"], 2, "numbers with commas"),
        (["--losses", "plain,papre"], 2, "Did you mean paper"),
        (["--losses", ""], 2, "Unknown loss ''"),
        (["--shares", "0.9,0.1", "--corpus", "x.spacy"], 2, "give one of them"),
        (["--overlaps", "--corpus", "x.spacy"], 2, "give one of them"),
        (["--overlaps", "--shares", "0.5,1.0"], 2, "below 1, got 1.0"),
        (["--overlaps", "--losses", "paper"], 2, "does not learn types that overlap"),
        (["--words", "0"], 2, "--words"),
        (["--corpus", "x.spacy"], 1, "x.spacy: no such file"),
        (["--shares", "0.999999,0.000001", "--words", "50"], 1, "no L1"),
    ],
)
def test_bad_input(
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    tiny: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--output", tmp_path / "out", *options) == code
    shown = capsys.readouterr()
    # Usage errors stand in a box, which breaks lines.
    assert message.replace(" ", "") in "".join(shown.err.replace("│", "").split())
    assert not (tmp_path / "out").exists()


def test_a_corpus_is_not_replaced_by_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: Path
) -> None:
    corpus = corpus.rename(tmp_path / "bias.json")
    assert run("--output", tmp_path, "--corpus", corpus) == 1
    assert "which is read" in capsys.readouterr().err


def test_a_corpus_without_mentions(
    tmp_path: Path, tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    doc = Doc(Vocab(), words=["fever"])
    doc.set_ents([], default="outside")
    write_docbin([doc, doc], tmp_path / "none.spacy")
    assert run("--output", tmp_path / "out", "--corpus", tmp_path / "none.spacy") == 1
    assert "none.spacy: holds no entity" in capsys.readouterr().err


def test_the_output_is_a_file(
    tmp_path: Path, tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("here already", encoding="utf-8")
    assert run("--output", tmp_path / "out") == 1
    assert "is not a folder" in capsys.readouterr().err


def test_without_matplotlib_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(command, "run_bias_test", lambda *args, **kwargs: pytest.fail("trained"))
    assert run("--output", tmp_path / "out") == 1
    assert "pip install 'clinical-ner[plots]'" in capsys.readouterr().err


def test_help_says_what_is_not_judged_and_shows_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "under 50 training tokens" in shown
    assert "clinical-ner bias --shares 0.99,0.01" in shown


@pytest.mark.slow
def test_the_embedded_encoder_gives_the_shares_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = run("--output", out, "--shares", "0.8,0.2", "--words", 2000, "--losses", "paper,btl")
    assert code == 0
