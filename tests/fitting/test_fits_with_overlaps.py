"""Calibration and thresholds of a component with ``overlaps``, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from scipy.special import log_softmax
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans
from thinc.api import fix_random_seed

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.data.gold import GOLD_ALL, set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.fitting.calibrate import calibrate
from clinical_ner.fitting.fit_tokens import fit_tokens
from clinical_ner.fitting.held_out import STRENGTHS, annotated_documents
from clinical_ner.fitting.tune import tune
from clinical_ner.pipeline.recognizer import ClinicalNer

SITES = ["knee", "chest", "back", "head"]
SIGNS = ["pain", "rash", "mass", "scar"]
Spans = list[tuple[int, int, str]]


def make_docs(seed: int, n: int) -> list[Doc]:
    """Notes with signs such as "knee pain", which hold their site. Gold has nearly all that
    somebody "had", and a half of the others, so that no model can be sure."""
    nlp = spacy.blank("en")
    rng = np.random.default_rng(seed)
    docs = []
    for number in range(n):
        words, spans = ["note", str(number)], []
        for _ in range(5):
            words += [str(rng.choice(w)) for w in (["had", "no"], SITES, SIGNS)]
            end, share = len(words), 0.95 if words[-3] == "had" else 0.5
            spans += [(end - 2, end, "Sign")] if rng.random() < share else []
            spans += [(end - 2, end - 1, "Site")] if rng.random() < share else []
        doc = nlp.make_doc(" ".join(words))
        of_doc = [Span(doc, *span) for span in spans]
        # The longest of those that overlap.
        doc.set_ents(filter_spans(of_doc), default="outside")
        set_gold(
            doc,
            [
                Mention(f"T{i}", of.label_, ((of.start_char, of.end_char),))
                for i, of in enumerate(of_doc)
            ],
        )
        docs.append(doc)
    return docs


def all_spans(doc: Doc, key: str = GOLD_ALL) -> Spans:
    return [(of.start, of.end, of.label_) for of in doc.spans[key]]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model, train.spacy and dev.spacy, not to be changed."""
    folder = tmp_path_factory.mktemp("inputs")
    nlp = spacy.blank("en")
    small = {"width": 32, "depth": 1, "embed_size": 200}
    config = {
        "overlaps": True,
        "loss": {"@losses": "clinical_ner.BinaryTokenLabels.v2"},
        "model": {"tok2vec": {"@architectures": "spacy.HashEmbedCNN.v2", **small}},
    }
    nlp.add_pipe("clinical_ner", name="finder", config=config)
    fix_random_seed(0)
    write_docbin(make_docs(1, 6), folder / "train.spacy")
    write_docbin(make_docs(2, 20), folder / "dev.spacy")
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in make_docs(1, 8)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(40):
        nlp.update(examples, sgd=optimizer)
    nlp.to_disk(folder / "model")
    return folder


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The pipeline calibrated, and the report."""
    output = tmp_path_factory.mktemp("output") / "model"
    return output, calibrate(inputs / "model", inputs / "dev.spacy", output, min_support=20)


def finder_of(nlp: Language) -> ClinicalNer:
    component = nlp.get_pipe("finder")
    assert isinstance(component, ClinicalNer)
    return component


def tokens_of(model: Path, dev: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What a pipeline predicts for DEV, and gold ids by type, from the spans alone."""
    nlp = spacy.load(model)
    labels = list(finder_of(nlp).labels)
    log_probs, gold = [], []
    for doc in read_docbin(dev, nlp.vocab):
        log_probs += finder_of(nlp).predict([nlp.make_doc(doc.text)])
        ids = np.zeros((len(doc), len(labels)), dtype=np.int64)
        for start, end, label in all_spans(doc):
            index = labels.index(label)
            ids[start:end, index] = 2 * index + 2
            ids[start, index] = 2 * index + 1
        gold.append(ids)
    return log_probs, gold


def test_tokens_are_fitted_in_the_problem_of_each_type(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    log_probs, gold = tokens_of(inputs / "model", inputs / "dev.spacy")
    nlp = spacy.load(done[0])
    fit = fit_tokens(log_probs, gold, finder_of(nlp).statistics.counts, min_support=20)
    calibration = finder_of(nlp).calibration
    assert calibration is not None and calibration.tokens.overlaps
    assert calibration.tokens.temperature == pytest.approx(fit.calibration.temperature, rel=1e-3)
    np.testing.assert_allclose(calibration.tokens.bias, fit.calibration.bias, atol=1e-3)
    assert fit.nll_after < fit.nll_before
    assert done[1]["tokens"] == fit.tokens == sum(map(len, gold))
    after, _ = tokens_of(done[0], inputs / "dev.spacy")
    for raw, calibrated in zip(log_probs, after, strict=True):
        np.testing.assert_allclose(calibration.tokens.apply(raw), calibrated, atol=1e-4)


def test_entities_are_fitted_on_all_spans_against_all_mentions(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    report = done[1]
    docs = make_docs(2, 20)
    assert report["entities"] == sum(len(all_spans(doc)) for doc in docs)
    assert report["entities"] > sum(len(doc.ents) for doc in docs)
    assert report["entity_step"] is not None and report["right_spans"] > 20
    nlp = spacy.load(inputs / "model")
    errors = []
    for gold in docs:
        doc = nlp(gold.text)
        right = [of in all_spans(gold) for of in all_spans(doc, "ner")]
        errors += (np.array(doc.spans["ner"].attrs["scores"]) - right).tolist()
    assert report["before"]["ents_brier"] == pytest.approx(np.mean(np.square(errors)), rel=1e-5)


def test_tokens_are_reported_over_all_tags_against_flat_entities(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    log_probs, _ = tokens_of(inputs / "model", inputs / "dev.spacy")
    tags = finder_of(spacy.load(inputs / "model")).statistics.tags
    surprise = []
    for rows, doc in zip(log_probs, make_docs(2, 20), strict=True):
        names = [f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type else "O" for t in doc]
        flat = log_softmax(rows.astype("float64"), axis=1)
        surprise += [-flat[i, tags.index(name)] for i, name in enumerate(names)]
    assert done[1]["before"]["token_nll"] == pytest.approx(np.mean(surprise), rel=1e-5)


def test_spans_of_a_document_are_those_of_every_prior_strength(inputs: Path) -> None:
    nlp, other = spacy.load(inputs / "model"), spacy.load(inputs / "model")
    docs = make_docs(2, 3)
    for document, gold in zip(annotated_documents(nlp, "finder", docs), docs, strict=True):
        expected = []
        for strength in STRENGTHS:
            finder_of(other).prior_strength = strength
            doc = other(gold.text)
            scores = doc.spans["ner"].attrs["scores"]
            right = [of in all_spans(gold) for of in all_spans(doc, "ner")]
            expected += zip(scores, right, strict=True)
        probabilities, right_spans = document.spans(document.log_probs)
        found = zip(probabilities.tolist(), right_spans.tolist(), strict=True)
        for one, two in zip(sorted(found), sorted(expected), strict=True):
            assert one[0] == pytest.approx(two[0], rel=1e-5) and one[1] == two[1]


def test_tokens_of_unknown_gold_are_left_out(inputs: Path) -> None:
    nlp = spacy.load(inputs / "model")
    (doc,) = make_docs(2, 1)
    doc.set_ents([], missing=[doc[3:8]], default="outside")
    set_gold(doc, [])
    (document,) = annotated_documents(nlp, "finder", [doc])
    assert (document.gold < 0).all(axis=1).tolist() == [3 <= i < 8 for i in range(len(doc))]
    assert not document.gold_spans.support


@pytest.fixture(scope="module")
def tuned(
    done: tuple[Path, dict[str, Any]], inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("tuned") / "model"
    dev, objective = inputs / "dev.spacy", "recall@precision=0.85"
    return output, tune(done[0], dev, output, objective=objective, min_support=5)


def test_thresholds_are_chosen_on_all_spans(
    done: tuple[Path, dict[str, Any]], tuned: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    output, report = tuned
    for when, model in (("before", done[0]), ("after", output)):
        nlp = spacy.load(model)
        docs = read_docbin(inputs / "dev.spacy", nlp.vocab)
        scores = nlp.evaluate([Example(nlp.make_doc(doc.text), doc) for doc in docs])
        for key in ("p", "r", "f", "macro_f"):
            assert report[when][f"spans_{key}"] == pytest.approx(scores[f"spans_{key}"]), when
        for label, of in scores["spans_per_type"].items():
            assert report["labels"][label][when] == pytest.approx(of), (when, label)
    assert set(report["thresholds"]) == {"Sign", "Site"}
    for of in report["labels"].values():
        assert of["before"]["p"] < 0.85 <= of["after"]["p"]
    assert report["prior_strengths"] == {"1": report["after"]["spans_macro_r"]}
    assert not [key for key in report["after"] if key.startswith("ents_")]


def test_entities_of_others_take_no_room_from_spans(
    done: tuple[Path, dict[str, Any]], inputs: Path, tmp_path: Path
) -> None:
    nlp = spacy.load(done[0])
    ruler = nlp.add_pipe("entity_ruler", before="finder")
    ruler.add_patterns([{"label": "Site", "pattern": site} for site in SITES])
    nlp.to_disk(tmp_path / "ruled")
    reports = [
        tune(model, inputs / "dev.spacy", tmp_path / "out", min_support=5)
        for model in (done[0], tmp_path / "ruled")
    ]
    assert reports[0]["labels"] == reports[1]["labels"]


@pytest.mark.parametrize(
    ("command", "words"),
    [("tune", "All labels, all spans"), ("calibrate", "Tokens are scored by the softmax over all")],
)
def test_the_tables_say_what_is_scored(
    command: str,
    words: str,
    done: tuple[Path, dict[str, Any]],
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, str(done[0]), str(inputs / "dev.spacy"), str(tmp_path / "out")])
    assert not ended.value.code
    assert words in capsys.readouterr().out


def test_neighbours_are_refused_before_any_work(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(inputs / name) for name in ("model", "train.spacy", "dev.spacy")]
    with pytest.raises(SystemExit) as ended:
        main(["neighbours", *files, str(tmp_path / "out"), "--max-k", "2"])
    out, err = capsys.readouterr()
    assert ended.value.code == 1 and out == "" and err.count("\n") == 1
    assert "'finder' has overlaps = true" in err and "train with overlaps = false" in err
    assert not (tmp_path / "out").exists()
