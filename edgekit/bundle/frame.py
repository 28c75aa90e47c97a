"""The frame around every kind of bundle: checks, writes atomically, and tells what is in it."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.artifact import Artifact, FileEntry, check_files
from edgekit.bundle.document import NAME, BundledArtifact, BundleDocument, generator
from edgekit.bundle.kind import Content, Kind, Request, Variant
from edgekit.errors import BundleError, EdgeKitError
from edgekit.files import copy_files, publishing_folder, sha256_of
from edgekit.specs import TensorSpec, is_model_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def write_bundle(
    artifacts: Sequence[Artifact],
    kind_name: str,
    out: Path,
    name: str | None = None,
    options: Mapping[str, str] | None = None,
) -> BundleDocument:
    """Makes a bundle of one model's artifacts, preferred first, fallback last, in a new folder.

    Args:
        artifacts: one or more, of one model.
        kind_name: a registered kind, such as `android`.
        out: the folder, which must not exist.
        name: the bundle's name; the model's where there is none.
        options: of the kind, by name, such as `array`; "" where an option has no value.

    Raises:
        PluginError: there is no such kind.
        BundleError: the kind cannot hold these artifacts or has no such option, or something is at `out`.
        CorruptArtifactError: a file of an artifact is not what its manifest says.
        StorageError: disk full, read-only, no permission.
    """
    registered = plugins.load("bundle", kind_name)
    kind: Kind = registered()
    _refuse_options(options or {}, kind_name, kind)
    request = msgspec.structs.replace(_request(artifacts, kind_name, kind, name), options=dict(options or {}))
    if out.exists() or out.is_symlink():
        raise _in_the_way(out)
    for variant in request.variants:
        check_files(variant.artifact)
    files = _made(kind, kind_name, request)
    with publishing_folder(out, mode=0o644, in_the_way=_in_the_way(out)) as folder:
        for path, content in sorted(files.items()):
            _write(folder / path, content)
        document = BundleDocument(
            kind=kind_name,
            name=request.name,
            model=request.preferred.manifest.model,
            artifacts=tuple(_bundled(request)),
            options=request.options,
            files=tuple(_entries(folder)),
            generator=generator(),
            generator_sha256=plugins.code_sha256(registered),
        )
        (folder / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return document


def _request(artifacts: Sequence[Artifact], kind_name: str, kind: Kind, name: str | None) -> Request:
    if not artifacts:
        raise BundleError("A bundle needs an artifact.", remedy="Name one or more that `edgekit convert` wrote.")
    models = sorted({artifact.manifest.model for artifact in artifacts})
    if len(models) > 1:
        raise BundleError(
            f"A bundle holds one model, and these artifacts are of {len(models)}: {', '.join(models)}.",
            remedy="Make one bundle for each.",
        )
    name = models[0] if name is None else name
    if not is_model_name(name):
        raise BundleError(
            f"{name!r} is no name for a bundle.",
            remedy="Use letters, digits, `_`, `-`, `.`; a letter or digit first.",
        )
    for artifact in artifacts:
        _refuse_unfit(artifact, kind_name, kind)
    if len(artifacts) > 1 and not kind.variants:
        raise BundleError(
            f"A bundle for {kind_name} holds one artifact, not {len(artifacts)}.", remedy="Name the one to bundle."
        )
    if len({artifact.id for artifact in artifacts}) < len(artifacts):
        raise BundleError("An artifact is named twice.", remedy="Name each variant once, the fallback last.")
    for artifact in artifacts[1:]:
        _refuse_other_interface(artifacts[0], artifact)
    return Request(name, tuple(_variants(artifacts)))


def _refuse_options(options: Mapping[str, str], kind_name: str, kind: Kind) -> None:
    known: Mapping[str, str] = getattr(kind, "options", {})
    for name in options:
        if name not in known and not any(name.startswith(one) and one.endswith(".") for one in known):
            listed = "; ".join(f"{one}: {does}" for one, does in known.items())
            raise BundleError(
                f"A bundle for {kind_name} has no option {name!r}.",
                remedy=f"It has these: {listed}." if known else "It has none.",
            )


def _refuse_unfit(artifact: Artifact, kind_name: str, kind: Kind) -> None:
    manifest = artifact.manifest
    if manifest.recipe.format not in kind.formats:
        raise BundleError(
            f"A bundle for {kind_name} cannot hold {artifact.title}: it holds {', '.join(kind.formats)}.",
            remedy=f"Convert the model to one of these: edgekit convert ... --to {kind.formats[0]}:float32.",
        )
    tensors = (*manifest.inputs, *manifest.outputs)
    if not kind.varying and (varying := [tensor for tensor in tensors if tensor.varies]):
        raise BundleError(
            f"A bundle for {kind_name} takes fixed sizes only, and {artifact.title} has {varying[0].name!r} as "
            f"{varying[0].describe()}.",
            remedy="Convert the model with a fixed size: --shape NAME=1,128.",
        )
    for side, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        if len({spec.name for spec in specs}) < len(specs):
            raise BundleError(
                f"{artifact.title} has {side} of the same name.", remedy="Name them apart in model.py, and convert it."
            )


def _refuse_other_interface(one: Artifact, other: Artifact) -> None:
    """One wrapper speaks to all variants, so what it takes and gives has to be the same."""
    for side in ("inputs", "outputs"):
        first = list(map(_interface, getattr(one.manifest, side)))
        second = list(map(_interface, getattr(other.manifest, side)))
        if first != second:
            raise BundleError(
                f"{one.title} and {other.title} cannot be variants of one bundle: the {side} are {first} and {second}.",
                remedy="Bundle artifacts of the same source, layout and sizes, or make two bundles.",
            )


def _interface(spec: TensorSpec) -> str:
    dtype = "float32" if spec.quantization is not None else spec.dtype
    return f"{spec.name} {dtype}{list(spec.shape)}{spec.layout or ''}"


def _variants(artifacts: Sequence[Artifact]) -> list[Variant]:
    """Named by format and precision; by the id as well where two have the same."""
    short = [f"{a.manifest.recipe.format}-{a.manifest.recipe.precision}" for a in artifacts]
    return [
        Variant(name if short.count(name) == 1 else f"{name}-{artifact.short_id}", artifact)
        for name, artifact in zip(short, artifacts, strict=True)
    ]


def _made(kind: Kind, kind_name: str, request: Request) -> Mapping[str, Content]:
    """The hook, whose failures are told as ours, and whose paths are looked at before anything is written."""
    try:
        files = kind.files(request)
    except EdgeKitError:
        raise
    except Exception as error:  # a kind from another package may fail in any way
        raise BundleError(
            f"The bundle kind {kind_name} failed on {request.preferred.artifact.title}: "
            f"{type(error).__name__}: {error}.",
            remedy="Report it with the artifact's manifest.json.",
        ) from error
    for path in files:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path or path == NAME:
            raise BundleError(f"The bundle kind {kind_name} makes a file {path!r}.", remedy="Report it to its author.")
    return files


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="\n")
    elif content.is_dir():
        path.mkdir()
        copy_files(content, path)
    else:
        shutil.copyfile(content, path)


def _entries(folder: Path) -> list[FileEntry]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return [FileEntry(file.relative_to(folder).as_posix(), file.stat().st_size, sha256_of(file)) for file in files]


def _bundled(request: Request) -> list[BundledArtifact]:
    last = len(request.variants) - 1
    return [
        BundledArtifact(
            variant.artifact.id,
            str(variant.manifest.recipe),
            variant.name,
            "only" if last == 0 else "preferred" if i == 0 else "fallback" if i == last else "other",
        )
        for i, variant in enumerate(request.variants)
    ]


def _in_the_way(out: Path) -> BundleError:
    return BundleError(f"{out} is there already.", remedy="Name another folder with --out, or remove this one.")
