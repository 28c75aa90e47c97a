"""The TypeScript compiler, as EdgeKit's own TypeScript is compiled: strict, for ECMAScript 2022."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "lib": ["es2022", "dom", "dom.iterable"],
    "strict": True, "declaration": True, "stripInternal": True, "types": [], "skipLibCheck": True, "outDir": "out",
}  # fmt: skip
"""`skipLibCheck`: LiteRT.js's own declarations want @webgpu/types."""


def compiled(folder: Path, node_modules: Path, **settings: Any) -> str:
    """Runs the TypeScript compiler on the .ts files of a folder; what it says."""
    given = {"compilerOptions": SETTINGS | settings, "include": ["*.ts"], "exclude": ["*.d.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(given))
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(node_modules)
    tsc = node_modules / "typescript" / "lib" / "tsc.js"
    return subprocess.run(["node", str(tsc), "-p", str(folder)], capture_output=True, text=True, timeout=120).stdout
