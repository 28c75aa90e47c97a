"""Tensors out of nothing but a shape or a range. Random ones are not here: their values cannot be proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgekit.convert.mil.values import Tensor, ints

if TYPE_CHECKING:
    from collections.abc import Callable


def fill(shape: Tensor, value: Tensor) -> Tensor:
    return value.expand(ints(shape))


def fill_like(ref_tensor: Tensor, value: Tensor) -> Tensor:
    return value.expand(ref_tensor.shape)


def range_1d(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), end.item(), step.item())


OPERATORS: dict[str, Callable[..., Tensor]] = {"fill": fill, "fill_like": fill_like, "range_1d": range_1d}
