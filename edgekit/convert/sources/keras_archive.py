"""Lists what a `.keras` archive would execute or read when Keras opens it, without Keras.

Keras refuses Python lambdas unless `safe_mode=False`, and every gap in that refusal so far was a name in config.json
that Keras resolved to something which is no layer: any module's function (CVE-2025-1550), a function of Keras itself
that loads or downloads (CVE-2025-8747, CVE-2025-9906), a layer that loads another program (CVE-2026-1462), a vocabulary
that is a path (GHSA-qg93-c7p6-gg7f), weights that HDF5 fetches from another file. So this does not look for what is
known to be bad: a name must be of those parts of Keras that models are made of, an entry of those that Keras writes.

The archive's JSON is read by the same parser that Keras uses, so both see the same values.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgekit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = "config.json"
_ENTRIES = (CONFIG, "metadata.json", "model.weights.h5")
_MODELLING = {
    "activations", "constraints", "dtype_policies", "engine", "initializers", "layers", "losses", "metrics", "models",
    "ops", "optimizers", "quantizers", "random", "regularizers",
}  # fmt: skip
"""The parts of `keras` and of `keras.src` whose classes make up a model."""
_AT_THE_ROOT = {"DTypePolicy", "Functional", "Initializer", "Layer", "Loss", "Metric", "Model", "Sequential"}
_FUNCTIONS = {"activations", "losses", "metrics", "ops"}
"""The parts whose functions a configuration may name."""
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
_PROGRAMS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
"""Layers of Keras whose configuration holds a program, or says where one lies."""


def unsafe_content(path: Path, shown: str) -> list[str]:
    """What the archive holds beyond layers of Keras and their weights, sorted; empty if harmless.

    Raises:
        ModelError: it is no `.keras` archive, so that there is nothing to open either.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = [*_entries(archive), *_named_in(json.loads(archive.read(CONFIG)))]
            names = archive.namelist()
            if "model.weights.h5" in names:
                found += _links_of(archive.read("model.weights.h5"))
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise ModelError(
            f"{shown} cannot be read as a .keras archive: {error}.",
            remedy="Write it with model.save('net.keras') of Keras 3; the older .h5 files are not taken.",
        ) from error
    return sorted(set(found))


def _entries(archive: zipfile.ZipFile) -> Iterator[str]:
    for name, count in Counter(archive.namelist()).items():
        if count > 1:  # whoever reads by name sees one of them only
            yield f"{name}, which is there {count} times"
        elif name not in _ENTRIES:
            yield f"the entry {name}"


def _named_in(config: Any) -> Iterator[str]:
    """Walks config.json. The training configuration at its top is skipped: it is never opened (`compile=False`)."""
    waiting = [{k: v for k, v in config.items() if k != "compile_config"} if isinstance(config, dict) else config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            if "class_name" in value:
                yield from _object(value)
            if isinstance(value.get("vocabulary"), str):
                yield f"a vocabulary read from {value['vocabulary']}"


def _object(value: dict[str, Any]) -> Iterator[str]:
    kind, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if kind in _VALUES:
        return
    if not isinstance(kind, str) or not isinstance(module or "", str):
        yield f"{module}.{kind}"
        return
    function = kind == "function"
    name = str(value.get("config")) if function else kind
    if kind in _PROGRAMS or kind.startswith("__"):
        yield f"{module or 'keras'}.{kind}"
    elif not _is_modelling(module, name, function=function):
        yield f"{module}.{name}"
    elif registered not in (None, name, kind):
        yield f"{registered}, registered by other code"


def _is_modelling(module: str | None, name: str, *, function: bool) -> bool:
    if module is None or module == "builtins":  # Keras looks such names up among its own layers or activations
        return module is None or function
    parts = module.split(".")
    if parts[0] != "keras":
        return False
    rest = parts[2:] if parts[1:2] == ["src"] else parts[1:]
    if not rest:
        return name in _AT_THE_ROOT and not function
    return rest[0] in (_FUNCTIONS if function else _MODELLING)


def _links_of(content: bytes) -> Iterator[str]:
    """What an HDF5 file fetches from other files: external links, external storage, virtual datasets."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        found: list[str] = []

        def link(name: str, one: Any) -> None:
            if isinstance(one, h5py.ExternalLink):
                found.append(f"weights {name} read from {one.filename}")

        def item(name: str, one: Any) -> None:
            if isinstance(one, h5py.Dataset) and (one.external or one.is_virtual):
                found.append(f"weights {name} read from another file")

        file.visititems_links(link)
        file.visititems(item)
    yield from found
