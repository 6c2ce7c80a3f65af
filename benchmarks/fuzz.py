"""Damaged and hostile input for every reader, for the files of a model, and for nlp(text).

Each input must end in a result or in an error of clinical_ner: one line, without the note, in
little time and memory. Inputs are pieces of what each format is made of, damaged at random; of
JSON and msgpack the values are exchanged as well. Every target runs in a process of its own, so
that a crash of a library is a finding too. An input that fails is kept, with its traceback, once
for each place that it failed at.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import spacy
import srsly

from clinical_ner.checks.check import check
from clinical_ner.data.convert import blank, convert
from clinical_ner.data.label_map import read_label_map
from clinical_ner.errors import ClinicalNerError
from clinical_ner.files import write_text

EXAMPLE = """example:
  python benchmarks/fuzz.py --minutes 60 --model training/model-final \\
    --crashers crashers --output benchmarks/results/fuzz.json
"""
#: Of the notes; no message may hold it, wherever it was put.
SECRET = "Erna Quandt has had zosteric neuralgia"
SECONDS, MEMORY = 20, 8 * 2**30
NASTY: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        2**31,
        2**63,
        10**30,
        1e308,
        "",
        " ",
        "\ud800",
        "\x00",
        "\x1b[31m",
        "../../x",
    ),
    *([], {}, [[]], {"a": {}}, SECRET, "x" * 5000, "\u0301" * 500, "\u202e", "a\nb", "0", [0, 1]),
]
PIECES = [b"\n", b"\r\n", b"\t", b"\xef\xbb\xbf", b"\xff", b"\x00", b"null", b"-1", b"99999999999"]
PIECES += [b"\\ud83d", b"&x;", b"<!DOCTYPE a [", b"]]>", b"[", b'"', b"B-", b"|t|", b"1-1\t", b"#"]
PIECES += [b"!!python/object/apply:os.system", b"&a [*a, *a]", SECRET.encode(), "é😷".encode()]

TEXT = f"{SECRET}. No chest pain 😷\r\n"
_SPAN = {"id": 1, "start": 41, "end": 51, "label": "Sign"}
_ANNOTATION = {"id": "1", "infons": {"type": "Sign"}, "text": "chest pain"}
_ANNOTATION |= {"locations": [{"offset": 41, "length": 10}]}
_PASSAGE = {"offset": 0, "infons": {}, "text": TEXT, "sentences": [], "relations": []}
_RESULT = {"value": {"start": 43, "end": 53, "labels": ["Sign"]}, "id": "a", "type": "labels"}
RECORDS: dict[str, list[Any]] = {
    "jsonl": [
        {"id": "n1", "text": TEXT, "entities": [{**_SPAN, "start_offset": 41, "end_offset": 51}]},
        {"text": TEXT, "label": [[41, 51, "Sign"]], "username": "eq", "sents": [{"start": 0}]},
        {"text": TEXT, "spans": [_SPAN], "answer": "accept", "_input_hash": 7, "_task_hash": 8},
        {"id": 3, "data": {"text": TEXT}, "annotations": [{"result": [_RESULT]}]},
        {"id": 4, "paragraphs": [{"raw": TEXT, "entities": [[41, 51, "Sign"]], "sentences": []}]},
        {"classes": ["SIGN"], "annotations": [[TEXT, {"entities": [[41, 51, "SIGN"]]}]]},
    ],
    "huggingface": [{"id": "1", "tokens": ["chest", "pain"], "ner_tags": ["B-Sign", "I-Sign"]}],
    "bioc": [{"documents": [
        {"id": "1", "infons": {}, "relations": [],
         "passages": [{**_PASSAGE, "annotations": [_ANNOTATION]}]}
    ]}],
}  # fmt: skip
FILES: dict[str, bytes] = {
    "conll": f'# newdoc id = a\n# document_text = "{SECRET}"\n'.encode()
    + b"".join(f"{word}\tO\n".encode() for word in SECRET.split())
    + b"\n-DOCSTART- O\n\nchest\tB-Sign\npain\tI-Sign\n",
    "webanno": (
        b"#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.Finding|value\n\n\n#Text=Chest pain.\n"
        b"1-1\t0-5\tChest\tSign[1]\n1-2\t6-10\tpain\tSign[1]|Site[2]\n1-3\t10-11\t.\t_\n"
    ),
    "pubtator": f"7|t|Chest pain\n7|a|{SECRET}.\n7\t0\t10\tChest pain\tDisease\tD1\n".encode(),
    "bioc_xml": (
        "<?xml version='1.0'?><!DOCTYPE collection [<!ENTITY x 'y'>]><collection><document>"
        f"<id>1</id><passage><offset>0</offset><text>{SECRET}</text><annotation id='1'>"
        "<infon key='type'>Sign</infon><location offset='0' length='4'/><text>Erna</text>"
        "</annotation></passage></document></collection>"
    ).encode(),
    "label_map": f"Sign: Finding\n'{SECRET}': null\nDrug: Finding\n".encode(),
}
TEXTS = ["a" * 10**6, "\n" * 10**5, "e" + "\u0301" * 10**5, "\ud800 pain", "a\x00b", " " * 10**5]
TEXTS += [
    "(" * 10**5,
    "-" * 10**5,
    "1." * 10**5,
    "a@" * 50_000,
    "http://" * 20_000,
    "\u200d" * 10**5,
]


READERS, OF_MODELS = (*RECORDS, *FILES, "brat", "docbin"), ("model", "text")
NLP = blank()


def main() -> None:
    """Parse the command line, run the targets one after the other, and print their counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1, help="for all targets together")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="a pipeline, to damage and to use"
    )
    parser.add_argument("--targets", default="", help="comma-separated; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crashers", type=Path, default=Path("crashers"), help="for what failed")
    parser.add_argument("--output", type=Path, help="JSON file for the counts")
    args = parser.parse_args()
    chosen = args.targets.split(",") if args.targets else [*READERS, *OF_MODELS]
    targets: list[tuple[str, Path | None]] = [(name, None) for name in chosen if name in READERS]
    targets += [(name, model) for model in args.model for name in chosen if name in OF_MODELS]
    results: dict[str, dict[str, Any]] = {}
    warnings.simplefilter("ignore")
    # What takes long to import, before the processes part.
    make, use = target("jsonl", None)
    with tempfile.TemporaryDirectory() as scratch, suppress(ClinicalNerError):
        use(make(random.Random(0), Path(scratch)))
    for name, model in targets:
        title = f"{name} {model.name}" if model else name
        folder = args.crashers / title
        start = time.time()
        count, seed, crashes, end = 0, args.seed, 0, start + 60 * args.minutes / len(targets)
        while time.time() < end:
            code = _in_child(name, seed, end, model, folder)
            count += int((folder / "count").read_text()) if (folder / "count").exists() else 0
            if code == 0:
                break
            crashes, seed = crashes + 1, seed + 10**6
            (folder / "input").rename(folder / f"crash-{-code}-{seed}")
        found = sorted(path.name for path in folder.glob("*.txt"))
        print(f"{title}: {count} inputs, {len(found)} failures, {crashes} crashes", *found)
        sys.stdout.flush()
        results[title] = {"inputs": count, "failures": len(found), "crashes": crashes}
        results[title]["seconds"] = round(time.time() - start)
    if args.output:
        report = {"command": " ".join(["python", *sys.argv]), "targets": results}
        write_text(args.output, json.dumps(report, indent=2) + "\n")
    sys.exit(int(any(of["failures"] or of["crashes"] for of in results.values())))


def _in_child(*arguments: Any) -> int:
    """Run a target in a copy of this process; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            run_target(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_target(name: str, seed: int, end: float, model: Path | None, kept: Path) -> None:
    """Try inputs until the time is over; count them, and keep those that fail."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    number = 0
    kept.mkdir(parents=True, exist_ok=True)
    make, use = target(name, model)
    with tempfile.TemporaryDirectory() as folder:
        while time.time() < end:
            rng = random.Random(f"{name} {seed + number}")
            source = make(rng, Path(folder))
            _copy(source, kept / "input")
            number += 1
            (kept / "count").write_text(str(number))
            signal.alarm(SECONDS)
            try:
                use(source)
            except ClinicalNerError as error:
                signal.alarm(0)
                # What is put into a model's config is quoted by spaCy, and is no note.
                if name != "model" and quotes(error):
                    _keep(kept, "quoted", f"{error}\n")
            except Exception as error:
                signal.alarm(0)
                frame = traceback.extract_tb(error.__traceback__)[-1]
                at = f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.lineno}"
                _keep(kept, at, traceback.format_exc())
            signal.alarm(0)


def target(
    name: str, model: Path | None
) -> tuple[Callable[[random.Random, Path], Path], Callable[[Path], object]]:
    """What makes an input, a file or a folder, and what takes it."""
    out = Path(tempfile.mkdtemp()) / "out"

    def reads(source: Path, format: Any = "auto") -> None:
        for to, output in (("docbin", out.with_suffix(".spacy")), ("brat", out)):
            try:
                convert(source, output, nlp=NLP, format=format, to=to, errors="record")  # type: ignore[arg-type]
            except ClinicalNerError as error:
                assert not quotes(error), error
            shutil.rmtree(out, ignore_errors=True)
        check(source, format=format, encoder=None)

    if name == "label_map":
        return lambda rng, folder: _file(
            folder / "m.yml", damaged(FILES[name], rng)
        ), read_label_map
    if name in FILES:
        suffix = {"conll": "conll", "webanno": "tsv", "pubtator": "pubtator"}.get(name, "xml")
        format = name.partition("_")[0]
        return (
            lambda rng, folder: _file(folder / f"a.{suffix}", damaged(FILES[name], rng)),
            lambda source: reads(source, format),
        )
    if name in RECORDS:
        return (
            lambda rng, folder: _file(folder / "a.jsonl", _records(RECORDS[name], rng)),
            lambda source: reads(source, name),
        )
    if name == "brat":
        return _brat, lambda source: reads(source, "brat")
    if name == "docbin":
        doc = NLP("No chest pain")
        doc.spans["gold_all"] = [doc.char_span(3, 13, "Sign")]
        doc.set_ents([doc.char_span(3, 13, "Sign")])
        packed = spacy.tokens.DocBin(docs=[doc], store_user_data=True).to_bytes()
        return (
            lambda rng, folder: _file(folder / "a.spacy", _docbin(packed, rng)),
            lambda source: reads(source, "docbin"),
        )
    assert model is not None, "--model"
    from clinical_ner.pipeline.loading import load_pipeline

    if name == "model":
        return (
            lambda rng, folder: _model(model, folder / "model", rng),
            lambda source: load_pipeline(source)("No chest pain after aspirin."),
        )
    trained = load_pipeline(model)
    trained.max_length = 10**7

    def predict(source: Path) -> None:
        text = json.loads(source.read_text())
        try:
            doc = trained(text)
        # What spaCy's own strings cannot hold.
        except UnicodeEncodeError:
            assert any("\ud800" <= char <= "\udfff" for char in text)
            return
        assert doc.text == text and all(0 <= ent.start < ent.end <= len(doc) for ent in doc.ents)

    return lambda rng, folder: _file(folder / "a.json", _text(rng)), predict


def quotes(error: ClinicalNerError) -> bool:
    """Whether a message holds the note, or more than a line."""
    return SECRET in str(error) or not str(error).isprintable()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut, repeat, swap, overwrite or insert a few times."""
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        start, end = sorted(rng.choices(range(len(data) + 1), k=2))
        end = min(end, start + rng.choice([0, 1, 2, 5, 20, len(data)]))
        new = rng.choice(
            [
                b"",
                data[start:end] * rng.choice([2, 3, 50]),
                data[start:end][::-1],
                rng.choice(PIECES),
            ]
            + [data[start:end] + rng.choice(PIECES), rng.randbytes(end - start)]
        )
        data = data[:start] + new + data[end:]
    return data[: 10**6]


def exchanged(value: Any, rng: random.Random) -> Any:
    """A copy of what JSON or msgpack gave, with a value or a key replaced, repeated or gone."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.8:
        copy: Any = value.copy()
        key = rng.choice([*copy]) if isinstance(copy, dict) else rng.randrange(len(copy))
        what = rng.random()
        if what < 0.1:
            del copy[key]
        elif what < 0.2 and isinstance(copy, dict):
            copy[rng.choice([SECRET, "text", "label", "id", "\x1b"])] = copy.pop(key)
        elif what < 0.25 and isinstance(copy, list):
            copy += copy * rng.choice([1, 20])
        else:
            copy[key] = exchanged(copy[key], rng)
        return copy
    return rng.choice(NASTY)


def _records(records: list[Any], rng: random.Random) -> bytes:
    chosen = [rng.choice(records) for _ in range(rng.choice([1, 1, 2, 3]))]
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        chosen = [exchanged(record, rng) for record in chosen]
    lines = [json.dumps(record, ensure_ascii=rng.random() < 0.5) for record in chosen]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    return damaged(data, rng) if rng.random() < 0.3 else data


def _brat(rng: random.Random, folder: Path) -> Path:
    folder = folder / "notes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    ann = b"T1\tSign 41 51\tchest pain\nT2\tSite 0 4;41 46\tErna chest\nR1\tx Arg1:T1 Arg2:T2\n"
    parts = {".txt": TEXT.encode(), ".ann": ann, "_a.ann": ann}
    for suffix in rng.choice([[".txt", ".ann"], [".txt", ".ann"], [".txt", "_a.ann"], [*parts]]):
        data = parts[suffix]
        (folder / f"a{suffix}").write_bytes(damaged(data, rng) if rng.random() < 0.7 else data)
    if rng.random() < 0.05:
        (folder / "b.txt").symlink_to(rng.choice(["b.txt", "absent", "/", "/dev/zero"]))
    return folder


def _docbin(packed: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return damaged(packed, rng)
    try:
        return _repacked(packed, rng)
    # Of the nasty values, msgpack has neither 10**30 nor half of a pair.
    except (OverflowError, UnicodeEncodeError):
        return packed


def _repacked(packed: bytes, rng: random.Random) -> bytes:
    message = srsly.msgpack_loads(zlib.decompress(packed))
    key = rng.choice([*message])
    of = message[key]
    if isinstance(of, bytes):
        message[key] = damaged(of, rng)
    elif key in ("span_groups", "user_data") and rng.random() < 0.9:
        inner = srsly.msgpack_loads(of[0])
        message[key] = [
            damaged(of[0], rng)
            if rng.random() < 0.5
            else srsly.msgpack_dumps(exchanged(inner, rng))
        ]
    else:
        message[key] = exchanged(of, rng)
    data = srsly.msgpack_dumps(message)
    return zlib.compress(damaged(data, rng) if rng.random() < 0.1 else data)


def _model(model: Path, folder: Path, rng: random.Random) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    # Half of the times damage that the sums would show goes further.
    if rng.random() < 0.5:
        (folder / "SHA256SUMS").unlink(missing_ok=True)
    file = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = file.read_bytes()
    kind = rng.random()
    if kind < 0.1:
        file.unlink(missing_ok=True)
    elif kind < 0.2:
        file.write_bytes(data[: rng.randrange(len(data) + 1)])
    elif kind < 0.5:
        try:
            packed = data[:1] not in b"{["
            inner = srsly.msgpack_loads(data) if packed else json.loads(data)
            changed = exchanged(inner, rng)
            file.write_bytes(
                srsly.msgpack_dumps(changed) if packed else json.dumps(changed).encode()
            )
        except Exception:
            file.write_bytes(damaged(data, rng))
    else:
        file.write_bytes(damaged(data, rng))
    return folder


def _text(rng: random.Random) -> bytes:
    if rng.random() < 0.02:
        return json.dumps(rng.choice(TEXTS)).encode()
    alphabet = "ab1. \n\t-/()\u0301\u00a0\u200b\x00\x1b😷é%<>&:;\ufeff\u2028" + rng.choice(
        ["", "\ud800"]
    )
    words = ["pain", "mg", "1.5", "i.v.", *alphabet, chr(rng.randrange(0x110000))]
    return json.dumps("".join(rng.choices(words, k=rng.choice([0, 1, 5, 50, 2000])))).encode()


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _copy(source: Path, kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    kept.unlink(missing_ok=True)
    if source.is_dir():
        shutil.copytree(source, kept, symlinks=True)
    else:
        shutil.copy(source, kept)


def _keep(kept: Path, name: str, report: str) -> None:
    if not (kept / f"{name}.txt").exists():
        (kept / f"{name}.txt").write_text(report, encoding="utf-8", errors="backslashreplace")
        _copy(kept / "input", kept / f"{name}.input")


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} seconds")


if __name__ == "__main__":
    main()
