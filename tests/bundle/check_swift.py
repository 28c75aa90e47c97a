"""Checks the Swift of bundles with a real compiler, by hand: `python -m tests.bundle.check_swift ARTIFACT...`.

Debian 13 has Swift (`swiftlang` 6.0): 538 MB to fetch and 2.5 GB on the disk, too much for every run of the tests,
which parse what is generated. Core ML is a stub (`stubs/ios`); Foundation and XCTest are the compiler's own. It needs
root.

ARTIFACT: one or more of one model. Those of another format than Core ML are taken for float16 of Core ML: the Swift
that is generated of a manifest does not depend on the payload.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "devices"))

from debian_root import debian_root

from edgekit.artifact import Artifact, open_artifact
from edgekit.bundle import Request, Variant
from edgekit.bundle.ios import Ios
from edgekit.recipe import Recipe

STUBS = Path(__file__).parent / "stubs" / "ios"
FLAGS = ("-warnings-as-errors", "-swift-version", "5")
MANIFEST = "/usr/libexec/swift/lib/swift/pm/ManifestAPI"


def check(artifacts: list[Artifact], root: Path) -> int:
    """The compiler's status over these artifacts' package, its test and Package.swift; `root` has the compiler."""
    with tempfile.TemporaryDirectory(dir=root, prefix="check-") as name:
        work = Path(name)
        for path, content in Ios().files(Request("checked", tuple(map(_variant, artifacts)))).items():
            if isinstance(content, str):
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_text(content)
        shutil.copytree(STUBS, work / "stubs")
        inside = f"/{work.name}"

        def files(folder: str) -> list[str]:
            return [f"{inside}/{file.relative_to(work)}" for file in sorted((work / folder).rglob("*.swift"))]

        module = ("-parse-as-library", "-emit-module", "-I", inside, "-module-name")
        accessor = f"{inside}/stubs/Module.swift"
        steps = (
            (*module, "CoreML", f"{inside}/stubs/CoreML.swift", "-emit-module-path", f"{inside}/CoreML.swiftmodule"),
            (*module, "Checked", "-enable-testing", *files("Sources"), accessor, "-emit-module-path",
             f"{inside}/Checked.swiftmodule"),
            ("-parse-as-library", "-typecheck", "-I", inside, "-module-name", "CheckedTests", *files("Tests"),
             accessor),
            ("-typecheck", "-I", MANIFEST, "-package-description-version", "6.0", f"{inside}/Package.swift"),
        )  # fmt: skip
        for step in steps:
            alone = ("unshare", "--fork", "--pid", f"--mount-proc={root / 'proc'}", "chroot", str(root))
            command = [*alone, "/usr/bin/swiftc", *FLAGS, *step]
            status = subprocess.run(command, env={**os.environ, "HOME": "/tmp", "LC_ALL": "C"}, timeout=600).returncode
            if status:
                return status
    return 0


def _variant(artifact: Artifact) -> Variant:
    if artifact.manifest.recipe.format == "coreml":
        return Variant(f"coreml-{artifact.manifest.recipe.precision}", artifact)
    plain = [
        tuple(
            msgspec.structs.replace(t, quantization=None, dtype="float32" if t.quantization else t.dtype) for t in side
        )
        for side in (artifact.manifest.inputs, artifact.manifest.outputs)
    ]
    recipe = Recipe("coreml", "float16")
    manifest = msgspec.structs.replace(artifact.manifest, recipe=recipe, inputs=plain[0], outputs=plain[1])
    return Variant(f"coreml-{artifact.short_id}", Artifact(artifact.id, artifact.path, manifest))


if __name__ == "__main__":
    swift = debian_root(["swiftlang", "libc6-dev"])
    sys.exit(check([open_artifact(Path(path)) for path in sys.argv[1:]], swift))
