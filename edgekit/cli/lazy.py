"""A group that knows its commands by name and help, and imports a command's module only when that command runs."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(click.Group):
    """A click group over a table.

    Args:
        commands_of: help text by name, in the order in which they are listed.
        modules: name of a command's module, with `{}` where the command's name goes (its dashes as underscores). The
            module's `command` is what runs.
    """

    def __init__(self, *args: Any, commands_of: Mapping[str, str], modules: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = commands_of
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in self._table:
            return None
        command = importlib.import_module(self._modules.format(cmd_name.replace("-", "_"))).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        if self._table:
            with formatter.section("Commands"):
                formatter.write_dl(list(self._table.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._table and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], self._table, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)
