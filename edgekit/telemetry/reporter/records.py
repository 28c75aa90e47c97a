"""What `typing` is for in classes of this package, without importing it: that takes a third of the whole import.

`NamedTuple` makes the same classes as `typing.NamedTuple`; type checkers see that one, and `TYPE_CHECKING` as true.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, NamedTuple

    __all__ = ["TYPE_CHECKING", "NamedTuple"]
else:

    class _Maker(type):
        """Makes a named tuple of a class body: fields are what is annotated, and may have defaults."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = list(body.get("__annotations__", ()))
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])  # noqa: PYI024 - it is that one
            for key, value in body.items():
                setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """See the module."""
