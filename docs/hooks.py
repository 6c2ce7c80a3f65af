"""Hooks of the documentation's build: pages and pictures that live elsewhere, and the command line.

Nothing is copied into docs/. Files of the repository that pages link to join the site at build
time under their own path, so that a link in the repository and a link in the site are the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Files outside docs/ that are pages of the site, by their path in the repository.
PAGES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "corpus/GUIDELINE.md",
    "corpus/case_reports/README.md",
)
#: Of these, every file that a page links to joins the site.
LINKED = re.compile(r"(benchmarks|corpus)/.+\.(png|svg|md|json|csv|tsv|yml)")
#: A link or picture of Markdown: its text, and its target without a title.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
#: Where docs/cli.md gets the help texts.
COMMANDS = "<!-- commands -->"


def on_files(files: Any, config: Any) -> Any:
    """Add the files of the repository that pages link to."""
    from mkdocs.structure.files import File

    for path in sorted(_site_files()):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the commands, and turn links of the repository into links of the site."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(_commands()))
    source = _repository_path(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        return _link(found, source, page.file.src_uri)

    return LINK.sub(link, markdown)


@cache
def _site_files() -> set[str]:
    """The files outside docs/ that belong to the site, by their path in the repository."""
    found = set(PAGES)
    queue = [*(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")), *PAGES]
    while queue:
        source = queue.pop()
        for _, _, target in LINK.findall((ROOT / source).read_text(encoding="utf-8")):
            path = _resolved(target, source)
            if path is None or path in found or not LINKED.fullmatch(path):
                continue
            if (ROOT / path).is_file():
                found.add(path)
                queue += [path] if path.endswith(".md") else []
    return found


def _resolved(target: str, source: str) -> str | None:
    """The path in the repository that a link of a file leads to; None if it leads outside."""
    if re.match(r"[a-z]+:|#", target):
        return None
    path = target.partition("#")[0]
    return os.path.normpath(os.path.join(os.path.dirname(source), path)).replace(os.sep, "/")


def _repository_path(site_path: str) -> str:
    """The path in the repository of a page of the site."""
    return f"docs/{site_path}" if (ROOT / "docs" / site_path).is_file() else site_path


def _link(found: re.Match[str], source: str, page: str) -> str:
    mark, text, target = found.groups()
    path = _resolved(target, source)
    if path is None:
        return found[0]
    if path.startswith("docs/"):
        place = path.removeprefix("docs/")
    elif path in _site_files():
        place = path
    elif (ROOT / path).exists():
        # A file that the site does not hold, such as a config: its name stays.
        return text
    else:
        return found[0]
    anchor = target.partition("#")[2]
    relative = os.path.relpath(place, os.path.dirname(page) or ".").replace(os.sep, "/")
    return f"{mark}[{text}]({relative}{'#' + anchor if anchor else ''})"


def _commands() -> Iterator[str]:
    """The help text of every command, in the order of ``clinical-ner --help``."""
    from typer.main import get_command

    from clinical_ner.cli import app

    group: Any = get_command(app)
    root = group.make_context("clinical-ner", [], resilient_parsing=True)
    yield from ("## clinical-ner", "", "```text", _help(group, root), "```", "")
    for name in group.list_commands(root):
        command = group.get_command(root, name)
        context = type(root)(command, info_name=name, parent=root)
        yield from (f"## {name}", "", "```text", _help(command, context), "```", "")


def _help(command: Any, context: Any) -> str:
    context.terminal_width = context.max_content_width = 100
    return str(command.get_help(context)).rstrip()
