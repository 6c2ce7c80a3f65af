from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ner.errors import InputError
from clinical_ner.files import new_folder, replacing


def test_half_written_file_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x.jsonl") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.jsonl"
    for content in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(content)
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_holds_something_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("")
    with pytest.raises(InputError, match="is not empty"), new_folder(tmp_path / "notes"):
        raise AssertionError("not reached")
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_half_written_folder_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "notes") as temporary:
        (temporary / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
