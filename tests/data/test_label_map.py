from __future__ import annotations

from pathlib import Path

import pytest
import spacy

from clinical_ner.data.conversion import kept_row, to_flat_doc
from clinical_ner.data.label_map import Names, mapped, read_label_map, read_rows
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError


def _read(tmp_path: Path, content: str | bytes) -> dict[str, str | None]:
    path = tmp_path / "labels.yml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_label_map(path)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("A: B\nC: B\n", {"A": "B", "C": "B"}),
        ("A: null\nB:\nC: ~\n", {"A": None, "B": None, "C": None}),
        ("'A': 'null'\nnull: B\n", {"A": "null", "null": "B"}),
        ("No: 1\n2: yes\n3.10: 2024-01-01\n", {"No": "1", "2": "yes", "3.10": "2024-01-01"}),
        ("Sign or symptom: Sign\n", {"Sign or symptom": "Sign"}),
        ("' Sign ': Sign\n\"a\\tb\\nc\": a b\n", {" Sign ": "Sign", "a\tb\nc": "a b"}),
        ("# all\n\nA: B  # one\n", {"A": "B"}),
        ("Größe: 'B: C'\n", {"Größe": "B: C"}),
        ('{"A": "B", "C": null}', {"A": "B", "C": None}),
        (b"\xef\xbb\xbfA: B\r\n", {"A": "B"}),
    ],
)
def test_what_a_map_may_hold(
    tmp_path: Path, content: str | bytes, names: dict[str, str | None]
) -> None:
    assert _read(tmp_path, content) == names


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "no label"),
        ("{}", 1, "no label"),
        ("# only this\n", 1, "no label"),
        ("- A\n- B\n", 1, "no pair of labels"),
        ("A\n", 1, "no pair of labels"),
        ("A: B\n\nA: C\n", 3, "A is on line 1 already"),
        ("A: B\nC: [D]\n", 2, "what C becomes is neither a label nor null"),
        ("A: {B: C}\n", 1, "what A becomes"),
        ("A: ''\n", 1, "what A becomes"),
        ("A: ' B'\n", 1, "what A becomes"),
        ('"A\\nB": C\n"A\\nB": D\n', 2, "#23519a43 is on line 1 already"),
        ('A: "B\\nC"\n', 1, "what A becomes"),
        ("A: B\n? [C]\n: D\n", 2, "what is before the colon is not a label"),
        ("'': B\n", 1, "what is before the colon is not a label"),
        ("A: B\nC: D: E\n", 2, "not YAML"),
        ("A: B\n\tC: D\n", 2, "not YAML"),
        ("A: *B\n", 1, "not YAML"),
        ("A: B\n---\nC: D\n", 2, "not YAML"),
        ("A: \x00", 1, "not YAML"),
        ("[" * 5000, 1, "not YAML"),
        ("A: \xe4".encode("latin-1"), 1, "not UTF-8"),
    ],
)
def test_a_fault_names_file_and_line(
    tmp_path: Path, content: str | bytes, line: int, problem: str
) -> None:
    with pytest.raises(ClinicalNerError) as caught:
        _read(tmp_path, content)

    message = str(caught.value)
    assert f"{tmp_path / 'labels.yml'}, line {line}: {problem}" in message
    assert "\n" not in message


def test_a_map_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match=r"absent\.yml: cannot be read"):
        read_label_map(tmp_path / "absent.yml")


@pytest.mark.parametrize(
    "content",
    [
        # Ten of the one before, twenty times over.
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 10}]\n" for n in range(1, 20)),
        "A: !!python/object/apply:os.system [echo]",
        "A: &a {B: C}\n<<: *a",
        "&a\nA: *a",
        "[" * 20_000,
        "A: " + "{A: " * 5000,
    ],
)
def test_a_map_that_grows_or_calls_something_is_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(ClinicalNerError, match=r"labels\.yml, line [12]:") as caught:
        _read(tmp_path, content)
    assert str(caught.value).isprintable()


def test_tags_of_yaml_call_nothing_and_anchors_name_labels(tmp_path: Path) -> None:
    content = "A: !!python/name:os.system x\nB: &a C\nD: *a\n"
    assert _read(tmp_path, content) == {"A": "x", "B": "C", "D": "C"}


def _mentions(*labels: str) -> list[Mention]:
    return [
        Mention(f"T{number}", label, ((number, number + 1),))
        for number, label in enumerate(labels, start=1)
    ]


def test_mentions_are_renamed_and_dropped() -> None:
    found = mapped(_mentions("A", "B", "C", "D"), {"A": "B", "C": None})

    assert [(mention.id, mention.label) for mention in found] == [
        ("T1", "B"),
        ("T2", "B"),
        ("T4", "D"),
    ]


def test_names_are_taken_at_once() -> None:
    found = mapped(_mentions("A", "B"), {"A": "B", "B": "A"})

    assert [mention.label for mention in found] == ["B", "A"]


def test_rows_tell_what_was_read() -> None:
    mentions = _mentions("C", "A", "B", "A", "C")
    names: Names = {"A": "B", "C": None}
    kept = [kept_row("x", mention) for mention in mapped(mentions, names)]

    rows = read_rows(mentions, kept, names, document="x")

    assert [(row.annotation, row.label, row.new_label, row.action, row.codes) for row in rows] == [
        ("T1", "C", None, "dropped", ("label_dropped",)),
        ("T2", "A", "B", "changed", ("relabelled",)),
        ("T3", "B", "B", "kept", ()),
        ("T4", "A", "B", "changed", ("relabelled",)),
        ("T5", "C", None, "dropped", ("label_dropped",)),
    ]
    assert rows[0].new_start is rows[0].new_end is None


def test_merged_labels_are_duplicates_and_say_what_they_were() -> None:
    mentions = [Mention("T1", "A", ((0, 5),)), Mention("T2", "B", ((0, 5),))]
    names: Names = {"A": "C", "B": "C"}
    _, flat = to_flat_doc("fever", mapped(mentions, names), spacy.blank("en"), document="x")

    rows = read_rows(mentions, flat, names, document="x")

    assert [(row.label, row.new_label, row.action, row.codes) for row in rows] == [
        ("A", "C", "changed", ("relabelled",)),
        ("B", "C", "dropped", ("duplicate",)),
    ]


def test_a_renamed_mention_that_moves_has_both_codes() -> None:
    mentions = [Mention("T1", "A", ((0, 6),))]
    names: Names = {"A": "C"}
    _, flat = to_flat_doc("fever ", mapped(mentions, names), spacy.blank("en"), document="x")

    [row] = read_rows(mentions, flat, names, document="x")

    assert (row.action, row.codes, row.new_end) == ("changed", ("relabelled", "trimmed"), 5)
