from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.data.formats.conll import write_conll
from clinical_ner.data.formats.detect import detect_format
from clinical_ner.data.formats.docbin import DOCUMENT_ID
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning


def _read(folder: Path, content: str, **settings: Any) -> list[AnnotatedText]:
    path = folder / "notes.conll"
    path.write_bytes(content.encode())
    return list(read_texts(path, format="conll", **settings))


def _found(document: AnnotatedText) -> list[tuple[str, str]]:
    return [
        (document.text[mention.start : mention.end], mention.label) for mention in document.mentions
    ]


@pytest.mark.parametrize(
    "content",
    [
        "No\tO\nchest\tI-Sign\npain\tI-Sign\nfever\tB-Sign\n",
        "No\tO\nchest\tB-Sign\npain\tI-Sign\nfever\tB-Sign\n",
        "No\tO\nchest\tB-Sign\npain\tE-Sign\nfever\tS-Sign\n",
        "No\tO\nchest\tB-Sign\npain\tL-Sign\nfever\tU-Sign\n",
    ],
    ids=["IOB1", "IOB2", "BIOES", "BILUO"],
)
def test_schemes_are_told_apart(tmp_path: Path, content: str) -> None:
    [document] = _read(tmp_path, content)

    assert document.id == "notes"
    assert document.text == "No chest pain fever"
    assert _found(document) == [("chest pain", "Sign"), ("fever", "Sign")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: str, mark: str) -> None:
    lines = ["Severe B-X", "pain B-Sign", "", "Fever B-Sign"]

    [document] = _read(tmp_path, mark + "\n".join(lines).replace("\n", end))

    assert document.text.split() == ["Severe", "pain", "Fever"]
    assert _found(document)[0] == ("Severe", "X")


def test_sentences_are_lines_and_no_entity_crosses_them(tmp_path: Path) -> None:
    [document] = _read(tmp_path, "chest I-Sign\n\n\npain I-Sign\n")

    assert document.text == "chest\npain"
    assert _found(document) == [("chest", "Sign"), ("pain", "Sign")]


def test_documents_of_docstart(tmp_path: Path) -> None:
    content = (
        "-DOCSTART- -X- -X- O\n\nChest NN B-NP B-Body\n\n-DOCSTART- -X- -X- O\n\nPain NN B-NP O\n"
    )

    first, second = _read(tmp_path, content)

    assert (first.id, first.text, _found(first)) == ("notes-1", "Chest", [("Chest", "Body")])
    assert (second.id, second.text, _found(second)) == ("notes-2", "Pain", [])


def test_comments_name_documents(tmp_path: Path) -> None:
    content = "# global.columns = x\n# newdoc id = a b\nChest O\n# sent_id = 3\nPain O\n# newdoc\n"

    first, second = _read(tmp_path, content)

    assert (first.id, first.text) == ("a b", "Chest Pain")
    assert (second.id, second.text) == ("notes-2", "")


@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_hash_may_be_a_word(tmp_path: Path, separator: str) -> None:
    lines = [("#", "O"), ("#1", "B-Lot"), ("is", "O"), ("#", "B-Lot")]

    [document] = _read(tmp_path, "\n".join(separator.join(line) for line in lines))

    assert document.text == "# #1 is #"
    assert _found(document) == [("#1", "Lot"), ("#", "Lot")]


def test_columns_are_chosen(tmp_path: Path) -> None:
    content = "1 Chest B-Body O\n2 pain O B-Sign\n"

    [first] = _read(tmp_path, content, word_column=1, label_column=2)
    [second] = _read(tmp_path, content, word_column=-3, label_column=-1)

    assert (first.text, _found(first)) == ("Chest pain", [("Chest", "Body")])
    assert _found(second) == [("pain", "Sign")]


def test_spaces_of_any_number_and_no_break_spaces(tmp_path: Path) -> None:
    [document] = _read(tmp_path, "5\u00a0mg   B-Dose \ndaily  O\n")

    assert document.text == "5\u00a0mg daily"
    assert _found(document) == [("5\u00a0mg", "Dose")]


#: Case A11 of the reports.
LABEL_OF_WORDS = "-DOCSTART- -X- O O\nDenies -X- _ O\nfever -X- _ B-Sign or symptom\nnow -X- _ O\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (LABEL_OF_WORDS, "line 3: 6 columns, where line 2 has 4. Separate all columns by tabs"),
        ("fever B-Sign or symptom\nnow O\n", "line 1: the label column holds no tag. .* by tabs"),
        ("now O\n5 mg B-Dose\n", "line 2: 3 columns, where line 1 has 2. Separate all .* by tabs"),
        # Of columns that are missing, tabs are not the remedy.
        ("now NN O\nfever B-Sign\n", "line 2: 2 columns, where line 1 has 3. Separate .* alike"),
    ],
)
def test_words_and_labels_of_several_words_between_spaces(
    tmp_path: Path, content: str, problem: str
) -> None:
    for format in ("auto", "conll"):
        (tmp_path / "notes.conll").write_text(content)
        with pytest.raises(ClinicalNerError, match=rf"notes\.conll, {problem}"):
            list(read_texts(tmp_path / "notes.conll", format=format))  # type: ignore[arg-type]


@pytest.mark.parametrize("column", [-1, 1])
def test_words_and_labels_of_several_words_between_tabs(tmp_path: Path, column: int) -> None:
    rows = [("Denies", "O", "_"), ("high fever", "B-Sign or symptom", "_"), ("now", "O", "_")]
    content = "".join("\t".join(row[:2] if column < 0 else row) + "\n" for row in rows)

    [document] = _read(tmp_path, content, label_column=column)

    assert _found(document) == [("high fever", "Sign or symptom")]


def test_a_label_with_spaces_at_an_edge_is_no_tag(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="line 1: the label column holds no tag"):
        _read(tmp_path, "fever\tB-Sign \t_\n", label_column=1)


def test_labels_of_several_words_are_written_and_read(tmp_path: Path) -> None:
    write_conll([_labelled("Sign or symptom", "fever", "now")], tmp_path / "notes.conll")

    assert "fever\tB-Sign or symptom\n" in (tmp_path / "notes.conll").read_text()
    [document] = read_texts(tmp_path / "notes.conll")
    assert _found(document) == [("fever", "Sign or symptom")]


def test_tabs_leave_spaces_to_words(tmp_path: Path) -> None:
    assert _found(_read(tmp_path, "5 mg\tB-Dose\n")[0]) == [("5 mg", "Dose")]


def test_the_text_itself(tmp_path: Path) -> None:
    content = (
        '# newdoc id = a\n# document_text = " 5mg\\tb.i.d.\\n"\n5\tB-Dose\nmg\tI-Dose\nb.i.d.\tO'
    )

    [document] = _read(tmp_path, content)

    assert document.text == " 5mg\tb.i.d.\n"
    assert _found(document) == [("5mg", "Dose")]


def test_a_given_scheme_is_kept_to(tmp_path: Path) -> None:
    # Detected from the content, this is IOB1.
    with pytest.raises(ClinicalNerError, match=r"notes\.conll, line 1: I follows no word .*IOB2"):
        _read(tmp_path, "pain I-Sign\n", scheme="IOB2")


@pytest.mark.parametrize(
    ("content", "message", "scheme", "found"),
    [
        ("Chest B-SIGN\nand O\npain I-SIGN\n", "line 3: I follows.*IOB2.*--scheme IOB1",
         "IOB1", ["Chest", "pain"]),
        ("Chest B-SIGN\npain I-DRUG\n. O\n", "line 2: I follows.*IOB2.*--scheme IOB1",
         "IOB1", ["Chest", "pain"]),
        ("Chest B-SIGN\npain I-SIGN\nand O\nfever S-SIGN\n", "line 3: the entity.*--scheme lenient",
         "lenient", ["Chest pain", "fever"]),
        ("Chest U-SIGN\npain L-SIGN\nand O\nfever B-SIGN\n", "line 2: L follows.*--scheme lenient",
         "lenient", ["Chest", "pain", "fever"]),
        ("Chest E-SIGN\npain U-DRUG\n", "line 1: the prefix E.*BILUO.*--scheme lenient",
         "lenient", ["Chest", "pain"]),
    ],
    ids=["I after O", "I of another label", "BIOES", "BILUO", "two schemes"],
)  # fmt: skip
def test_tags_that_break_their_scheme(
    tmp_path: Path, content: str, message: str, scheme: str, found: list[str]
) -> None:
    with pytest.raises(ClinicalNerError, match=message):
        _read(tmp_path, content)

    [document] = _read(tmp_path, content, scheme=scheme)
    assert [text for text, _ in _found(document)] == found
    assert document.skipped == ({"sentence_with_tag_fault": 1} if scheme == "lenient" else {})


@pytest.mark.parametrize("scheme", [None, "IOB1"])
def test_tags_that_iob1_allows_are_iob1(tmp_path: Path, scheme: str | None) -> None:
    content = "Chest O\npain I-SIGN\nfever B-SIGN\n. O\n"

    [document] = _read(tmp_path, content, **({} if scheme is None else {"scheme": scheme}))

    assert _found(document) == [("pain", "SIGN"), ("fever", "SIGN")]


def test_a_prefix_of_another_scheme_than_that_given(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="prefix S .*IOB2.*--scheme lenient"):
        _read(tmp_path, "Chest S-SIGN\n", scheme="IOB2")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("Chest\tB\npain\tI\nafter\tO\n\nNo\tO\nfever\tB\n", ["Chest pain", "fever"]),
        ("Chest B\npain E\nand O\nfever S\n", ["Chest pain", "fever"]),
        ("Chest NN I\npain NN I\n# NN I\n", ["Chest pain #"]),
        ("Chest B-SIGN\npain I-SIGN\nfever B\n", ["Chest pain", "fever"]),
    ],
    ids=["BIO", "BIOES", "IOB1", "some have a type"],
)
def test_tags_without_a_type(tmp_path: Path, content: str, found: list[str]) -> None:
    with pytest.raises(ClinicalNerError, match=r"line \d: .* a tag without a type.*--label"):
        _read(tmp_path, content)

    [document] = _read(tmp_path, content, label="SIGN")
    assert _found(document) == [(text, "SIGN") for text in found]
    assert detect_format(tmp_path / "notes.conll") == "conll"


def _sentences(number: int) -> str:
    """Sentences of two words, as corpora like BioNLP13CG hold them: nothing marks a document."""
    return "".join(f"Pain{index}\tB-Sign\nagain\tO\n\n" for index in range(number))


def test_a_file_without_marks_holds_a_document_for_every_ten_sentences(tmp_path: Path) -> None:
    with pytest.warns(ClinicalNerWarning, match="no document markers: every 10 .*--n-sents N"):
        documents = _read(tmp_path, _sentences(25))

    assert [document.id for document in documents] == ["notes-1", "notes-2", "notes-3"]
    assert [document.text.count("again") for document in documents] == [10, 10, 5]
    assert [len(document.sentences) for document in documents] == [10, 10, 5]
    assert _found(documents[2])[0] == ("Pain20", "Sign")
    first = documents[0]
    assert all(first.text[start:].startswith("Pain") for start in first.sentences)


@pytest.mark.parametrize(
    ("n_sents", "sizes"), [(0, [25]), (1, [1] * 25), (20, [20, 5]), (25, [25]), (None, [10, 10, 5])]
)
@pytest.mark.filterwarnings("ignore::clinical_ner.errors.ClinicalNerWarning")
def test_sentences_of_a_document_are_set(
    tmp_path: Path, n_sents: int | None, sizes: list[int]
) -> None:
    documents = _read(tmp_path, _sentences(25), n_sents=n_sents)

    assert [len(document.sentences) for document in documents] == sizes


@pytest.mark.parametrize(
    "mark",
    ["-DOCSTART- O\n\n", "# newdoc\n", '# document_text = "{}"\n'],
    ids=lambda mark: mark[:9],
)
@pytest.mark.filterwarnings("error")
def test_a_mark_of_documents_leaves_all_sentences_together(tmp_path: Path, mark: str) -> None:
    words = " ".join(f"Pain{index} again" for index in range(12))

    content = mark.replace("{}", words) + _sentences(12)

    [document] = _read(tmp_path, content)
    with pytest.warns(ClinicalNerWarning, match="--n-sents has no effect"):
        assert _read(tmp_path, content, n_sents=5) == [document]

    assert len(document.sentences) == 12


@pytest.mark.filterwarnings("error")
def test_a_file_of_ten_sentences_is_a_document_and_says_nothing(tmp_path: Path) -> None:
    [document] = _read(tmp_path, "\n\n" + _sentences(10).replace("\n\n", "\n\n\n") + "\n")

    assert (document.id, len(document.sentences)) == ("notes", 10)


def test_a_number_of_sentences_is_no_less_than_none(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="n_sents must be an integer >= 0"):
        _read(tmp_path, _sentences(2), n_sents=-1)


def test_a_folder_and_its_files(tmp_path: Path) -> None:
    (tmp_path / "b.conll").write_text("pain O\n")
    (tmp_path / "a.IOB").write_text("fever O\n")
    (tmp_path / "README.md").write_text("not a note")
    (tmp_path / ".a.conll").write_text("not a note")

    assert [document.id for document in read_texts(tmp_path, format="conll")] == ["a", "b"]


def _doc(*words: str, id: str = "note") -> Doc:
    doc = Doc(Vocab(), words=list(words), spaces=[False] * len(words))
    doc.set_ents([], default="outside")
    doc.user_data[DOCUMENT_ID] = id
    return doc


def test_what_is_written(tmp_path: Path) -> None:
    doc = _doc("5", "mg", " ", "b.i.d.", "\n", "#")
    doc.set_ents([Span(doc, 0, 2, "Dose"), Span(doc, 3, 4, "Rate")], default="outside")

    write_conll([doc], tmp_path / "notes.conll")

    assert (tmp_path / "notes.conll").read_bytes().decode() == (
        "-DOCSTART-\tO\n\n# newdoc id = note\n# document_text = \"5mg b.i.d.\\n#\"\n"
        "5\tB-Dose\nmg\tI-Dose\nb.i.d.\tB-Rate\n\n#\tO\n\n"
    )  # fmt: skip


def test_an_entity_over_a_line_break_stays_whole(tmp_path: Path) -> None:
    doc = _doc("chest", "\n", "pain")
    doc.set_ents([Span(doc, 0, 3, "Sign")], default="outside")

    write_conll([doc], tmp_path / "notes.conll")

    assert _found(next(read_texts(tmp_path / "notes.conll"))) == [("chest\npain", "Sign")]


def test_sentences_that_the_doc_knows_of_are_written(tmp_path: Path) -> None:
    doc = _doc("Pain", ".", "Fever", ".")
    for token in doc:
        token.is_sent_start = token.i in (0, 2)

    write_conll([doc], tmp_path / "notes.conll")

    assert ".\tO\n\nFever\tO\n" in (tmp_path / "notes.conll").read_text()


def _unknown() -> Doc:
    doc = _doc("chest")
    doc.set_ents([], missing=[doc[0:1]], default="outside")
    return doc


def _labelled(label: str, *words: str) -> Doc:
    doc = _doc(*words)
    doc.set_ents([Span(doc, 0, 1, label)], default="outside")
    return doc


@pytest.mark.parametrize(
    ("docs", "problem"),
    [
        ([_doc("a"), _doc("b")], "another has its id"),
        ([_doc("a", id="a b")], "its id is empty or holds whitespace"),
        ([_unknown()], "token 0 may be in an entity or not"),
        ([_doc("a\tb")], "token 0 is not a word"),
        ([_doc("-DOCSTART-")], "token 0 is not a word"),
        ([_labelled("A\tB", "a")], r"the label '#34d0e593' is empty or has a tab"),
        (
            [_labelled("A ", "a")],
            "the label '#7a7202fb' is empty or has a tab, a line break or whitespace "
            "at an edge. Rename it with --label-map.",
        ),
        ([_labelled("X", " ", "a")], "the entity of token 0 is whitespace"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_columns_cannot_hold(tmp_path: Path, docs: list[Doc], problem: str) -> None:
    with pytest.raises(ClinicalNerError) as caught:
        write_conll(docs, tmp_path / "notes.conll")

    assert problem in str(caught.value) and "notes.conll: cannot hold" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
