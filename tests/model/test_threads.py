"""Worker processes of ``nlp.pipe`` compute with one thread each, and find what one process does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import NumpyOps, fix_random_seed, get_current_ops
from thinc.backends import context_ops

from clinical_ner.model.threads import CHOSEN, limit_threads, side_by_side

from .windows.windowed_examples import LONG, SHORT, make_nlp, write_bert

MENTION = re.compile("fever|aspirin")
TEXTS = [SHORT, LONG, "aspirin and cough", LONG + " " + SHORT]

PIPE = """
import json, multiprocessing, os, sys
import spacy, torch
from spacy.language import Language

@Language.component("look")
def look(doc):
    doc.user_data["seen"] = [os.getpid(), torch.get_num_threads()]
    return doc

def found(docs):
    return [
        [[e.start_char, e.end_char, e.label_, round(e._.probability, 5)] for e in doc.ents]
        + [[round(score, 5) for score in doc.spans["ner"].attrs["scores"]]]
        for doc in docs
    ]

def vectors(ner, docs):
    return [row for doc in docs if len(doc) for row in ner.token_vectors([doc])[0].tolist()]

if __name__ == "__main__":
    model, texts, method = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    multiprocessing.set_start_method(method)
    nlp = spacy.load(model)
    nlp.add_pipe("look")
    torch.set_num_threads(int(sys.argv[4]))
    # Large enough for PyTorch to start its threads, which a fork would wait for.
    torch.ones(2000, 2000) @ torch.ones(2000, 2000)
    alone = list(nlp.pipe(texts))
    workers = list(nlp.pipe(texts, n_process=2, batch_size=1))
    print(json.dumps({
        "alone": found(alone), "workers": found(workers), "process": os.getpid(),
        "vectors alone": vectors(nlp.get_pipe("ner"), alone),
        "vectors": vectors(nlp.get_pipe("ner"), workers),
        "seen alone": [doc.user_data["seen"] for doc in alone],
        "seen": [doc.user_data["seen"] for doc in workers],
        "after": torch.get_num_threads(),
    }))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("threads")
    nlp = make_nlp(write_bert(folder / "bert"))
    fix_random_seed(0)
    # Every fever and every aspirin, which takes no context to learn.
    examples = [
        Example.from_dict(
            nlp.make_doc(text),
            {"entities": [(m.start(), m.end(), m[0].title()) for m in MENTION.finditer(text)]},
        )
        for text in TEXTS
    ]
    sgd = nlp.initialize(lambda: examples)
    sgd.learn_rate = 0.02
    for _ in range(30):
        nlp.update(examples, sgd=sgd)
    nlp.to_disk(folder / "model")
    return folder / "model"


def pipe(model: Path, method: str, threads: int, **environment: str) -> dict[str, Any]:
    """What two workers found, and how many threads they had, in a program of its own."""
    # A file, since a worker started as a new process imports the program.
    program = model.parent / "program.py"
    program.write_text(PIPE, encoding="utf-8")
    unset = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, str(program), str(model), json.dumps([*TEXTS, ""]), method, str(threads)],
        env={name: value for name, value in os.environ.items() if name not in unset} | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, environment",
    # A fork would wait forever for the threads that it is to have.
    [("fork", {"OMP_NUM_THREADS": "2"}), ("spawn", {})],
    ids=["fork", "spawn"],
)
def test_workers_agree_with_one_process(
    model: Path, method: str, environment: dict[str, str]
) -> None:
    seen = pipe(model, method, 2, **environment)
    assert seen["workers"] == seen["alone"]
    # What the transformer found comes back with the documents.
    np.testing.assert_allclose(seen["vectors"], seen["vectors alone"], rtol=1e-5, atol=1e-6)
    assert any(entities for *entities, _ in seen["alone"])
    workers = {process for process, _ in seen["seen"]}
    assert len(workers) == 2
    assert seen["process"] not in workers
    assert {number for _, number in seen["seen"]} == {1}
    # The process that asked keeps what it had.
    assert {number for _, number in seen["seen alone"]} == {seen["after"]} == {2}


@pytest.fixture
def threads() -> Iterator[None]:
    """Give PyTorch's threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["", *CHOSEN])
@pytest.mark.parametrize(
    "forked, started, unasked, asked",
    [(False, False, 3, 3), (False, True, 1, 3), (True, True, 1, 1), (True, False, 1, 1)],
    ids=["alone", "spawned", "forked", "forked by another program"],
)
def test_threads_of_a_process(
    monkeypatch: pytest.MonkeyPatch,
    threads: None,
    forked: bool,
    started: bool,
    unasked: int,
    asked: int,
    name: str,
) -> None:
    for variable in CHOSEN:
        monkeypatch.delenv(variable, raising=False)
    if name:
        monkeypatch.setenv(name, "3")
    imported_in = os.getppid() if forked else os.getpid()
    monkeypatch.setattr("clinical_ner.model.threads._IMPORTED_IN", imported_in)
    parent = object() if started else None
    monkeypatch.setattr("multiprocessing.parent_process", lambda: parent)
    torch.set_num_threads(3)
    limit_threads()
    assert torch.get_num_threads() == (asked if name else unasked)


@pytest.fixture
def nlp(model: Path) -> Language:
    return spacy.load(model)


def test_a_process_that_loads_a_model_keeps_its_threads(nlp: Language, threads: None) -> None:
    torch.set_num_threads(3)
    nlp(SHORT)
    assert torch.get_num_threads() == 3


def handed_over(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model look like one that another process made."""
    transformer = nlp.get_pipe("transformer").model
    monkeypatch.setattr(transformer, "_process", os.getppid())


def test_a_model_read_from_a_pickle_is_not_taken_for_a_worker(
    nlp: Language, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over(nlp, monkeypatch)
    torch.set_num_threads(3)
    nlp(SHORT)
    assert torch.get_num_threads() == 3


def test_a_worker_may_choose_its_threads_after_the_first_call(
    nlp: Language, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over(nlp, monkeypatch)
    monkeypatch.setattr("clinical_ner.model.threads._IMPORTED_IN", os.getppid())
    torch.set_num_threads(3)
    nlp(SHORT)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(2)
    nlp(SHORT)
    assert torch.get_num_threads() == 2


def threads_of_a_new_thread() -> int:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_results_come_in_order_from_threads_of_one_thread_each(threads: None) -> None:
    torch.set_num_threads(3)
    together = threading.Barrier(3, timeout=60)
    seen = set()

    def square(item: int) -> int:
        if item < 3:
            # Passes only if three items are computed at a time; the first is the last to end.
            together.wait()
            time.sleep(0.05 * (3 - item))
        seen.add((threading.get_ident(), torch.get_num_threads()))
        return item * item

    assert list(side_by_side(square, range(10))) == [item * item for item in range(10)]
    assert {number for _, number in seen} == {1}
    assert len(seen) == 3 and threading.get_ident() not in {thread for thread, _ in seen}
    assert torch.get_num_threads() == threads_of_a_new_thread() == 3


@pytest.mark.parametrize("number, items", [(1, 5), (4, 1), (4, 0)])
def test_one_thread_or_one_item_needs_no_other_thread(
    threads: None, number: int, items: int
) -> None:
    torch.set_num_threads(number)
    found = side_by_side(lambda item: (threading.get_ident(), torch.get_num_threads()), [0] * items)
    assert list(found) == [(threading.get_ident(), number)] * items


def test_an_error_ends_what_has_not_begun(threads: None) -> None:
    torch.set_num_threads(2)
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        time.sleep(0.05)
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        list(side_by_side(fail, range(100)))
    assert len(begun) < 10
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


def test_who_stops_early_gets_the_threads_back(threads: None) -> None:
    torch.set_num_threads(2)
    found = side_by_side(str, range(100))
    assert next(found) == "0"
    found.close()
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


def test_other_threads_compute_with_the_same_ops(threads: None) -> None:
    class Own(NumpyOps):
        name = "own"

    torch.set_num_threads(2)
    token = context_ops.set(Own())
    try:
        assert set(side_by_side(lambda _: get_current_ops().name, range(4))) == {"own"}
    finally:
        context_ops.reset(token)
