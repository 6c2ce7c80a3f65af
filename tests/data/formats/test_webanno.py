"""Files as INCEpTION writes them, after its own description of the format."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.detect import detect_format
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ClinicalNerError

from .examples import document, spans, write_webanno

HEAD = "#FORMAT=WebAnno TSV 3.3\n"
NAMED = "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value\n"
SPAN = "#T_SP=webanno.custom.Finding|value\n"
POS = "#T_SP=de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS|PosValue|coarseValue\n"


def _read(folder: Path, content: str, **settings: Any) -> AnnotatedText:
    path = folder / "note.tsv"
    path.write_bytes(content.encode())
    assert detect_format(path) == "webanno"
    [found] = read_texts(path, **settings)
    return found


def _found(document: AnnotatedText) -> list[tuple[str, str]]:
    return [
        (document.text[mention.start : mention.end], mention.label) for mention in document.mentions
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_note_of_two_sentences(tmp_path: Path, end: str) -> None:
    content = (
        f"{HEAD}{POS}{NAMED}\n\n"
        "#Text=No chest pain.\n"
        "1-1\t0-2\tNo\tDT\tDET\t_\t_\t\n"
        "1-2\t3-8\tchest\tNN\tNOUN\t*[1]\tSIGN[1]\t\n"
        "1-3\t9-13\tpain\tNN\tNOUN\t*[1]|*[2]\tSIGN[1]|SITE[2]\t\n"
        "1-4\t13-14\t.\t.\tPUNCT\t_\t_\t\n"
        "\n"
        "#Sentence.id=s2\n"
        "#Text=Fever.\n"
        "2-1\t16-21\tFever\tNN\tNOUN\t*\tSIGN\t\n"
        "2-2\t21-22\t.\t.\tPUNCT\t_\t_\t\n"
    )

    note = _read(tmp_path, content.replace("\n", end))

    assert (note.id, note.text, note.sentences) == ("note", "No chest pain.\n Fever.", (0, 16))
    assert _found(note) == [("chest pain", "SIGN"), ("pain", "SITE"), ("Fever", "SIGN")]
    assert note.skipped == {"POS": 6}


def test_parts_of_tokens_and_mentions_over_sentences(tmp_path: Path) -> None:
    content = (
        f"{HEAD}{SPAN}\n\n#Text=3mg daily\n1-1\t0-3\t3mg\t_\t\n1-1.1\t0-1\t3\tDose\t\n"
        "1-1.2\t1-3\tmg\tUnit[1]\t\n1-2\t4-9\tdaily\tUnit[1]\t\n\n#Text=x\n2-1\t10-11\tx\tUnit[1]\t\n"
    )

    note = _read(tmp_path, content)

    assert _found(note) == [("3", "Dose"), ("mg daily\nx", "Unit")]


def test_offsets_count_utf_16(tmp_path: Path) -> None:
    content = f"{HEAD}{SPAN}\n\n#Text=🙂🙂 pain\n1-1\t0-4\t🙂🙂\t_\t\n1-2\t5-9\tpain\tSIGN\t\n"

    assert _found(_read(tmp_path, content)) == [("pain", "SIGN")]


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("a\\_b", "a_b"),
        ("\\*", "*"),
        ("Sign\\[1\\]", "Sign[1]"),
        ("a\\|b[3]", "a|b"),
        ("a\\->b", "a->b"),
    ],
)
def test_reserved_characters(tmp_path: Path, written: str, label: str) -> None:
    content = (
        f"{HEAD}{SPAN}\n\n#Text=C:\\\\x\\ty\n1-1\t0-4\tC:\\\\x\t{written}\t\n1-2\t5-6\ty\t_\t\n"
    )

    note = _read(tmp_path, content)

    assert (note.text, _found(note)) == ("C:\\x\ty", [("C:\\x", label)])


def test_a_text_of_several_lines_and_halves_of_characters(tmp_path: Path) -> None:
    content = (
        "#FORMAT=WebAnno TSV 3.1\n" + SPAN + "\n\n#Text=\\uD83D\\uDE42 a\n#Text=pain\n"
        "1-1\t0-2\t🙂\t_\t\n1-2\t3-4\ta\t_\t\n1-3\t5-9\tpain\tSIGN\t\n"
    )

    note = _read(tmp_path, content)

    assert (note.text, _found(note)) == ("🙂 a\npain", [("pain", "SIGN")])


def test_relations_chains_and_other_layers_are_counted(tmp_path: Path) -> None:
    content = (
        f"{HEAD}{SPAN}#T_SP=webanno.custom.Host|ROLE_webanno.custom.Host:links_x.Link|x.Span\n"
        "#T_CH=webanno.custom.Link|referenceRelation|referenceType\n"
        "#T_RL=webanno.custom.Relation|value|BT_webanno.custom.Finding\n\n\n"
        "#Text=He ate it\n"
        "1-1\t0-2\tHe\tA[1]\t*;*\t1-2;1-3\t*->1-1\t*[1]\t_\t_\t\n"
        "1-2\t3-6\tate\tA[1]\t_\t_\t_\t_\tx\t1-1[1_0]\t\n"
        "1-3\t7-9\tit\t_\t_\t_\t*->1-2\t*[1]\t_\t_\t\n"
    )

    note = _read(tmp_path, content)

    assert _found(note) == [("He ate", "A")]
    assert note.skipped == {"Host": 1, "chain": 2, "relation": 1}


TWO = (
    f"{HEAD}{NAMED}#T_SP=webanno.custom.Finding|value|grade\n#T_SP=webanno.custom.Negation|\n\n\n"
    "#Text=No pain\n1-1\t0-2\tNo\t_\t_\t_\t_\t*\t\n1-2\t3-7\tpain\t*\tPER\tSIGN\tmild\t_\t\n"
)


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        ("Finding.value", [("pain", "SIGN")]),
        ("Finding.grade", [("pain", "mild")]),
        ("NamedEntity", [("pain", "PER")]),
        ("webanno.custom.Negation", [("No", "Negation")]),
    ],
)
def test_a_layer_is_named(tmp_path: Path, layer: str, found: list[tuple[str, str]]) -> None:
    assert _found(_read(tmp_path, TWO, layer=layer)) == found


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (TWO, {}, "entities .NamedEntity.value, Finding.value, Finding.grade, Negation..*--layer"),
        (TWO, {"layer": "Findings"}, "no layer Findings. Name one of NamedEntity.value, "),
        (TWO, {"layer": "Finding"}, "several layers or features .*--layer"),
        (f"{HEAD}{POS}\n\n", {}, "declares no layer of spans"),
        (f"{HEAD}#T_XX=a\n", {}, "line 2: not the declaration of a layer"),
        (f"{HEAD}{SPAN}\n\n#Text=pain\n1-1\t0-4\tpain\n", {}, "line 6: not a token .* 1 columns"),
        (f"{HEAD}{SPAN}\n\n#Text=pain\n1-1\t0-4\tpain\t*\t\n", {},
         "line 6: .*T1 .*has no Finding.value"),
        (f"{HEAD}{SPAN}\n\n#Text=pain\n1-1\t0-3\tpain\tA\t\n", {}, "line 6: the token is not what"),
        (f"{HEAD}{SPAN}\n\n#Text=pain\n1-1\t0-4\tpain\tA\t\n#Text=x\n2-1\t2-3\tx\t_\t\n", {},
         "line 8: the sentence starts before"),
        (f"{HEAD}{SPAN}\n\n#Text=pain\n1-1\t900000000-900000004\tpain\tA\t\n", {},
         "line 6: the sentence starts at 900000000, beyond what the file holds"),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, content: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ClinicalNerError, match=message) as caught:
        _read(tmp_path, content, **settings)
    assert "pain" not in str(caught.value).removeprefix(str(tmp_path))


def test_a_space_behind_a_sentence(tmp_path: Path) -> None:
    content = f"{HEAD}{SPAN}\n\n#Text=a \n1-1\t0-1\ta\tA\t\n#Text=b \n2-1\t1-2\tb\tB\t\n"

    note = _read(tmp_path, content)

    assert (note.text, _found(note)) == ("ab ", [("a", "A"), ("b", "B")])


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(60):
        made = document(rng, f"note-{number}", pieces=(1,))
        text = made.text.strip()
        mentions = [
            mention
            for mention in made.mentions
            if mention.end <= len(text)
            and (covered := text[mention.start : mention.end])
            and covered == covered.strip()
        ]
        made = AnnotatedText(made.id, text, tuple(mentions))
        path = tmp_path / f"{made.id}.tsv"

        write_webanno([made], path)

        if not text:
            continue
        [back] = read_texts(path, format="webanno")
        assert (back.id, back.text, sorted(spans(back))) == (made.id, text, sorted(spans(made)))


def test_each_file_of_a_folder_is_a_document(tmp_path: Path) -> None:
    for id in ("a", "b"):
        write_webanno(
            [AnnotatedText(id, "pain", (Mention("T1", "A", ((0, 4),)),))], tmp_path / f"{id}.tsv"
        )

    assert [note.id for note in read_texts(tmp_path)] == ["a", "b"]


def test_an_annotation_without_label_may_be_left_out(tmp_path: Path) -> None:
    content = f"{HEAD}{SPAN}\n\n#Text=a b\n1-1\t0-1\ta\t*\t\n1-2\t2-3\tb\tB\t\n"

    note = _read(tmp_path, content, errors="record")

    assert (_found(note), len(note.faults)) == ([("b", "B")], 1)

    note = _read(tmp_path, content.replace("0-1", "0-3"), errors="record")
    assert (note.mentions, note.unusable) == ((), "faulty")
