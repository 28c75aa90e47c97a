"""Recipe: one thing to make of a model, `FORMAT:PRECISION[@TRIPLE]`, plus options. Data, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgekit.errors import RecipeError

SCHEMA = 1


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A format, a precision, for compiled formats a target triple, and the format's own options."""

    format: str
    precision: str
    triple: str | None = None
    options: dict[str, Any] = {}
    schema: int = SCHEMA

    def __str__(self) -> str:
        return f"{self.format}:{self.precision}" + (f"@{self.triple}" if self.triple else "")

    @property
    def slug(self) -> str:
        """The recipe as a file name: `tflite-int8`."""
        return str(self).replace(":", "-").replace("@", "-")


def parse_recipe(text: str) -> Recipe:
    """Reads `FORMAT:PRECISION[@TRIPLE]`, or a `.toml`/`.json` file with a recipe's fields.

    Raises:
        RecipeError: neither of the two, or fields that a recipe does not have.
    """
    if text.endswith((".toml", ".json")):
        return _read_recipe(Path(text))
    name, _, rest = text.partition(":")
    precision, at, triple = rest.partition("@")
    if not name or not precision or (at and not triple) or any(c.isspace() or c == "/" for c in text):
        raise RecipeError(f"{text!r} is not a recipe.", remedy="Write FORMAT:PRECISION[@TRIPLE], such as tflite:int8.")
    return Recipe(format=name, precision=precision, triple=triple or None)


def _read_recipe(path: Path) -> Recipe:
    decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
    try:
        recipe = decode(path.read_bytes(), type=Recipe)
    except FileNotFoundError as error:
        raise RecipeError(f"There is no recipe file {path}.", remedy="Check the path.") from error
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        raise RecipeError(
            f"The recipe file {path} cannot be read: {error}.",
            remedy=f"A recipe has the fields {', '.join(Recipe.__struct_fields__)}.",
        ) from error
    if recipe.schema != SCHEMA:
        raise RecipeError(f"{path} has schema {recipe.schema}.", remedy=f"This version reads schema {SCHEMA}.")
    return recipe
