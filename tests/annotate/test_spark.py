"""The same function on Spark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import spacy
import torch
from pyspark import TaskContext
from pyspark.resource import ResourceInformation

from clinical_ner import annotate_table
from clinical_ner.annotate import spark
from clinical_ner.annotate.annotator import Settings
from clinical_ner.cli import main
from clinical_ner.errors import ClinicalNerError

from ..fitting.stores import make_document
from ..test_canary import CANARIES, WORDS, holding

pytestmark = pytest.mark.slow
NO_JAVA = "Spark needs Java 17, which is not here"
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason=NO_JAVA)
COUNT = 60


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spark") / "notes.jsonl"
    nlp = spacy.blank("en")
    texts = [make_document(nlp, number).text for number in range(COUNT)]
    rows: list[dict[str, Any]] = [
        {"id": f"n{number}", "text": of} for number, of in enumerate(texts)
    ]
    rows += [
        {"id": "none", "text": None},
        {"id": None, "text": "lost"},
        {"id": "n1", "text": "x ."},
        {"id": "named", "text": " ".join(map(" ".join, CANARIES))},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


#: The command, of whose workers the one that has done note n7 is killed before it says so.
DYING = """
import os, signal, sys
import clinical_ner.annotate.spark as module
from clinical_ner.cli import main

whole, mark = module.annotate_table, sys.argv[1]

def dying_once(part, *args, **settings):
    found = whole(part, *args, **settings)
    if "n7" in set(part["id"]) and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return found

module.annotate_table = dying_once
main(["predict", *sys.argv[2:]])
"""


@needs_java
def test_spark_gives_what_the_function_gives_although_a_worker_is_killed(
    model: Path, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, output = tmp_path / "killed", tmp_path / "out.parquet"
    args = ["predict", model, notes, "-o", output, "--engine", "spark", "--partitions", 4]
    # Tried again only where Spark is told how often a task may fail: local[cores, failures].
    args += ["--master", "local[2, 3]", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", DYING, mark, *map(str, args[1:])],
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert mark.exists()
    report = json.loads(done.stdout)
    assert report["notes"] == COUNT + 4
    assert report["status"] == {"ok": COUNT + 2, "empty": 1, "error": 1}
    assert report["errors"] == {"MissingIdError": 1}
    records = [json.loads(line) for line in notes.read_text().splitlines()]
    frame = pd.DataFrame(records, dtype=object)
    entities, status = annotate_table(frame, model)
    found = pd.read_parquet(output)
    columns = list(entities.columns)
    by = ["id", "start"]
    ours = found[found["status"].isna()][columns].astype(entities.dtypes.to_dict())
    pd.testing.assert_frame_equal(
        ours.sort_values(by, ignore_index=True), entities.sort_values(by, ignore_index=True)
    )
    states = found[found["status"].notna()][["id", "status", "error"]].fillna("-")
    expected = status[["id", "status", "error"]].fillna("-")
    assert sorted(states.itertuples(index=False, name=None)) == sorted(
        expected.itertuples(index=False, name=None)
    )
    # What Spark prints, of the worker that was lost, too, names no text; nor do its files.
    (tmp_path / "log").write_text(done.stderr)
    assert "fever" not in done.stderr
    assert holding([tmp_path / "log", *output.rglob("*")], WORDS) == {}
    with pytest.raises(SystemExit, match="1"):
        main([*map(str, args)])
    assert "give --overwrite" in capsys.readouterr().err


def test_a_task_takes_its_cores_and_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, int]] = []
    task = SimpleNamespace(
        cpus=lambda: 2, resources=lambda: {"gpu": ResourceInformation("gpu", ["3"])}
    )
    monkeypatch.setattr(TaskContext, "get", lambda: task)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: taken.append(("threads", count)))
    monkeypatch.setattr(spark, "use_gpu", lambda number: taken.append(("gpu", number)))
    spark._use_resources_of_task()
    assert taken == [("threads", 2), ("gpu", 3)]


def test_overwrite_removes_only_what_spark_wrote(model: Path, notes: Path, tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").touch()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ClinicalNerError, match="not a folder that Spark wrote"):
        spark.predict_with_spark(
            *(model, notes, tmp_path, Settings()), master="local[1]", overwrite=True
        )
    assert (tmp_path / "mine.txt").exists()


def test_without_java_one_line_says_so(
    model: Path, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ClinicalNerError, match="It needs Java 17"):
        spark.predict_with_spark(model, notes, tmp_path / "out", Settings(), master="local[1]")
