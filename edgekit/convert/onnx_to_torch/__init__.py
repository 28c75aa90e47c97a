"""ONNX to PyTorch: an ONNX graph as a `torch.nn.Module` that `torch.export` traces into a clean program.

Why it is here: every other converter of EdgeKit reads `torch.export` programs and hardly any reads ONNX. The packages
that would bridge the two either stop at opset 17 or bring a framework of their own along.

How it works, in the order of the files:

    graph.py      reads the ModelProto: functions are inlined, operators that we lack but that the ONNX standard defines
                  by others are replaced by these, initialisers become tensors. What then is still unknown is told
                  at once, with versions, names and counts.
    importer.py   walks the nodes in order. What depends on constants and static shapes alone (the chains of Shape,
                  Gather, Concat and so on that exporters leave behind) is computed now and is a constant from then on;
                  of the rest, only the shape and dtype of every result, on fake tensors. What torch must know while it
                  traces (the shape of a Reshape, the axes of a Slice) must be constant by then, or the model is
                  refused.
    simplify.py   MatMul and Add with constants become linear layers, which the quantizers of other formats look for.
    module.py     the module: constants are its parameters and buffers, `forward` calls the remaining operators.
    operators/    one small function an operator, in torch; each takes the node and its inputs.

Opsets 7 to 28 are read; a function that depends on the version asks `node.opset`. Unsigned integers of 16 bits and more
are held in the next wider signed type and 4-bit ones in 8 bits, because torch hardly computes with them.

torch is imported at the top of these files: nothing imports this package outside of a worker process.
"""

from edgekit.convert.onnx_to_torch.graph import describe_missing, missing_operators
from edgekit.convert.onnx_to_torch.importer import import_onnx
from edgekit.convert.onnx_to_torch.module import ImportedGraph

__all__ = ["ImportedGraph", "describe_missing", "import_onnx", "missing_operators"]
