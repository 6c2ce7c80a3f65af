"""A model as an HTTP service: texts in, entities with probabilities out.

    CLINICAL_NER_MODEL=en_clinical_ner uvicorn --app-dir examples service:app

Texts that arrive while the model works are annotated together afterwards. No text is logged.
"""

import asyncio
import os
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError

from clinical_ner.annotate.annotator import Annotated, Settings, TextAnnotator

MODEL = os.environ.get("CLINICAL_NER_MODEL", "en_clinical_ner")
MAX_BYTES, MAX_TEXTS, BATCH = 10_000_000, 1_000, 64
waiting: asyncio.Queue[tuple[Any, asyncio.Future[Annotated]]] = asyncio.Queue(10 * MAX_TEXTS)


async def annotate_together(annotator: TextAnnotator) -> None:
    while True:
        batch = [await waiting.get()]
        while len(batch) < BATCH and not waiting.empty():
            batch.append(waiting.get_nowait())
        found = await asyncio.to_thread(annotator.annotate, [text for text, _ in batch])
        for (_, answer), annotated in zip(batch, found, strict=True):
            if not answer.cancelled():
                answer.set_result(annotated)


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.annotator = TextAnnotator(MODEL, Settings(batch_size=BATCH))
    app.state.worker = asyncio.create_task(annotate_together(app.state.annotator))
    yield
    app.state.worker.cancel()


app = FastAPI(lifespan=lifespan)


@app.exception_handler(RequestValidationError)
async def say_what_is_expected(request: Request, error: RequestValidationError) -> Response:
    # In place of FastAPI's answer, which quotes the text.
    return Response(f'Expected {{"texts": [...]}} with at most {MAX_TEXTS} strings.', 422)


@app.middleware("http")
async def limit_body(request: Request, call_next: Any) -> Response:
    length = request.headers.get("content-length")
    if request.method == "POST" and (length is None or int(length) > MAX_BYTES):
        return Response(status_code=411 if length is None else 413)
    return await call_next(request)


@app.post("/entities")
async def entities(texts: list[Any] = Body(embed=True, max_length=MAX_TEXTS)) -> list[Any]:
    # Any: a text that is none, or that no UTF-8 can hold, is an error of its own.
    if waiting.qsize() + len(texts) > waiting.maxsize:
        raise HTTPException(503, "Too many texts wait. Try again.")
    answers = [asyncio.get_running_loop().create_future() for _ in texts]
    for pair in zip(texts, answers, strict=True):
        waiting.put_nowait(pair)
    found = [await answer for answer in answers]
    return [{**of._asdict(), "entities": [e._asdict() for e in of.entities]} for of in found]


@app.get("/health")
async def health(response: Response) -> dict[str, str]:
    response.status_code = 503 if app.state.worker.done() else 200
    return {"status": "failed" if app.state.worker.done() else "ok"}


@app.get("/model")
async def model() -> dict[str, str]:
    return {"name": app.state.annotator.name, "version": app.state.annotator.version}
