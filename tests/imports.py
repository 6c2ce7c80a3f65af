"""What imports what in the package, read from the source, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "clinical_ner"


def module_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported_modules(path: Path, *, top_level_only: bool = False, root: Path = ROOT) -> set[str]:
    """Absolute names of the modules that a file imports, those from the package resolved.

    top_level_only: only what importing the file imports, not what its functions import later.
    root: the folder that the package lies in.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = _run_at_import(tree) if top_level_only else ast.walk(tree)
    parts = path.relative_to(root).with_suffix("").parts
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """All below a node but the bodies of functions and what only type checkers read."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, functions):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _run_at_import(child)


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file() and PACKAGE in candidate.parents:
            return candidate
    return None


def closure(start: Path, *, top_level_only: bool = False) -> set[Path]:
    """The file, and all of the package that importing it reaches, packages' own files included."""
    found: set[Path] = set()
    todo = [start]
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        package = path.parent / "__init__.py"
        # The command line's __init__ imports every command; a step depends on its own only.
        if package.is_file() and package.parent.name != "cli":
            todo.append(package)
        modules = imported_modules(path, top_level_only=top_level_only)
        todo.extend(file for file in map(file_of, modules) if file)
    return {path for path in found if path != PACKAGE / "cli" / "__init__.py"}
