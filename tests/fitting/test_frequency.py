from __future__ import annotations

from clinical_ner.fitting.frequency import frequency_groups, merge_small_groups


def test_groups_are_powers_of_ten_the_rarest_first() -> None:
    counts = {"b": 10, "a": 9, "d": 100, "c": 99, "e": 5000, "f": 0}
    assert frequency_groups(counts) == [("a", "f"), ("b", "c"), ("d",), ("e",)]


def test_groups_without_a_name_are_left_out() -> None:
    assert frequency_groups({"a": 3, "b": 2000}) == [("a",), ("b",)]
    assert frequency_groups({}) == []


def test_a_group_with_too_little_support_joins_the_next_commoner() -> None:
    groups = [("a",), ("b", "c"), ("d",)]
    support = {"a": 4, "b": 3, "c": 3, "d": 10}
    assert merge_small_groups(groups, support, min_support=10) == [("a", "b", "c"), ("d",)]


def test_the_commonest_group_joins_the_next_rarer() -> None:
    groups = [("a",), ("b",), ("c",)]
    assert merge_small_groups(groups, {"a": 10, "b": 10}, min_support=10) == [("a",), ("b", "c")]


def test_too_little_support_altogether_leaves_no_group() -> None:
    assert merge_small_groups([("a",), ("b",)], {"a": 4, "b": 5}, min_support=10) == []
