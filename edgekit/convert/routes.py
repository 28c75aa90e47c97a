"""Which kind of export a format reads from a source, and whether axes that vary survive the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.errors import RecipeError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.convert.formats import Format
    from edgekit.convert.sources import Source
    from edgekit.recipe import Recipe
    from edgekit.specs import TensorSpec


def format_of(recipe: Recipe) -> Format:
    """The recipe's format."""
    form: Format = plugins.load("format", recipe.format)()
    return form


def route(source: Source | type[Source], form: Format) -> str:
    """The kind of export that a format reads from a source: of those that it accepts, the one that it likes best."""
    for kind in form.accepts:
        if kind in source.exports:
            return kind
    reached = [
        name for name in plugins.names("format") if set(plugins.load("format", name).accepts) & set(source.exports)
    ]
    raise RecipeError(
        f"The format {form.name} has no route from a {source.name} model: it reads {', '.join(form.accepts)}, and "
        f"{source.name} models are exported as {', '.join(source.exports)}.",
        remedy=f"Formats that take {source.name} models: {', '.join(reached)}."
        if reached
        else "Give the model in another form.",
    )


def refuse_varying(source: type[Source], model: str, recipe: Recipe, inputs: Sequence[TensorSpec]) -> None:
    """Refuses a recipe that would fix what the model declares to vary: an artifact is never silently another one.

    Raises:
        RefusedError: says where the sizes would be fixed, how to fix them on purpose, and which formats keep them.
    """
    varying = [spec for spec in inputs if spec.varies]
    because = _fixed_because(source, recipe) if varying else ""
    if not because:
        return
    shapes = " ".join(f"--shape {spec.name}={','.join(map(str, spec.shape))}" for spec in varying)
    able = [name for name in plugins.names("format") if _keeps_sizes(source, recipe, name)]
    raise RefusedError(
        f"{model} {recipe}: {', '.join(f'{spec.name} is {spec.describe()}' for spec in varying)}, and {because}.",
        remedy=f"Fix the size: {shapes}." + (f" Formats that keep it open: {', '.join(able)}." if able else ""),
    )


def _fixed_because(source: type[Source], recipe: Recipe) -> str:
    form = format_of(recipe)
    kind = route(source, form)
    if kind not in source.varies:
        return f"the route from {source.name} models to {form.name} ({kind}) fixes every size"
    return form.fixed_because(recipe, kind)


def _keeps_sizes(source: type[Source], recipe: Recipe, name: str) -> bool:
    """Whether a format can have what varies, in its plainest precision."""
    form: Format = plugins.load("format", name)()
    other = msgspec.structs.replace(recipe, format=name, precision=next(iter(form.precisions)), options={})
    if not set(form.accepts) & set(source.exports):
        return False
    return not _fixed_because(source, other)
