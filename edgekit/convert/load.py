"""Which model a user means, and whether opening it executes code.

A folder with a `model.py` is a program: naming it on the command line is the consent, and what is executed is said. A
file of weights must not be a program; but pickles are, and even a `torch.export` archive may carry some that torch
itself loads without its restricted unpickler. So every pickle in a file is listed before anything opens it, and one
that names anything beyond plain tensors is refused unless `--trust` is given (`edgekit.convert.pickles`).
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.errors import ModelError
from edgekit.files import digest_of, digest_of_tree
from edgekit.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.convert.sources import Source
    from edgekit.convert.sources.base import Shapes

MODELS_FOLDER = Path("models")


@dataclass(frozen=True)
class ModelRef:
    """A model that was found, not yet loaded: enough to plan with and to hash.

    Args:
        name: the model's name.
        path: the folder or file, absolute.
        source: the kind of source, a name in the entry-point group `edgekit.sources`.
        files: everything whose content belongs to the source.
        depends_on: distributions whose version belongs to it.
        executes: what loading it executes, for the user to read; empty if nothing.
        calibration: an `.npz` file given on the command line.
        shapes: by input, the shape at which dynamic axes are fixed, or ranges in which they vary.
    """

    name: str
    path: Path
    source: str
    files: tuple[Path, ...]
    depends_on: tuple[str, ...]
    executes: str
    trust: bool
    calibration: Path | None = None
    shapes: Shapes = field(default_factory=dict)

    def sha256(self) -> str:
        """One hash over all that the model is made from, calibration data aside."""
        shapes = msgspec.to_builtins(dict(self.shapes))
        return digest_of([self.source, digest_of_tree(self.files), plugins.versions(self.depends_on), shapes])


def find_model(
    text: str,
    *,
    calibration: Path | None = None,
    trust: bool = False,
    shapes: Shapes | None = None,
    announce: Callable[[str], None] = lambda _executes: None,
) -> ModelRef:
    """Finds the model that `text` names: a folder with a `model.py`, a name in `models/`, or a model file.

    Args:
        text: what the user wrote.
        calibration: an `.npz` file.
        trust: whether a file may execute code that it brings along.
        shapes: by input, the shape at which a file's dynamic axes are fixed, or ranges in which they vary; for a
            folder, sizes of dimensions that vary.
        announce: told what loading the model executes, before it does.

    Raises:
        ModelError: there is no such model, or no source takes its kind of file.
        UntrustedModelError: opening it would execute code that the file brings along.
    """
    path = Path(text)
    if not path.exists() and (MODELS_FOLDER / text / "model.py").is_file():
        path = MODELS_FOLDER / text
    if path.is_dir() and (is_model_folder(path) or _kind_of(path) is None):
        return _folder(path.resolve(), calibration, announce, trust=trust, shapes=shapes or {})
    if path.exists():
        return _file(path.resolve(), calibration, announce, trust=trust, shapes=shapes or {})
    known = sorted(p.parent.name for p in MODELS_FOLDER.glob("*/model.py"))
    close = difflib.get_close_matches(Path(text).name, known, n=1)
    hint = f"Did you mean {MODELS_FOLDER / close[0]}? " if close else ""
    listed = f"Models here: {', '.join(known)}." if known else "Give a folder with a model.py, or a .pt2 file."
    raise ModelError(f"There is no model {text!r}.", remedy=hint + listed)


def _folder(
    path: Path, calibration: Path | None, announce: Callable[[str], None], *, trust: bool, shapes: Shapes
) -> ModelRef:
    if not (path / "model.py").is_file():
        raise ModelError(f"{path} has no model.py.", remedy="docs/models.md shows one; a .pt2 file needs none.")
    executes = f"executes {path / 'model.py'}"
    announce(executes)
    model = import_model(path)
    if shapes and not any(spec.varies for spec in model.inputs):
        raise ModelError(
            f"{path} declares its shapes in model.py, all of them fixed; --shape is for model files, and for "
            "dimensions that vary.",
            remedy="Change its inputs.",
        )
    return ModelRef(
        name=model.name,
        path=path,
        source=model.source,
        files=(
            *_python_files(path),
            *(_declared(path, model.name, name) for name in model.files),
        ),
        depends_on=model.depends_on,
        executes=executes,
        trust=trust,
        calibration=calibration.resolve() if calibration else None,
        shapes=dict(shapes),
    )


def _python_files(folder: Path) -> list[Path]:
    """Its code, model.py and what that may import; nothing hidden, such as packages installed beside it."""
    return [p for p in sorted(folder.rglob("*.py")) if not any(n.startswith(".") for n in p.relative_to(folder).parts)]


def _declared(folder: Path, model: str, name: str) -> Path:
    """A file that model.py declares. A missing one must not pass: the cache would not see it change."""
    path = folder / name
    if not path.exists():
        raise ModelError(
            f"Model {model!r} declares the file {name!r}, and {path} does not exist.",
            remedy="Put it there, or correct `files=` in model.py (paths are relative to the model's folder).",
        )
    return path


def is_model_folder(path: Path) -> bool:
    """Whether a path is a folder with a `model.py`, rather than a model file (some of which are folders, too)."""
    return (path / "model.py").is_file()


def _kind_of(path: Path) -> str | None:
    return next((name for name in plugins.names("source") if plugins.load("source", name).recognises(path)), None)


def _file(
    path: Path, calibration: Path | None, announce: Callable[[str], None], *, trust: bool, shapes: Shapes
) -> ModelRef:
    kind = _kind_of(path)
    if kind is None:
        suffixes = sorted(s for name in plugins.names("source") for s in plugins.load("source", name).suffixes)
        raise ModelError(
            f"{path} is not a kind of model file that EdgeKit takes.",
            remedy=f"Give a file that ends in {', '.join(suffixes)}, a SavedModel, or a folder with a model.py.",
        )
    source: type[Source] = plugins.load("source", kind)
    unsafe = source.inspect(path, trust=trust, shown=str(path))
    executes = f"--trust: {path} may execute {', '.join(unsafe)}" if unsafe else ""
    if executes:
        announce(executes)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem).lstrip("._-")[:128] or "model"
    return ModelRef(
        name=name,
        path=path,
        source=kind,
        files=(path, *(path.parent / companion for companion in source.companions(path))),
        depends_on=(),
        executes=executes,
        trust=trust,
        calibration=calibration.resolve() if calibration else None,
        shapes=dict(shapes),
    )


def import_model(folder: Path) -> Model:
    """Executes `folder/model.py` and returns its `model`.

    Raises:
        ModelError: it fails, or defines no Model.
    """
    file = folder / "model.py"
    name = f"_edgekit_model_{digest_of(str(file))[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ModelError:
        raise
    except Exception as error:  # it is a program of the user's: anything may go wrong in it
        line = _line_in(file, error)
        raise ModelError(
            f"{file} failed{line}: {type(error).__name__}: {error}.", remedy="Mend the model's code and run it again."
        ) from error
    model = getattr(module, "model", None)
    if not isinstance(model, Model):
        raise ModelError(f"{file} defines no `model = Model(...)`.", remedy="Add one; docs/models.md shows how.")
    return model


def _line_in(file: Path, error: BaseException) -> str:
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" in line {line}" if line else ""
