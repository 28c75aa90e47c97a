"""Reading an ML Program from an `.mlpackage`.

The file is read twice: as protobuf, to see which operators it holds without asking whether anybody knows them; then by
coremltools' loader, which resolves weights, the defaults of the operators' version, and the declared types.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = {65568: "float32", 65552: "float16", 65600: "float64", 131104: "int32"}
"""`ArrayFeatureType.ArrayDataType` of a model's interface, by number."""


@dataclass(frozen=True)
class Feature:
    """One input or output of the model: what a caller of Core ML sees."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Program:
    """A loaded program.

    Args:
        function: coremltools' `Function` "main".
        operators: how often each operator occurs, constants left out, nested blocks included.
        inputs, outputs: the model's interface, in the file's order.
        specification: the version of the format: 6 is iOS 15, 7 iOS 16, 8 iOS 17, 9 iOS 18.
    """

    function: Any
    operators: Counter[str]
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    specification: int


def read_spec(path: Path) -> Any:
    """The protobuf of an `.mlpackage`.

    Raises:
        ConversionError: it holds no ML Program.
    """
    from coremltools.models.utils import load_spec

    spec = load_spec(str(path))
    if spec.WhichOneof("Type") != "mlProgram":
        raise ConversionError(
            f"{path.name} holds a Core ML model of type {spec.WhichOneof('Type')}, not an ML Program.",
            remedy="Convert it with minimum_deployment_target=iOS15 or later.",
        )
    return spec


def operations(spec: Any) -> Iterator[Any]:
    """Every operation of the program, nested blocks included, as protobuf."""

    def of(block: Any) -> Iterator[Any]:
        for operation in block.operations:
            yield operation
            for inner in operation.blocks:
                yield from of(inner)

    for function in spec.mlProgram.functions.values():
        yield from of(function.block_specializations[function.opset])


def count_operators(spec: Any) -> Counter[str]:
    """How often each operator occurs, constants left out."""
    return Counter(operation.type for operation in operations(spec) if operation.type != "const")


def missing_operators(spec: Any) -> Counter[str]:
    """The operators of a program that the evaluator lacks, all of them, with counts."""
    from edgekit.convert.mil.operators import known

    have = known()
    return Counter({name: count for name, count in count_operators(spec).items() if name not in have})


def read_program(path: Path) -> Program:
    """Loads a program for the evaluator.

    Raises:
        ConversionError: the file holds no ML Program, or not a function "main".
        RefusedError: it uses operators that the evaluator lacks; names all of them.
    """
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = read_spec(path)
    missing = missing_operators(spec)
    if missing:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(missing.items()))
        raise RefusedError(
            f"{path.name} cannot be proven on this machine: the MIL evaluator lacks the operators {listed}.",
            remedy="Convert on a Mac, where Core ML itself runs the model, or replace these operators in the model.",
        )
    loaded = load(
        spec,
        specification_version=spec.specificationVersion,
        file_weights_dir=str(path / "Data" / "com.apple.CoreML" / "weights"),
    )
    if "main" not in loaded.functions:
        raise ConversionError(
            f"{path.name} has no function main, but {', '.join(sorted(loaded.functions))}.",
            remedy="Convert a single function.",
        )
    return Program(
        function=loaded.functions["main"],
        operators=count_operators(spec),
        inputs=tuple(_feature(feature) for feature in spec.description.input),
        outputs=tuple(_feature(feature) for feature in spec.description.output),
        specification=int(spec.specificationVersion),
    )


def _feature(description: Any) -> Feature:
    array = description.type.multiArrayType
    if description.type.WhichOneof("Type") != "multiArrayType":
        raise ConversionError(
            f"{description.name!r} is not a tensor but {description.type.WhichOneof('Type')}.",
            remedy="Convert with tensors (ct.TensorType) as inputs and outputs.",
        )
    return Feature(description.name, tuple(int(size) for size in array.shape), DTYPES[int(array.dataType)])
