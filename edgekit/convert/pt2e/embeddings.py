"""Embedding tables in int8: a scale a row, symmetric.

Runtimes for devices rarely carry the quantized look-up operators (the wheels of ExecuTorch 1.5 and PyTorch's mobile
builds do not agree on any), so this uses the plain one twice: the row in int8 and its scale in float32, multiplied
after the look-up. The table is never expanded; a row costs `width + 4` bytes instead of `4 × width`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.convert.pt2e.graph import EMBEDDING, add_attribute, layers_of, tensor_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgekit.convert.pt2e.graph import Graph, Layer

LARGEST = 127
SMALLEST_SCALE = 2.0**-60
"""For a row of zeros (the padding token's, as a rule)."""


def quantize_embeddings(graph: Graph, keep: Collection[str]) -> list[Layer]:
    """Replaces the tables of all embeddings but those to keep, and returns what it replaced."""
    import torch

    done = [layer for layer in layers_of(graph) if layer.kind == EMBEDDING and layer.name not in keep]
    aten = torch.ops.aten
    for layer in done:
        table = tensor_of(graph, layer.weight).detach()
        scale = (table.abs().amax(dim=1, keepdim=True) / LARGEST).clamp_min(SMALLEST_SCALE)
        stored = torch.round(table / scale).clamp(-LARGEST, LARGEST).to(torch.int8)
        looked_up, indices = layer.node, layer.node.args[1]
        rows = add_attribute(graph, f"{layer.name}.int8", stored, looked_up)
        scales = add_attribute(graph, f"{layer.name}.scale", scale, looked_up)
        with graph.graph.inserting_before(looked_up):
            row = graph.graph.call_function(aten.embedding.default, (rows, indices))
            real = graph.graph.call_function(aten.to.dtype, (row, torch.float32))
            factor = graph.graph.call_function(aten.embedding.default, (scales, indices))
            result = graph.graph.call_function(aten.mul.Tensor, (real, factor))
        result.meta.update(looked_up.meta)
        looked_up.replace_all_uses_with(result)
        graph.graph.erase_node(looked_up)
    return done
