"""The functions that the package offers by name."""

from __future__ import annotations

import inspect

import pytest

import clinical_ner

from .imports import PACKAGE, closure, file_of, imported_modules


@pytest.mark.parametrize("name", clinical_ner.__all__)
def test_every_function_is_there_with_types(name: str) -> None:
    function = getattr(clinical_ner, name)
    assert function.__name__ == name and name in dir(clinical_ner)
    signature = inspect.signature(function)
    assert all(p.annotation is not p.empty for p in signature.parameters.values())
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", clinical_ner.__all__)
def test_no_function_imports_what_the_command_line_is_made_of(name: str) -> None:
    # Read from the source: spaCy itself imports typer and rich.
    start = file_of(getattr(clinical_ner, name).__module__)
    assert start is not None
    for path in closure(start, top_level_only=True):
        modules = {m.split(".")[0] for m in imported_modules(path, top_level_only=True)}
        assert not modules & {"typer", "rich"}, path
        assert PACKAGE / "cli" not in path.parents


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        clinical_ner.no_such  # noqa: B018


def test_the_package_says_that_it_has_types() -> None:
    assert (PACKAGE / "py.typed").is_file()
