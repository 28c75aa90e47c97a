"""A Swift package: Core ML models as resources, a typed wrapper, and an XCTest with the golden data.

Generated are the typed class, the tables of tensors, the names of the golden files and Package.swift; the rest is in
`templates/ios`. Core ML takes and gives real values, so nothing is quantized at the ends. LiteRT for iOS comes as
CocoaPods and in no Swift package of its makers', so TFLite artifacts are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bundle.document import generator
from edgekit.bundle.names import comment, distinct, literal, lower_camel, upper_camel
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bundle.kind import Content, Request, Variant
    from edgekit.specs import TensorSpec

_TEMPLATES = Path(__file__).parent / "templates" / "ios"
_KEYWORDS = frozenset(
    {"Any", "Protocol", "Self", "Type", "as", "associatedtype", "await", "break", "case", "catch", "class", "continue"}
    | {"default", "defer", "deinit", "do", "else", "enum", "extension", "fallthrough", "false", "fileprivate", "for"}
    | {"func", "guard", "if", "import", "in", "init", "inout", "internal", "is", "let", "nil", "open", "operator"}
    | {"precedencegroup", "private", "protocol", "public", "repeat", "rethrows", "return", "self", "static", "struct"}
    | {"subscript", "super", "switch", "throw", "throws", "true", "try", "typealias", "var", "where", "while"}
)
_TYPES = {
    "float32": ("Float", ".float32"),
    "float16": ("Float", ".float32"),
    "float64": ("Double", ".double"),
    "int32": ("Int32", ".int32"),
}
"""What the wrapper speaks and what Core ML's arrays hold. Float16 arrays are of iOS 16 and newer; Core ML casts."""


_OF_IOS_18 = ("weight-int4", "pruned-50-int8")
"""The precisions that iOS 17 cannot run (`edgekit.convert.formats.coreml`)."""


class Ios:
    """`--for ios`."""

    formats = ("coreml",)
    variants = True
    varying = False
    parts = ("edgekit.bundle.names", "edgekit.bundle.templates")

    def files(self, request: Request) -> dict[str, Content]:
        """The package's files; a payload lies at `Sources/NAME/Models/VARIANT.mlpackage`.

        Raises:
            BundleError: a dtype that Core ML's arrays do not have.
        """
        _refuse_dtypes(request)
        package = _package(request)
        wrapper = f"{package}Model"
        sources, tests = f"Sources/{package}", f"Tests/{package}Tests"
        files: dict[str, Content] = {
            "Package.swift": _manifest(package, request),
            "README.md": _readme(request, package),
            f"{sources}/{wrapper}.swift": _wrapper(request, wrapper),
            f"{sources}/Runtime.swift": _template("Runtime.swift", package, wrapper),
            f"{tests}/Npy.swift": _template("Npy.swift", package, wrapper),
            f"{tests}/GoldenTests.swift": _template("GoldenTests.swift", package, wrapper),
            f"{tests}/Golden.swift": _golden(request),
        }
        for variant in request.variants:
            files[f"{sources}/{_resource(variant)}"] = variant.payload
            files[f"{sources}/Models/{variant.name}.json"] = variant.file("manifest.json")
            golden = variant.manifest.golden
            for i, name in enumerate((*golden.inputs, *golden.outputs)):
                files[f"{tests}/{_golden_name(variant, i)}"] = variant.file(name)
        return files


def _refuse_dtypes(request: Request) -> None:
    for variant in request.variants:
        for tensor in (*variant.manifest.inputs, *variant.manifest.outputs):
            if tensor.dtype not in _TYPES or tensor.quantization is not None:
                raise BundleError(
                    f"A bundle for ios cannot hold {variant.artifact.title}: {tensor.name!r} is {tensor.describe()}, "
                    "which Core ML's arrays do not hold.",
                    remedy="Give the model ends of float32 or int32, and convert it again.",
                )


def _package(request: Request) -> str:
    name = upper_camel(request.name, "")
    return name if name[:1].isalpha() else f"M{name}"


def _resource(variant: Variant) -> str:
    return f"Models/{variant.name}{variant.payload.suffix}"


def _golden_name(variant: Variant, i: int) -> str:
    return f"Golden/{variant.name}-{i}.npy"


def _template(name: str, package: str, wrapper: str) -> str:
    return (_TEMPLATES / name).read_text().replace("PACKAGE", package).replace("WRAPPER", wrapper)


def _string(text: str) -> str:
    """Swift's strings are of Unicode scalars, so what is beyond the first 65,536 is shown whole; no half pairs."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return (
        '"'
        + "".join(literal(c, "\\u{{{:x}}}")[1:-1] if ord(c) < 0x10000 else f"\\u{{{ord(c):x}}}" for c in whole)
        + '"'
    )


def _said(tensor: TensorSpec) -> str:
    layout = f" {tensor.layout}" if tensor.layout else ""
    return comment(f"{tensor.dtype}{list(tensor.shape)}{layout}, row-major: {tensor.name}")


def _wrapper(request: Request, wrapper: str) -> str:
    manifest = request.preferred.manifest
    inputs = distinct([t.name for t in manifest.inputs], lower_camel, _KEYWORDS, ("loaded", "answers"))
    outputs = distinct([t.name for t in manifest.outputs], lower_camel, _KEYWORDS)
    fields = "\n".join(
        f"        /// {_said(tensor)}\n        public let {name}: [{_TYPES[tensor.dtype][0]}]"
        for name, tensor in zip(outputs, manifest.outputs, strict=True)
    )
    takes = ", ".join(f"{n}: [{_TYPES[tensor.dtype][0]}]" for n, tensor in zip(inputs, manifest.inputs, strict=True))
    said = "\n".join(
        f"    ///   - {name}: {_said(tensor)}" for name, tensor in zip(inputs, manifest.inputs, strict=True)
    )
    given = ", ".join(f"{name}.map {{ Double($0) }}" for name in inputs)
    gives = ", ".join(
        f"{name}: answers[{i}].map {{ {_TYPES[tensor.dtype][0]}($0) }}"
        for i, (name, tensor) in enumerate(zip(outputs, manifest.outputs, strict=True))
    )
    variants = "\n".join(_variant(variant) for variant in request.variants)
    ios, macos = _systems(request)
    return f"""import CoreML
import Foundation

/// {comment(manifest.model)}, made by {generator()}. One thread at a time may call it.
public final class {wrapper} {{
    /// What the model answers, as real values.
    public struct Outputs {{
{fields}
    }}

{_labels(request, outputs)}    private let loaded: Loaded

    /// Which variant was loaded.
    public var variant: String {{ loaded.variant.name }}

    /// The variants that could not be loaded here, and why.
    public var passedOver: [String: Error] {{ loaded.passedOver }}

    /// Loads the first variant that can be loaded on this device, or the one that is named.
    ///
    /// - Throws: `ModelError.runtimeTooOld`, or `ModelError.noVariant` if not even the fallback can be loaded.
    public init(variant: String? = nil, configuration: MLModelConfiguration = MLModelConfiguration()) throws {{
        guard #available(iOS {ios}, macOS {macos}, *) else {{
            throw ModelError.runtimeTooOld("these models need iOS {ios} or macOS {macos}")
        }}
        loaded = try Loaded({wrapper}.variants, named: variant, configuration: configuration)
    }}

    /// Answers one call, in real values.
    ///
    /// - Parameters:
{said}
    /// - Throws: `ModelError.wrongSize`, or what Core ML throws.
    public func run({takes}) throws -> Outputs {{
        let answers = try loaded.run([{given}])
        return Outputs({gives})
    }}

    /// In the order in which they are tried; the last is the fallback.
    static let variants: [VariantInfo] = [
{variants}
    ]
}}
"""


def _labels(request: Request, outputs: Sequence[str]) -> str:
    """A list of labels for each output that has them."""
    manifest, parts = request.preferred.manifest, []
    for name, tensor in zip(outputs, manifest.outputs, strict=True):
        if tensor.name in manifest.labels:
            listed = "".join(f"        {_string(label)},\n" for label in manifest.labels[tensor.name])
            parts.append(
                f"    /// What the entries of the last axis of {name} stand for.\n"
                f"    public static let {name.removesuffix('_')}Labels: [String] = [\n{listed}    ]\n\n"
            )
    return "".join(parts)


def _variant(variant: Variant) -> str:
    manifest = variant.manifest
    inputs = "\n".join(map(_tensor, manifest.inputs, manifest.bindings.inputs))
    outputs = "\n".join(map(_tensor, manifest.outputs, manifest.bindings.outputs))
    return f"""        VariantInfo(
            name: {_string(variant.name)},
            artifactID: {_string(variant.artifact.id)},
            resource: {_string(_resource(variant))},
            inputs: [
{inputs}
            ],
            outputs: [
{outputs}
            ]),"""


def _tensor(tensor: TensorSpec, binding: str) -> str:
    return (
        f"                TensorInfo(name: {_string(tensor.name)}, binding: {_string(binding)}, "
        f"shape: {list(tensor.shape)}, type: {_TYPES[tensor.dtype][1]}),"
    )


def _golden(request: Request) -> str:
    rows = []
    for variant in request.variants:
        golden = variant.manifest.golden
        names = [_string(_golden_name(variant, i)) for i in range(len(golden.inputs) + len(golden.outputs))]
        first, second = ", ".join(names[: len(golden.inputs)]), ", ".join(names[len(golden.inputs) :])
        rows.append(
            f"        Golden(variant: {_string(variant.name)}, minimumDecibels: {float(golden.min_snr_db)!r}, "
            f"inputs: [{first}], outputs: [{second}]),"
        )
    listed = "\n".join(rows)
    return f"""/// The golden files of one variant, in this test's resources, and how close the answers have to come.
struct Golden {{
    let variant: String
    let minimumDecibels: Double
    let inputs: [String]
    let outputs: [String]

    static let all: [Golden] = [
{listed}
    ]
}}
"""


def _systems(request: Request) -> tuple[int, int]:
    """The oldest iOS and macOS that the package asks for: what all variants run on."""
    newest = any(variant.manifest.recipe.precision in _OF_IOS_18 for variant in request.variants)
    return (18, 15) if newest else (17, 14)


def _manifest(package: str, request: Request) -> str:
    ios, macos = _systems(request)
    return f"""// swift-tools-version:{"6.0" if ios == 18 else "5.9"}
// Made by {generator()}.
import PackageDescription

let package = Package(
    name: "{package}",
    platforms: [.iOS(.v{ios}), .macOS(.v{macos})],
    products: [.library(name: "{package}", targets: ["{package}"])],
    targets: [
        .target(name: "{package}", resources: [.copy("Models")]),
        .testTarget(name: "{package}Tests", dependencies: ["{package}"], resources: [.copy("Golden")]),
    ]
)
"""


def _readme(request: Request, package: str) -> str:
    rows = "\n".join(
        f"| `{variant.name}` | `{variant.artifact.short_id}` | {variant.manifest.payload_bytes} |"
        for variant in request.variants
    )
    manifest = request.preferred.manifest
    return f"""# {comment(request.name)}

A Swift package, made by {generator()} of the model {comment(manifest.model)}. `bundle.json` lists every file by its
sha256. Add the folder to the app's project as a local package. In Swift:

    import {package}
    let model = try {package}Model()
    let outputs = try model.run(...)

| variant, in the order tried | artifact | bytes |
|---|---|---|
{rows}

The first variant that loads is taken; the last is the fallback. The first call of `init` compiles the model for the
device. `swift test` on a Mac, or Product > Test on an iPhone, runs the golden inputs.

Origin: {comment(manifest.provenance.origin or "not told")}.
Licence: {comment(manifest.provenance.licence or "not told")}.
"""
