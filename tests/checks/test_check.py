from __future__ import annotations

from pathlib import Path

import pytest

from clinical_ner.checks.check import check
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ConfigError, InputError

NOTE = AnnotatedText("a", "Chest pain.", (Mention("T1", "Sign", ((0, 10),)),))


def test_a_path_is_one_part_and_several_are_several(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        write_jsonl([NOTE], tmp_path / f"{name}.jsonl")

    alone = check(str(tmp_path / "train.jsonl"), encoder=None)
    both = check([tmp_path / "train.jsonl", tmp_path / "dev.jsonl"], encoder=None)

    assert [*alone.parts] == ["train"] and alone.number("error") == 0
    # The same document in both is a leak.
    assert [*both.parts] == ["train", "dev"] and both.number("error") == 1


def test_parts_of_one_name_are_an_error(tmp_path: Path) -> None:
    write_jsonl([NOTE], tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="both would be the part 'a'"):
        check([tmp_path / "a.jsonl", tmp_path / "a.jsonl"], encoder=None)


def test_settings_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="near_duplicate"):
        check(tmp_path, near_duplicate=0)
    with pytest.raises(ConfigError, match="max_words"):
        check(tmp_path, max_words=0)
