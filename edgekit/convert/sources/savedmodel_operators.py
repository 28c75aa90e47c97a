"""Lists what a SavedModel's graph would do beyond arithmetic, without loading it.

    python -m edgekit.convert.sources.savedmodel_operators FOLDER

It runs in a process of its own: the file is not trusted yet, and TensorFlow talks while it is imported.

A SavedModel is a program: its operators read and write files, call Python, print, or talk to other machines, when it
is loaded (initializers) or run. Its graph is parsed with TensorFlow's own schema, which executes nothing. TensorFlow
says of each operator whether it has an effect (`is_stateful`); of those only the few that inference needs pass, and of
the others all but the few that read or write nevertheless. So an operator that a later TensorFlow adds does not pass
for want of being known, and one that TensorFlow does not know at all does not, either.

Every SavedModel saves and restores its variables by operators that write and read files. They pass where only the saver
reaches them, which nothing runs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

SAVED_MODEL_PB = "saved_model.pb"
TIMEOUT_S = 120

_SAVER = {"SaveV2", "RestoreV2", "MergeV2Checkpoints"}
_HARMLESS_EFFECTS = re.compile(
    r"VarHandleOp|VarIsInitializedOp|Variable(V2|Shape)?|ReadVariableOp|Assign(Add|Sub)?VariableOp|DestroyResourceOp"
    r"|DisableCopyOnRead|Stateful(PartitionedCall|Random.*|StandardNormal.*|TruncatedNormal|Uniform.*)"
    r"|If|While|Case|Assert|CheckNumerics(V2)?|Empty|GuaranteeConst|Random(Uniform|UniformInt|StandardNormal|Shuffle)"
    r"|TruncatedNormal|Multinomial|Rng(ReadAndSkip|Skip)|StatelessRandomGetAlg"
    r"|Resource(Gather(Nd)?|Apply.*|SparseApply.*|Scatter.*)|TensorArray.*|Stack(V2|PushV2|PopV2|CloseV2)|CudnnRNN.*"
    r"|(Mutable|Anonymous)*(Dense)?HashTable.*|InitializeTableV2|LookupTable.*V2"
)
_HARMFUL_THOUGH_STATELESS = re.compile(
    r".*(Dataset|Snapshot|Reader|PyFunc|Debug|TPU).*|ReadFile|MatchingFiles|ImmutableConst|InitializeTableFromTextFile"
)


def unsafe_operators(path: Path, shown: str) -> list[str]:
    """The operators with effects that loading or running the SavedModel would have, sorted; empty if harmless.

    Raises:
        ModelError: there is no SavedModel to read.
    """
    command = [sys.executable, "-m", __name__, str(path)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{shown} could not be read within {TIMEOUT_S} s.", remedy="Save the model again, without its training."
        ) from error
    if done.returncode != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it crashed its reader"])[-1]
        raise ModelError(
            f"{shown} cannot be read as a SavedModel: {last[:300]}.",
            remedy="Write it with model.export(folder) or tf.saved_model.save.",
        )
    found: list[str] = json.loads(done.stdout)
    return found


def main(argv: list[str]) -> int:
    """Prints the operators as a JSON list; exits with 1 and one line on standard error if there is no SavedModel."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    parsed = saved_model_pb2.SavedModel()
    try:
        parsed.ParseFromString((Path(argv[1]) / SAVED_MODEL_PB).read_bytes())
    except (DecodeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not parsed.meta_graphs:
        sys.stderr.write("it holds no graph\n")
        return 1
    found = sorted({operator for graph in parsed.meta_graphs for operator in _in_graph(graph)})
    sys.stdout.write(json.dumps(found))
    return 0


def _in_graph(graph: Any) -> Iterator[str]:
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    idle = _idle_functions(graph, functions)
    runs = _nodes_that_run(graph)
    for node in graph.graph_def.node:
        if not (node.op in _SAVER and node.name not in runs):
            yield from _effect(node, functions)
    for name, function in functions.items():
        for node in function.node_def:
            if not (node.op in _SAVER and name in idle):
                yield from _effect(node, functions)


def _effect(node: Any, functions: dict[str, Any]) -> Iterator[str]:
    from tensorflow.python.framework import op_def_registry

    known = op_def_registry.get(node.op)
    if node.op in functions:  # a call of a function, whose nodes are looked at themselves
        return
    if known is None:
        yield f"{node.op} (unknown to TensorFlow)"
    elif _HARMFUL_THOUGH_STATELESS.fullmatch(node.op) or (
        known.is_stateful and not _HARMLESS_EFFECTS.fullmatch(node.op)
    ):
        yield node.op


def _called(node: Any) -> set[str]:
    named = {node.op}
    for attribute in node.attr.values():
        named.add(attribute.func.name)
        named.update(function.name for function in attribute.list.func)
    return named


def _idle_functions(graph: Any, functions: dict[str, Any]) -> set[str]:
    """The saver's two functions, unless anything else calls them."""
    saver = {graph.saver_def.save_tensor_name.split(":")[0], graph.saver_def.restore_op_name}
    idle = {name for node in graph.graph_def.node if node.name in saver for name in _called(node) if name in functions}
    others = [node for node in graph.graph_def.node if node.name not in saver]
    others += [node for function in functions.values() for node in function.node_def]
    called = {name for node in others for name in _called(node)}
    return idle - called - set(graph.object_graph_def.concrete_functions)


def _nodes_that_run(graph: Any) -> set[str]:
    """The nodes of the main graph that a signature's outputs, or what runs on loading, depend on."""
    nodes = {node.name: node for node in graph.graph_def.node}
    waiting = [info.name for one in graph.signature_def.values() for info in one.outputs.values()]
    waiting += [name for collection in graph.collection_def.values() for name in collection.node_list.value]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name not in reached and name in nodes:
            reached.add(name)
            waiting.extend(nodes[name].input)
    return reached


if __name__ == "__main__":
    sys.exit(main(sys.argv))
