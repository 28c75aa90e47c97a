"""What an ExecuTorch program hands to backends, read from the `.pte`: its runtime's Python interface does not tell.

A `.pte` is a FlatBuffer; the numbers below are the places of the fields that are read here in the tables of
ExecuTorch's program.fbs, which only ever grow. What lies within a backend's part is the backend's own, and not told.
"""

from __future__ import annotations

import struct
from typing import Any

_PLAN = 1
_CHAINS, _OPERATORS, _DELEGATES = 5, 6, 7
_INSTRUCTIONS = 2
_KIND, _ARGUMENTS = 0, 1
_KERNEL_CALL, _DELEGATE_CALL = 1, 2
_MOST = 1 << 20
"""Entries of a list; a file that claims more is damaged."""


class _Table:
    """One table of a FlatBuffer, at `at`."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - struct.unpack_from("<i", data, at)[0]

    def _field(self, place: int) -> int:
        """Where a field's value is; 0 for one that has its default."""
        (size,) = struct.unpack_from("<H", self._data, self._fields)
        if 4 + 2 * place + 2 > size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._fields + 4 + 2 * place)
        return self._at + offset if offset else 0

    def number(self, place: int, form: str = "<i") -> int:
        at = self._field(place)
        return int(struct.unpack_from(form, self._data, at)[0]) if at else 0

    def _follow(self, at: int) -> int:
        return at + int(struct.unpack_from("<I", self._data, at)[0])

    def table(self, place: int) -> _Table:
        return _Table(self._data, self._follow(self._field(place)))

    def tables(self, place: int) -> list[_Table]:
        at = self._field(place)
        if not at:
            return []
        start = self._follow(at)
        (count,) = struct.unpack_from("<I", self._data, start)
        if count > _MOST:
            raise ValueError("a list of %d entries" % count)
        return [_Table(self._data, self._follow(start + 4 + 4 * i)) for i in range(count)]

    def text(self, place: int) -> str:
        at = self._field(place)
        if not at:
            return ""
        start = self._follow(at)
        (length,) = struct.unpack_from("<I", self._data, start)
        return self._data[start + 4 : start + 4 + length].decode("utf-8", "replace")


def delegation(path: str) -> dict[str, Any]:
    """The fields of a `delegation` event. A call of a backend counts as one operator, whatever is in it."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        plan = _Table(data, struct.unpack_from("<I", data, 0)[0]).tables(_PLAN)[0]
        return _count(plan)
    except (OSError, ValueError, IndexError, struct.error) as error:
        because = "the program cannot be read: %s" % error
        return {"backends": [], "operators": None, "left": None, "because": because}


def _count(plan: _Table) -> dict[str, Any]:
    operators = [operator.text(0) for operator in plan.tables(_OPERATORS)]
    names = [delegate.text(0) for delegate in plan.tables(_DELEGATES)]
    calls, parts, left = {}, {}, {}  # type: dict[str, int], dict[str, set[int]], dict[str, int]
    for chain in plan.tables(_CHAINS):
        for instruction in chain.tables(_INSTRUCTIONS):
            kind = instruction.number(_KIND, "<B")
            if kind == _KERNEL_CALL:
                name = operators[instruction.table(_ARGUMENTS).number(0)]
                left[name] = left.get(name, 0) + 1
            elif kind == _DELEGATE_CALL:
                index = instruction.table(_ARGUMENTS).number(0)
                calls[names[index]] = calls.get(names[index], 0) + 1
                parts.setdefault(names[index], set()).add(index)
    backends = [{"name": n, "operators": calls[n], "partitions": len(parts[n])} for n in sorted(calls)]
    return {
        "backends": backends,
        "operators": sum(calls.values()) + sum(left.values()),
        "left": left,
        "because": None,
    }
