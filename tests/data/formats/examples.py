from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from clinical_ner.data.mentions import AnnotatedText, Mention

#: What breaks offsets: characters of two UTF-16 units, of several code points, and line ends.
PIECES = [
    "fever", "3.5mg", "b.i.d.", "(", ".", "|", "#", "\\n", '"', "don't", "µ", "±", "Ærø", "B-X",
    "😷", "👩🏽‍⚕️", "e\u0301", "q\u0323\u0307", "क्षि", "\u200b", "\ufeff", "\x0c", "\u2028", "\x85",
    " ", "  ", "\n", "\r\n", "\r", "\t", "\u00a0", "\u3000",
]  # fmt: skip
LABELS = ["Sign", "Body-part", "B-X", "O", "Größe", "1"]


def text(rng: random.Random, most: int = 20) -> str:
    return "".join(rng.choices(PIECES, k=rng.randint(0, most)))


def document(
    rng: random.Random, id: str, *, pieces: Iterable[int] = (1, 1, 1, 2, 3)
) -> AnnotatedText:
    """A text with random mentions: nested, crossing, repeated, empty, in pieces in any order."""
    content = text(rng)
    counts = list(pieces)

    def fragment() -> tuple[int, int]:
        start, end = sorted(rng.choices(range(len(content) + 1), k=2))
        return start, end

    mentions = [
        Mention(
            f"T{number}",
            rng.choice(LABELS),
            tuple(fragment() for _ in range(rng.choice(counts))),
        )
        for number in range(1, rng.randint(0, 8) + 1)
    ]
    return AnnotatedText(id, content, tuple(mentions))


def documents(seed: int, number: int = 4) -> list[AnnotatedText]:
    rng = random.Random(seed)
    return [document(rng, f"note-{index}") for index in range(number)]


def spans(document: AnnotatedText) -> list[tuple[str, tuple[tuple[int, int], ...]]]:
    """What a mention says: not its id, and not where in a file it stands."""
    return [(mention.label, mention.fragments) for mention in document.mentions]


@st.composite
def corpora(draw: st.DrawFn) -> list[AnnotatedText]:
    """One to three texts of any characters, with any mentions within them."""
    contents = draw(
        st.lists(
            st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join),
            min_size=1,
            max_size=3,
        )
    )
    return [
        AnnotatedText(f"note-{index}", content, draw(_mentions(content)))
        for index, content in enumerate(contents)
    ]


@st.composite
def _mentions(draw: st.DrawFn, content: str) -> tuple[Mention, ...]:
    offset = st.integers(0, len(content))
    fragment = st.tuples(offset, offset).map(lambda pair: (min(pair), max(pair)))
    labelled = st.tuples(
        st.sampled_from(LABELS), st.lists(fragment, min_size=1, max_size=3).map(tuple)
    )
    return tuple(
        Mention(f"T{number}", label, fragments)
        for number, (label, fragments) in enumerate(draw(st.lists(labelled, max_size=6)), start=1)
    )


def write_pubtator(documents: Iterable[AnnotatedText], path: Path) -> None:
    """A title on each text's first line; mentions in several fragments are left out."""
    lines = []
    for document in documents:
        title, _, abstract = document.text.replace("\r", " ").partition("\n")
        lines += [f"{document.id}|t|{title}", f"{document.id}|a|" + abstract.replace("\n", " ")]
        for mention in document.mentions:
            quote = " ".join(document.text[mention.start : mention.end].split())
            fields = document.id, mention.start, mention.end, quote, mention.label
            if len(mention.fragments) == 1:
                lines.append("\t".join(map(str, fields)))
        lines.append("")
    path.write_bytes("\n".join(lines).encode())


def write_bioc_json(documents: Iterable[AnnotatedText], path: Path) -> None:
    """One collection, each document being one passage."""
    nothing = {"infons": {}, "relations": [], "annotations": []}
    collection: dict[str, Any] = {"source": "", "date": "", "key": "", "infons": {}}
    collection["documents"] = [
        {
            **nothing,
            "id": document.id,
            "passages": [
                {
                    **nothing,
                    "offset": 0,
                    "text": document.text,
                    "sentences": [],
                    "annotations": [
                        {
                            "id": mention.id,
                            "infons": {"type": mention.label},
                            "text": document.text[mention.start : mention.end],
                            "locations": [
                                {"offset": start, "length": end - start}
                                for start, end in mention.fragments
                            ],
                        }
                        for mention in document.mentions
                    ],
                }
            ],
        }
        for document in documents
    ]
    path.write_text(json.dumps(collection, ensure_ascii=False), encoding="utf-8")


def write_huggingface(documents: Iterable[AnnotatedText], path: Path) -> None:
    """Whitespace separates the tokens; of mentions only those of whole tokens, without overlaps."""
    lines = []
    for document in documents:
        tokens = [(match.start(), match.end()) for match in re.finditer(r"\S+", document.text)]
        tags = ["O"] * len(tokens)
        for mention in document.mentions:
            inside = [
                index
                for index, (start, end) in enumerate(tokens)
                if mention.start <= start and end <= mention.end
            ]
            if inside and all(tags[index] == "O" for index in inside):
                for index in inside:
                    tags[index] = f"{'B' if index == inside[0] else 'I'}-{mention.label}"
        words = [document.text[start:end] for start, end in tokens]
        lines.append(json.dumps({"id": document.id, "tokens": words, "ner_tags": tags}))
    path.write_text("\n".join(lines))


def write_webanno(documents: Iterable[AnnotatedText], path: Path) -> None:
    """The first document, whose text begins with no space, as one sentence; mentions as one."""
    document = next(iter(documents))
    text = document.text

    def offset(position: int) -> int:
        return len(text[:position].encode("utf-16-le")) // 2

    def escaped(part: str) -> str:
        for character, name in ("\\\\", "\tt", "\rr", "\x0cf"):
            part = part.replace(character, f"\\{name}")
        return part

    lines = ["#FORMAT=WebAnno TSV 3.3", "#T_SP=webanno.custom.Span|value", "", ""]
    lines += [f"#Text={escaped(line)}" for line in text.split("\n")]
    for number, token in enumerate(re.finditer(r"\S+", text), start=1):
        units: dict[tuple[int, int], list[str]] = {(token.start(), token.end()): []}
        for id, mention in enumerate(document.mentions, start=1):
            start, end = max(mention.start, token.start()), min(mention.end, token.end())
            if start < end:
                label = re.sub(r"([\\\[\]|_*;])", r"\\\1", mention.label)
                units.setdefault((start, end), []).append(f"{label}[{id}]")
        for part, ((start, end), values) in enumerate(units.items()):
            name = f"1-{number}" + (f".{part}" if part else "")
            value = "|".join(values) or "_"
            row = name, f"{offset(start)}-{offset(end)}", escaped(text[start:end]), value, ""
            lines.append("\t".join(row))
    path.write_bytes("\n".join([*lines, ""]).encode())
