"""A small folder as ``clinical-ner folds`` leaves it, made in a second or two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import fix_random_seed

from clinical_ner.data.formats.docbin import DOCUMENT_ID, write_docbin
from clinical_ner.evaluation.runner import Runner
from clinical_ner.files import sha256
from clinical_ner.fitting.out_of_fold import (
    LOG_PROBS,
    MODEL,
    RECIPE,
    OutOfFold,
    read_out_of_fold,
    run_folder,
    write_log_probs,
    write_manifest,
)

LABELS = ("Dose", "Drug", "Sign")
#: Made-up notes: text, and entities by their words.
NOTES = [
    ("had severe fever and took aspirin .", {"severe fever": "Sign", "aspirin": "Drug"}),
    ("knee pain since May , no fever .", {"knee pain": "Sign", "fever": "Sign"}),
    ("took folic acid 40 mg and slept .", {"folic acid": "Drug", "40 mg": "Dose"}),
    ("came with cough , went home .", {"cough": "Sign"}),
    ("was well .", {}),
]


def make_document(nlp: Language, number: int) -> Doc:
    """Gold of note number so and so, as the pipeline's tokenizer cuts it."""
    words, ents = NOTES[number % len(NOTES)]
    doc = nlp.make_doc(f"Patient {number} {words}")
    starts = {text: doc.text.index(text) for text in ents}
    spans = [doc.char_span(at, at + len(text), ents[text]) for text, at in starts.items()]
    doc.set_ents(spans, default="outside")
    doc.user_data[DOCUMENT_ID] = f"note-{number}"
    return doc


def make_pipeline(**settings: Any) -> Language:
    """A pipeline that is not initialized, with a small encoder of its own."""
    nlp = spacy.blank("en")
    encoder = {"@architectures": "spacy.HashEmbedCNN.v2", "pretrained_vectors": None}
    encoder |= {"width": 16, "depth": 1, "embed_size": 100, "window_size": 1}
    encoder |= {"maxout_pieces": 2, "subword_features": True}
    nlp.add_pipe("clinical_ner", name="ner", config={"model": {"tok2vec": encoder}, **settings})
    return nlp


def train_pipeline(
    documents: Sequence[Doc], *, seed: int = 0, steps: int = 15, **settings: Any
) -> Language:
    """A pipeline trained on all these documents at each step, with all labels."""
    nlp = make_pipeline(**settings)
    nlp.config["initialize"]["components"]["ner"] = {"labels": list(LABELS)}
    fix_random_seed(seed)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in documents]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    return nlp


def write_store(
    folder: Path,
    *,
    documents: int = 15,
    folds: int = 3,
    seeds: Sequence[int] = (0,),
    steps: int = 15,
) -> OutOfFold:
    """Write a corpus beside the folder, and into it models with their predictions.

    Document i is in fold i % folds. Every model is trained on all documents of the other folds.
    """
    corpus = folder.with_name("corpus.spacy")
    docs = [make_document(spacy.blank("en"), number) for number in range(documents)]
    write_docbin(docs, corpus)
    fold_of = [number % folds for number in range(documents)]
    for seed in seeds:
        for fold in range(folds):
            nlp = train_pipeline(
                [doc for doc, of in zip(docs, fold_of, strict=True) if of != fold],
                seed=seed,
                steps=steps,
            )
            run = run_folder(folder, seed, fold)
            run.mkdir(parents=True)
            nlp.to_disk(run / MODEL)
            numbers = [number for number in range(documents) if fold_of[number] == fold]
            predictions = Runner(nlp).run([docs[number] for number in numbers])
            found = [recognized.log_probs for _, _, recognized in predictions if recognized]
            write_log_probs(run / LOG_PROBS, dict(zip(numbers, found, strict=True)))
    nlp.config.to_disk(folder / RECIPE)
    parts = {"corpus": sha256(corpus.read_bytes()), "folds": folds, "seeds": list(seeds)}
    write_manifest(
        folder,
        {
            "parts": parts,
            "corpus": "../corpus.spacy",
            "documents": [f"note-{number}" for number in range(documents)],
            "fold_of": fold_of,
            "labels": list(LABELS),
            "planned_epochs": 10,
            "epochs": 8.0,
            "has_probabilities": True,
            "finished": True,
        },
    )
    return read_out_of_fold(folder)
