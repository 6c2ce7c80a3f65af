"""``clinical-ner recipes``."""

from __future__ import annotations

from pathlib import Path

import typer

from ..training.recipes import BASE, list_recipes
from ._app import app


@app.command("recipes")
def recipes_cli(folder: Path = typer.Argument(BASE.parent, help="Folder of recipes.")) -> None:
    """List the recipes that train and compare take by name."""
    found = list_recipes(folder)
    width = max(map(len, found))
    for name, comment in found.items():
        typer.echo(f"{name:{width}}  {comment}")
