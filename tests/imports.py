"""What imports what in the package, read from the source, without importing anything."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "clinical_ner"


def module_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported_modules(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Absolute names of the modules that a file imports, those from the package resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    parts = path.relative_to(ROOT).with_suffix("").parts
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
