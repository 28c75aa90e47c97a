"""A package for web applications: the payload, a typed module over LiteRT.js, and a page that proves it.

    index.ts .js .d.ts    the model: named inputs and outputs, generated from the manifest
    litert.ts .js .d.ts   what it stands on: checks, buffers; the same in every bundle
    tensors.ts .js .d.ts  types, quantization, what is thrown; likewise
    golden.ts .js .d.ts   golden inputs against golden outputs, and times, in a browser
    model.tflite golden/  the payload and its golden data
    check.html            runs golden.js where the bundle is served
    package.json          names LiteRT.js as the peer that npm installs

The JavaScript is what the TypeScript compiler makes of the TypeScript, so no build step is needed
(docs/bundle-web.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bundle.document import generator
from edgekit.bundle.names import comment
from edgekit.bundle.web.module import declarations, javascript, refuse_unsuitable, typescript
from edgekit.runner import web
from edgekit.runner.web import LITERT, LITERT_VERSION

if TYPE_CHECKING:
    from edgekit.bundle.kind import Content, Request, Variant

_TEMPLATES = Path(__file__).parent.parent / "templates" / "web"
_SHARED = Path(web.__file__).parent
"""What EdgeKit's own page stands on as well (edgekit.runner.web): one wrapper, not two that may disagree."""
_SHARED_PARTS = ("litert", "tensors", "golden")


class Web:
    """`--for web`."""

    formats = ("tflite",)
    variants = False
    varying = False
    parts = ("edgekit.bundle.names", "edgekit.bundle.templates", "edgekit.bundle.web.module", "edgekit.runner.web")

    def files(self, request: Request) -> dict[str, Content]:
        """The package's files; see the module.

        Raises:
            BundleError: a tensor that has no typed array, or no one scale.
        """
        variant = request.preferred
        artifact = variant.artifact
        refuse_unsuitable(artifact)
        golden = variant.manifest.golden
        return {
            "check.html": _TEMPLATES / "check.html",
            **{f"{part}{end}": _SHARED / f"{part}{end}" for part in _SHARED_PARTS for end in (".ts", ".js", ".d.ts")},
            "index.ts": typescript(artifact),
            "index.js": javascript(artifact),
            "index.d.ts": declarations(artifact),
            "model.tflite": variant.payload,
            **{path: variant.file(path) for path in (*golden.inputs, *golden.outputs)},
            "package.json": _package(request.name, variant),
            "README.md": _readme(request.name, variant),
        }


def _package(name: str, variant: Variant) -> str:
    described = {
        "name": name.lower(),
        "version": f"0.0.0-artifact.{variant.artifact.short_id}x",  # a number may not begin with 0 there
        "description": f"{variant.artifact.title}, bundled by {generator()}",
        "private": True,
        "type": "module",
        "exports": {
            ".": {"types": "./index.d.ts", "default": "./index.js"},
            "./golden": {"types": "./golden.d.ts", "default": "./golden.js"},
            "./litert": {"types": "./litert.d.ts", "default": "./litert.js"},
            "./model.tflite": "./model.tflite",
            "./package.json": "./package.json",
        },
        "peerDependencies": {LITERT: f"~{LITERT_VERSION}"},
    }
    return json.dumps(described, indent=2) + "\n"


def _readme(name: str, variant: Variant) -> str:
    manifest = variant.manifest
    inputs = ", ".join(json.dumps(tensor.name) for tensor in manifest.inputs)
    return f"""# {comment(name)}

Made by {generator()} of {comment(variant.artifact.title)}. `bundle.json` lists every file by its sha256.

    npm install                          # brings LiteRT.js ({LITERT} ~{LITERT_VERSION})
    python3 -m http.server -b 127.0.0.1  # then open check.html: it proves the bundle in that browser

In a page or an application (inputs: {comment(inputs)}; types and shapes in index.d.ts):

    import {{ load }} from "./index.js";

    const model = await load({{ runtime: "/litert/" }});   // where the folder of {LITERT} is served
    const outputs = await model.run(inputs);              // real values, flat; quantization is done inside
    model.close();

`runtime` can be left out where an import map names {LITERT} (see check.html). What is thrown is a `ModelError` with
`problem`: `version` (another LiteRT.js), `damaged` (not the proven payload), `unreachable`, `input`, `runtime`,
`mismatch`, `closed`.

Origin: {comment(manifest.provenance.origin or "not told")}.
Licence: {comment(manifest.provenance.licence or "not told")}.
"""
