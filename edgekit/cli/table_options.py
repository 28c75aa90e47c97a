"""Options that say what a table's values do not: for `telemetry reference` and `telemetry check`. (No command.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.telemetry.references.tables import Options

F = TypeVar("F", bound="Callable[..., object]")


def table_options(command: F) -> F:
    """--category, --ignore, --output, --time, --valid, --sentinel."""
    for option in (
        click.option("--sentinel", "sentinels", multiple=True, metavar="[COLUMN=]VALUE",
                     help="A number that means “no value”, in one column or in all."),
        click.option("--valid", "ranges", multiple=True, metavar="COLUMN=LOW:HIGH", help="The possible range."),
        click.option("--time", metavar="COLUMN", help="The column of times; found by its values without it."),
        click.option("--output", "outputs", multiple=True, metavar="COLUMN", help="A column that the model answers."),
        click.option("--ignore", "ignored", multiple=True, metavar="COLUMN", help="A column to leave out."),
        click.option("--category", "categories", multiple=True, metavar="COLUMN",
                     help="A column of categories, though its values are numbers."),
    ):  # fmt: skip
        command = option(command)
    return command


def options_of(given: dict[str, Any]) -> Options:
    """The options as `read_table` takes them."""
    from edgekit.telemetry.references.tables import Options

    sentinels: dict[str, tuple[float, ...]] = {}
    for text in given["sentinels"]:
        name, _, value = text.rpartition("=")
        sentinels[name] = (*sentinels.get(name, ()), _number(value, "--sentinel", text))
    ranges = {}
    for text in given["ranges"]:
        name, equals, bounds = text.rpartition("=")
        low, colon, high = bounds.partition(":")
        if not name or not equals or not colon:
            raise click.BadParameter(f"{text!r} is not COLUMN=LOW:HIGH.", param_hint="--valid")
        ranges[name] = (
            _number(low, "--valid", text) if low else None,
            _number(high, "--valid", text) if high else None,
        )
    return Options(
        categories=given["categories"], ignored=given["ignored"], outputs=given["outputs"], time=given["time"],
        ranges=ranges, sentinels=sentinels,
    )  # fmt: skip


def _number(text: str, option: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{whole!r}: {text!r} is no number.", param_hint=option) from None
