"""Lists of tensors, which loops write their steps into. A list is never changed: a write returns another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edgekit.convert.mil.values import Tensor, ints, narrow

if TYPE_CHECKING:
    from collections.abc import Callable


def make_list(
    elem_shape: list[Tensor] | Tensor,
    init_length: Tensor | None = None,
    dynamic_length: Tensor | None = None,  # noqa: ARG001 - every list here may grow
    dtype: str = "fp32",
) -> list[Tensor]:
    """`init_length` elements of zeros; an element that is written beyond the end makes the list longer."""
    size = [ints(n)[0] for n in elem_shape] if isinstance(elem_shape, list) else ints(elem_shape)
    return [narrow(torch.zeros(size), dtype)] * (1 if init_length is None else ints(init_length)[0])


def list_gather(ls: list[Tensor], indices: Tensor) -> Tensor:
    return torch.stack([ls[i] for i in ints(indices)])


def list_length(ls: list[Tensor]) -> Tensor:
    return torch.tensor(len(ls))


def list_read(ls: list[Tensor], index: Tensor) -> Tensor:
    return ls[int(index)]


def list_scatter(ls: list[Tensor], indices: Tensor, value: Tensor) -> list[Tensor]:
    for i, element in zip(ints(indices), value, strict=True):
        ls = list_write(ls, torch.tensor(i), element)
    return ls


def list_write(ls: list[Tensor], index: Tensor, value: Tensor) -> list[Tensor]:
    at = int(index)
    longer = [*ls, *[torch.zeros_like(value)] * (at + 1 - len(ls))]
    return [*longer[:at], value, *longer[at + 1 :]]


OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (list_gather, list_length, list_read, list_scatter, list_write, make_list)
}
