"""The `torch.export` program of an export: sources write it, formats read it, and a process that does both keeps it.

Reading a program back takes about as long as making it, and the first of everything in PyTorch (its imports, its
symbolic shapes) takes longer than either. So the worker that wrote a program holds it, and may go on with the first
step that reads it (`edgekit.convert.workers`); every other step reads the file. Both must make the same bytes:

- what is held is what the file holds: of the notes on its nodes, those are dropped that a file would not keep;
- one whose sizes vary is not held, because reading it gives its symbols other names;
- it is given away once, because formats rewrite what they get;
- what the model's own code set in PyTorch for the whole process is put back before another step follows; where that
  cannot be (TorchScript's count of the types that it has seen), none follows.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NOT_IN_A_FILE = ("tensor_meta",)
_held: list[tuple[tuple[int, ...], Any]] = []
"""Which file, and the program in it; one at most."""


def save_program(program: Any, path: Path) -> None:
    """Writes a `torch.export.ExportedProgram`, and holds it."""
    import torch

    torch.export.save(program, path)
    hold_program(program, path)


def hold_program(program: Any, path: Path) -> None:
    """Holds a program whose file is there already, unless its sizes vary."""
    import torch

    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for name in _NOT_IN_A_FILE:
                node.meta.pop(name, None)
    _held[:] = [] if program.range_constraints else [(_identity(path), program)]


def load_program(path: Path) -> Any:
    """The `torch.export.ExportedProgram` of a file, for the caller alone."""
    import torch

    while _held:
        identity, program = _held.pop()
        if identity == _identity(path):
            return program
    return torch.export.load(path)


def holds_program() -> bool:
    """Whether this process wrote a program that nobody has asked for since."""
    return bool(_held)


def _identity(path: Path) -> tuple[int, ...]:
    """Which file it is, whatever its folder has been renamed to since."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def torch_is_as_new() -> bool:
    """Whether TorchScript has compiled no module here: it numbers its types by the process, and writes the numbers."""
    from torch.jit import _recursive

    return not _recursive.concrete_type_store.type_store


@contextmanager
def torch_put_back() -> Iterator[None]:
    """Undoes what the block sets in PyTorch for the whole process."""
    import torch

    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    gradients, random = torch.is_grad_enabled(), torch.get_rng_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(gradients)
        torch.set_rng_state(random)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
