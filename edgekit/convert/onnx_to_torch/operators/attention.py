"""Attention (opset 23): scaled dot products of queries and keys, masked, through a softmax, on values.

Written out of matrix products, as the standard defines it (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023),
because masks, caches, windows and the soft cap do not fit torch's own attention. What of the mask follows from shapes
alone (causal, windows) becomes one constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator
from edgekit.convert.onnx_to_torch.tensors import torch_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

_INFINITE = float("-inf")


def _heads(x: Tensor, count: int | None) -> Tensor:
    """`(batch, heads, length, size)`, from that or from `(batch, length, heads × size)`."""
    if x.ndim == 4:
        return x
    assert count is not None
    return x.reshape(*x.shape[:2], count, x.shape[2] // count).transpose(1, 2)


def _allowed_by_place(node: Node, queries: int, keys: int, offset: int) -> np.ndarray | None:
    """Which key each query may see by its place alone, `(queries, keys)`; None where it may see all."""
    ahead = np.arange(keys) - (np.arange(queries)[:, None] + offset)  # how far each key lies ahead of each query
    allowed = np.ones((queries, keys), dtype=bool)
    if node.get("is_causal", 0):
        allowed &= ahead <= 0
    if node.get("left_window_size", -1) >= 0:
        allowed &= -ahead <= node.get("left_window_size")
    if node.get("right_window_size", -1) >= 0:
        allowed &= ahead <= node.get("right_window_size")
    return None if allowed.all() else allowed


def _bias(node: Node, q: Tensor, keys: int, offsets: Sequence[int], mask: Tensor | None) -> Tensor | None:
    """What is added to the scores: 0 where a key may be seen, -inf where not, and the model's own float mask."""
    bias = None
    places = [_allowed_by_place(node, q.shape[2], keys, offset) for offset in offsets]
    if any(allowed is not None for allowed in places):
        whole = np.stack([np.ones((q.shape[2], keys), dtype=bool) if a is None else a for a in places])
        whole = whole[0] if len(places) == 1 else whole[:, None]
        bias = torch.from_numpy(np.where(whole, 0.0, -np.inf).astype(np.float32)).to(q.dtype)
    if mask is not None:
        given = mask
        if given.dtype == torch.bool:
            given = torch.zeros(mask.shape, dtype=q.dtype).masked_fill(torch.logical_not(mask), _INFINITE)
        if given.shape[-1] < keys:
            given = functional.pad(given, (0, keys - given.shape[-1]), value=_INFINITE)
        bias = given if bias is None else bias + given
    return bias


def _attention(
    node: Node, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, past_k: Tensor | None = None,
    past_v: Tensor | None = None, lengths: np.ndarray | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Outputs: the result, the keys and values with the past before them, and the scores at the stage asked for."""
    flat = q.ndim == 3
    q, k, v = (
        _heads(q, node.get("q_num_heads")),
        _heads(k, node.get("kv_num_heads")),
        _heads(v, node.get("kv_num_heads")),
    )
    offsets = [0]
    if past_k is not None and past_v is not None:
        offsets = [past_k.shape[2]]
        k, v = torch.cat([past_k, k], dim=2), torch.cat([past_v, v], dim=2)
    present = (k, v)
    keys = k.shape[2]
    if lengths is not None:
        offsets = [int(n) - q.shape[2] for n in lengths]
    bias = _bias(node, q, keys, offsets, mask)
    if lengths is not None:
        padding = np.where(np.arange(keys) < lengths.reshape(-1, 1, 1, 1), 0.0, -np.inf).astype(np.float32)
        padded = torch.from_numpy(padding).to(q.dtype)
        bias = padded if bias is None else bias + padded

    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    root = float(np.sqrt(node.get("scale", q.shape[-1] ** -0.5)))
    scores = torch.matmul(q * root, (k * root).transpose(2, 3))
    stages = [scores]
    if node.get("softcap", 0.0) > 0:
        scores = torch.tanh(scores / node.get("softcap")) * node.get("softcap")
    stages.append(scores)
    scores = scores if bias is None else scores + bias
    stages.append(scores)
    wide = torch_dtype(node.get("softmax_precision", 0)) if node.get("softmax_precision", 0) else scores.dtype
    weights = functional.softmax(scores.to(wide), dim=-1).to(q.dtype)
    if bias is not None and (mask is not None or lengths is not None or min(offsets) < 0):
        hidden = (
            torch.amax(bias, dim=-1, keepdim=True) == _INFINITE
        )  # a query that may see nothing answers zero, not NaN
        weights = weights.masked_fill(hidden, 0.0)
    stages.append(weights)
    y = torch.matmul(weights, v)
    y = y.transpose(1, 2).flatten(2) if flat else y
    return y, *present, stages[node.get("qk_matmul_output_mode", 0)]


OPERATORS = {"Attention": Operator(_attention, static=(6,))}
