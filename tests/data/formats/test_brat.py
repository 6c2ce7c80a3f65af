from __future__ import annotations

import os
from pathlib import Path

import pytest

from clinical_ner.data.formats.brat import read_brat, write_brat
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ClinicalNerError


def _write(folder: Path, name: str, text: str, *lines: str) -> None:
    (folder / f"{name}.txt").write_bytes(text.encode())
    (folder / f"{name}.ann").write_bytes("".join(f"{line}\n" for line in lines).encode())


def _read_one(folder: Path, text: str, *lines: str) -> AnnotatedText:
    _write(folder, "note", text, *lines)
    [document] = read_texts(folder, format="brat")
    return document


def _error(folder: Path, text: str, *lines: str) -> str:
    _write(folder, "note", text, *lines)
    with pytest.raises(ClinicalNerError) as caught:
        list(read_texts(folder, format="brat"))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_continuous_mention(tmp_path: Path) -> None:
    document = _read_one(tmp_path, "Severe chest pain.", "T1\tSign_symptom 7 17\tchest pain")

    assert document == AnnotatedText(
        id="note",
        text="Severe chest pain.",
        mentions=(Mention("T1", "Sign_symptom", ((7, 17),)),),
        skipped={},
    )


def test_discontinuous_mention(tmp_path: Path) -> None:
    document = _read_one(
        tmp_path, "left and right arm", "T1\tBody 0 4;15 18\tleft arm", "T2\tBody 9 18\tright arm"
    )

    assert document.mentions[0].fragments == ((0, 4), (15, 18))
    assert (document.mentions[0].start, document.mentions[0].end) == (0, 18)


def test_documents_are_sorted_by_name_and_others_left_alone(tmp_path: Path) -> None:
    for name in ("b", "a.2", "a.10", "c"):
        _write(tmp_path, name, "")
    (tmp_path / "README.md").write_text("not a note")

    assert [document.id for document in read_brat(tmp_path)] == ["a.10", "a.2", "b", "c"]


def test_other_lines_are_counted_by_kind(tmp_path: Path) -> None:
    document = _read_one(
        tmp_path,
        "He fell.",
        "T1\tEvent 3 7\tfell",
        "E1\tEvent:T1 ",
        "A1\tPast E1",
        "A2\tReal E1",
        "M1\tNegation E1",
        "R1\tBEFORE Arg1:E1 Arg2:E1\t",
        "N1\tReference T1 UMLS:C0085639\tfall",
        "*\tOVERLAP E1 E1",
        "#1\tAnnotatorNotes T1\tsure",
        "",
    )

    assert len(document.mentions) == 1
    expected = {"E": 1, "A": 2, "M": 1, "R": 1, "N": 1, "*": 1, "#": 1}
    assert document.skipped == expected


def test_line_numbers_count_every_line(tmp_path: Path) -> None:
    message = _error(tmp_path, "He fell.", "#1\tNote T2\tx", "", "T2\tEvent 3 7\tfall")

    assert f"{tmp_path / 'note.ann'}, line 3: the text of T2" in message


def test_offsets_count_code_points_over_the_files_own_line_ends(tmp_path: Path) -> None:
    text = "37\u2009°C 😷\r\nfever\r\rpain"
    document = _read_one(tmp_path, text, "T1\tSign 9 14\tfever", "T2\tSign 16 20\tpain")

    assert document.text == text
    assert [text[m.start : m.end] for m in document.mentions] == ["fever", "pain"]


def test_annotations_with_crlf(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"He fell.")
    (tmp_path / "a.ann").write_bytes(b"T1\tEvent 3 7\tfell\r\nE1\tEvent:T1 \r\n\r\n")

    [document] = read_brat(tmp_path)

    assert document.mentions == (Mention("T1", "Event", ((3, 7),)),)
    assert document.skipped == {"E": 1}


def test_mention_text_is_compared_up_to_whitespace(tmp_path: Path) -> None:
    document = _read_one(
        tmp_path,
        "chest\n\t pain left",
        "T1\tSign 0 12\tchest pain",
        "T2\tSign 5 12;12 17\tpain left",
    )

    assert len(document.mentions) == 2


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    # A form feed, a vertical tab and a line separator may stand in a text, and in its mentions.
    text = "a\x0cb\x0bc\u2028d"

    assert len(_read_one(tmp_path, text, f"T1\tX 0 7\t{text}").mentions) == 1


@pytest.mark.parametrize("counted", [False, True], ids=["mark not counted", "mark counted"])
def test_byte_order_mark(tmp_path: Path, counted: bool) -> None:
    (tmp_path / "a.txt").write_text("Fever, then fever.", encoding="utf-8-sig")
    lines = (
        "T1\tSign 13 18\tfever\nT2\tSign 0 6\t\ufeffFever\n"
        if counted
        else "T1\tSign 12 17\tfever\nT2\tSign 0 5\tFever\n"
    )
    (tmp_path / "a.ann").write_text(lines, encoding="utf-8-sig")

    [document] = read_brat(tmp_path)

    assert document.text == "Fever, then fever."
    assert [mention.fragments for mention in document.mentions] == [((12, 17),), ((0, 5),)]


def test_byte_order_mark_does_not_excuse_wrong_offsets(tmp_path: Path) -> None:
    assert "a.ann, line 1: the text of T1" in _error_with_bom(tmp_path, "T1\tSign 2 7\tFever\n")
    assert "a.ann, line 1: offsets -1 5" in _error_with_bom(tmp_path, "T1\tSign -1 5\tFever\n")


def _error_with_bom(folder: Path, line: str) -> str:
    (folder / "a.txt").write_text("Fever again", encoding="utf-8-sig")
    (folder / "a.ann").write_text(line, encoding="utf8")
    with pytest.raises(ClinicalNerError) as caught:
        list(read_texts(folder, format="brat"))
    return str(caught.value)


@pytest.mark.parametrize(
    "offsets", ["7 19", "-1 5", "17 7", "0 6;7 19", "0 6;-7 17", "99 99"], ids=str
)
def test_offsets_that_do_not_fit(tmp_path: Path, offsets: str) -> None:
    message = _error(tmp_path, "Severe chest pain.", "E1\tX:T1", f"T1\tSign {offsets}\tchest pain")

    assert f"{tmp_path / 'note.ann'}, line 2: offsets" in message
    assert "18 code-points" in message
    assert "chest" not in message


@pytest.mark.parametrize(
    "line",
    ["T1\tSign 7 17\tthoracic pain", "T1\tSign 8 18\tchest pain", "T1\tSign 7 12;13 17\tchestpain"],
)
def test_mention_text_that_differs(tmp_path: Path, line: str) -> None:
    message = _error(tmp_path, "Severe chest pain.", line)

    assert f"{tmp_path / 'note.ann'}, line 1: the text of T1" in message
    assert "pain" not in message


@pytest.mark.parametrize(
    "line",
    [
        "T1 Sign 7 17 chest pain",
        "T1\tSign 7 17",
        "T1\tSign\t7\t17\tchest pain",
        "T1\tSign 7.0 17\tchest pain",
        "T1\tSign 7\tchest pain",
        "T1\tSign 7 17;\tchest pain",
        "T1\tSign 7 12,13 17\tchest pain",
        "T1\tSign a b\tchest pain",
        "T1\tSign-7 17\tchest pain",
        f"T1\tSign 7 {'9' * 5000}\tchest pain",
        "T\tSign 7 17\tchest pain",
        "The chest pain\tcontinued 7 17\tchest pain",
    ],
)
def test_malformed_mention(tmp_path: Path, line: str) -> None:
    message = _error(tmp_path, "Severe chest pain.", "T7\tSign 7 17\tchest pain", line)

    assert f"{tmp_path / 'note.ann'}, line 2: malformed mention" in message
    assert "chest" not in message


@pytest.mark.parametrize("label", ["Sign symptom", "Sign ", " Sign", "Sign\u00a0symptom", "", " "])
def test_label_with_whitespace_or_empty(tmp_path: Path, label: str) -> None:
    message = _error(tmp_path, "Severe chest pain.", f"T1\t{label} 7 17\tchest pain")

    assert f"{tmp_path / 'note.ann'}, line 1: the label" in message


def test_missing_label(tmp_path: Path) -> None:
    assert "line 1: the label is empty" in _error(tmp_path, "pain", "T1\t0 4\tpain")


def test_duplicate_id(tmp_path: Path) -> None:
    message = _error(
        tmp_path, "chest pain", "T1\tBody 0 5\tchest", "T2\tX 0 5\tchest", "T1\tSign 6 10\tpain"
    )

    assert f"{tmp_path / 'note.ann'}, line 3: T1 is on line 1" in message


def test_stray_line(tmp_path: Path) -> None:
    message = _error(tmp_path, "chest pain", "T1\tSign 0 10\tchest pain", "And more pain")

    assert f"{tmp_path / 'note.ann'}, line 2: not a line of brat standoff" in message
    assert "pain" not in message.removeprefix(str(tmp_path))


@pytest.mark.parametrize("suffix", [".txt", ".ann"])
def test_not_utf8(tmp_path: Path, suffix: str) -> None:
    _write(tmp_path, "note", "")
    (tmp_path / f"note{suffix}").write_bytes("#\tx\n# Fieber über 39\n".encode("latin-1"))

    with pytest.raises(ClinicalNerError, match="line 2: not UTF-8") as caught:
        list(read_texts(tmp_path, format="brat"))
    assert str(tmp_path / f"note{suffix}") in str(caught.value)
    assert caught.value.__suppress_context__


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="no such folder"):
        read_brat(tmp_path / "absent")


def test_folder_without_texts(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    _write(tmp_path / "inner", "note", "")

    with pytest.raises(ClinicalNerError, match=r"holds no \.txt file"):
        read_brat(tmp_path)


@pytest.mark.parametrize(("present", "missing"), [(".txt", ".ann"), (".ann", ".txt")])
def test_missing_partner_is_told_before_anything_is_read(
    tmp_path: Path, present: str, missing: str
) -> None:
    _write(tmp_path, "a", "")
    (tmp_path / f"b{present}").write_text("")

    with pytest.raises(ClinicalNerError) as caught:
        read_brat(tmp_path)
    assert f"b{present}: has no b{missing} beside it" in str(caught.value)


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"M\xfcller")
    _write(tmp_path, name, "")

    with pytest.raises(ClinicalNerError, match="name is not UTF-8"):
        read_brat(tmp_path)


def test_unreadable_file(tmp_path: Path) -> None:
    _write(tmp_path, "note", "")
    (tmp_path / "note.ann").unlink()
    (tmp_path / "note.ann").mkdir()

    with pytest.raises(ClinicalNerError, match=r"note\.ann: cannot be read"):
        list(read_texts(tmp_path, format="brat"))


def test_annotators_by_suffix(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _write(tmp_path, name, "chest pain", "T1\tSign 0 10\tchest pain")
        for annotator, line in (("x", "T1\tBody 0 5\tchest"), ("y_2", "T1\tSign 6 10\tpain")):
            (tmp_path / f"{name}_{annotator}.ann").write_text(line)

    for annotator, label, start in (("x", "Body", 0), ("y_2", "Sign", 6)):
        documents = list(read_brat(tmp_path, annotator=annotator))
        assert [document.id for document in documents] == ["a", "b"]
        assert [(m.label, m.start) for m in documents[1].mentions] == [(label, start)]
    assert [m.end for doc in read_brat(tmp_path, annotator="-") for m in doc.mentions] == [10, 10]
    every = list(read_brat(tmp_path, annotator="*"))
    assert [document.id for document in every] == ["a", "a_x", "a_y_2", "b", "b_x", "b_y_2"]
    assert {document.text for document in every} == {"chest pain"}


def test_annotators_of_texts_whose_names_start_alike(tmp_path: Path) -> None:
    for name in ("note", "note_1"):
        (tmp_path / f"{name}.txt").write_text(name)
        (tmp_path / f"{name}_x.ann").write_text("")

    documents = list(read_brat(tmp_path, annotator="x"))

    assert [(document.id, document.text) for document in documents] == [
        ("note", "note"),
        ("note_1", "note_1"),
    ]


def _annotators(folder: Path, *names: str) -> None:
    (folder / "a.txt").write_text("pain")
    for name in names:
        (folder / name).write_text("")


@pytest.mark.parametrize(
    ("names", "annotator", "problem"),
    [
        (("a_x.ann", "a_y.ann"), None, "has no a.ann beside it, but a_x.ann, a_y.ann. .* x, y"),
        (("a.ann", "a_x.ann"), None, "a.txt: has no a_x.txt beside it, but a_x.ann"),
        (("a_x.ann",), "-", "a.txt: has no a.ann beside it"),
        (("a_x.ann",), "z", "no file NAME_z.ann is there. Annotators are x"),
        (("a.ann",), "z", "no file NAME_z.ann is there. Annotators are none"),
        (("a_x.ann", "b.txt", "b.ann"), "x", "b.txt: has no b_x.ann beside it"),
        (("a_x.ann", "b.txt"), "*", "b.txt: has no b.ann beside it"),
        (("a_x.ann", "b.ann"), "*", "b.ann: has no b.txt beside it"),
    ],
)  # fmt: skip
def test_annotators_that_are_unclear(
    tmp_path: Path, names: tuple[str, ...], annotator: str | None, problem: str
) -> None:
    _annotators(tmp_path, *names)

    with pytest.raises(ClinicalNerError, match=problem):
        read_brat(tmp_path, annotator=annotator)


def _text(id: str, text: str, *mentions: Mention, **fields: str) -> AnnotatedText:
    return AnnotatedText(id, text, mentions, **fields)  # type: ignore[arg-type]


def test_what_is_written(tmp_path: Path) -> None:
    mentions = (Mention("T7", "Sign", ((0, 12),)), Mention("T1", "X", ((7, 12), (0, 5))))

    write_brat([_text("a.1", "Chest\r\npain\t😷", *mentions)], tmp_path / "new" / "out")

    out = tmp_path / "new" / "out"
    assert (out / "a.1.txt").read_bytes().decode() == "Chest\r\npain\t😷"
    assert (out / "a.1.ann").read_bytes().decode() == (
        "T7\tSign 0 12\tChest  pain\t\nT1\tX 7 12;0 5\tpain\t Chest\n"
    )
    assert sorted(path.name for path in out.iterdir()) == ["a.1.ann", "a.1.txt"]


@pytest.mark.parametrize("ids", [("T1", "T1"), ("T1", "x"), ("70", "71")])
def test_ids_that_are_not_brats_are_given_again(tmp_path: Path, ids: tuple[str, str]) -> None:
    mentions = [Mention(id, "X", ((0, 1),)) for id in ids]

    write_brat([_text("a", "pain", *mentions)], tmp_path / "out")

    [document] = read_brat(tmp_path / "out")
    assert [mention.id for mention in document.mentions] == ["T1", "T2"]


def test_an_empty_folder_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    write_brat([_text("a", "pain")], tmp_path / "out")

    assert len(list(read_brat(tmp_path / "out"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("documents", "problem"),
    [
        ([_text("a/b", "pain")], "document a/b: its id is not a file name"),
        ([_text(".a", "pain")], "its id is not a file name"),
        ([_text("", "pain")], "its id is not a file name"),
        ([_text("ä" * 101, "pain")], "its id is not a file name"),
        ([_text("a", "pain"), _text("a", "pain")], "another has its id"),
        (
            [_text("a", "pain", Mention("T1", "A B", ((0, 1),)))],
            "label 'A B' of T1 .* with --label",
        ),
        ([_text("a", "pain", Mention("T1", "", ((0, 1),)))], "label '' of T1 is empty"),
        ([_text("a", "pain", unusable="rejected")], "it is rejected"),
    ],
)
def test_what_is_not_written_leaves_no_folder(
    tmp_path: Path, documents: list[AnnotatedText], problem: str
) -> None:
    with pytest.raises(ClinicalNerError, match=problem) as caught:
        write_brat(documents, tmp_path / "out")

    assert str(tmp_path / "out") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.txt").write_text("")
    (tmp_path / "file").write_text("")

    with pytest.raises(ClinicalNerError, match="out: is not empty"):
        write_brat([_text("a", "pain")], tmp_path / "out")
    with pytest.raises(ClinicalNerError, match="file: cannot be written .it is a file"):
        write_brat([_text("a", "pain")], tmp_path / "file")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]
