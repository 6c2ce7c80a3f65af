"""What folds wrote, read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
from scipy.special import logsumexp

from clinical_ner.data.formats.docbin import DOCUMENT_ID
from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.out_of_fold import MANIFEST, is_out_of_fold, read_out_of_fold

from .stores import LABELS, make_document, write_store


def test_every_document_has_the_mean_probabilities_of_the_models_without_it(tmp_path: Path) -> None:
    store = write_store(tmp_path / "folds", documents=6, folds=2, seeds=(0, 5))
    assert is_out_of_fold(tmp_path / "folds") and not is_out_of_fold(tmp_path)
    assert (store.seeds, store.folds, store.epochs, store.labels) == ((0, 5), 2, 8.0, LABELS)
    assert store.fold_of.tolist() == [0, 1, 0, 1, 0, 1]
    ids = [doc.user_data[DOCUMENT_ID] for doc in store.documents]
    assert ids == [f"note-{number}" for number in range(6)]
    models = store.models()
    assert [path.parent.name for path in models] == ["fold-1", "fold-2"] * 2
    for number, rows in enumerate(store.log_probs()):
        found = []
        for path in models[store.fold_of[number] :: 2]:
            nlp = spacy.load(path)
            (log_probs,) = nlp.get_pipe("ner").predict([nlp.make_doc(store.documents[number].text)])
            found.append(log_probs.astype(np.float64))
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, logsumexp(found, axis=0) - np.log(2), rtol=1e-4)


def test_what_is_no_finished_store_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "folds"
    with pytest.raises(ClinicalNerError, match=r"folds: is not a folder of clinical-ner folds"):
        read_out_of_fold(folder)
    store = write_store(folder, documents=4, folds=2, steps=0)
    whole = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(whole | {"finished": False}))
    with pytest.raises(ClinicalNerError, match="not finished.*goes on where it was stopped"):
        read_out_of_fold(folder)
    (folder / MANIFEST).write_text(json.dumps(whole | {"has_probabilities": False}))
    with pytest.raises(ClinicalNerError, match="give no probabilities"):
        read_out_of_fold(folder).log_probs()
    (store.models()[0].parent / "log_probs.npz").write_bytes(b"PK")
    with pytest.raises(ClinicalNerError, match=r"fold-1/log_probs\.npz: not readable"):
        store.log_probs()
    (folder / MANIFEST).write_text(json.dumps(whole))
    changed = [make_document(spacy.blank("en"), number) for number in range(1, 5)]
    spacy.tokens.DocBin(docs=changed, store_user_data=True).to_disk(store.corpus)
    with pytest.raises(ClinicalNerError, match=r"corpus\.spacy: has changed since"):
        read_out_of_fold(folder)
