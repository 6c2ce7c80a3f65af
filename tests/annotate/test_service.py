"""The example of a service, under a real uvicorn."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pandas as pd
import pytest
import spacy

from clinical_ner import annotate_table

from ..conftest import ROOT
from ..fitting.stores import make_document
from ..test_canary import CANARIES, WORDS, holding

pytestmark = pytest.mark.slow


def test_the_service_answers_many_clients_at_once(model: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("w+")
    service = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--app-dir", "examples", "service:app", f"--port={port}"],
        cwd=ROOT,
        env={**os.environ, "CLINICAL_NER_MODEL": str(model)},
        stdout=log,
        stderr=log,
    )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    try:
        for _ in range(600):
            try:
                assert client.get("/health").json() == {"status": "ok"}
                break
            except httpx.TransportError:
                assert service.poll() is None
                time.sleep(0.1)
        texts = [make_document(spacy.blank("en"), number).text for number in range(32)]
        frame = pd.DataFrame({"id": range(32), "text": texts})
        entities, _ = annotate_table(frame, model)
        columns = ["start", "end", "label"]
        expected = [
            entities[entities["id"] == str(i)][columns].to_dict("records") for i in range(32)
        ]

        def ask(number: int) -> None:
            own = texts[2 * number : 2 * number + 2]
            answers = client.post("/entities", json={"texts": own}).json()
            found = [[{k: of[k] for k in columns} for of in a["entities"]] for a in answers]
            assert found == expected[2 * number : 2 * number + 2]

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(16)))
        assert client.get("/model").json() == {"name": "en_small", "version": "1.2.3"}
        secret = " ".join(map(" ".join, CANARIES))
        wrong = client.post("/entities", json={"texts": secret})
        assert wrong.status_code == 422 and CANARIES[0][0] not in wrong.text
        assert client.post("/entities", content=b" " * 11_000_000).status_code == 413
        assert client.post("/entities", content=iter([b"{}"])).status_code == 411
        body = json.dumps({"texts": ["  ", "a \ud800 b", 7, "fever"]}).encode()
        kind = {"content-type": "application/json"}
        mixed = client.post("/entities", content=body, headers=kind)
        assert [(of["status"], of["error"]) for of in mixed.json()] == [
            ("empty", None),
            ("error", "UnicodeEncodeError"),
            ("error", "TypeError"),
            ("ok", None),
        ]
        assert client.post("/entities", json={"texts": [secret]}).status_code == 200
    finally:
        service.terminate()
        service.wait()
    log.seek(0)
    told = log.read()
    assert "POST /entities" in told and "fever" not in told
    assert holding([tmp_path / "log"], WORDS) == {}
