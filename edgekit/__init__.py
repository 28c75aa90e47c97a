"""EdgeKit takes a trained model to real devices, proves it, measures it there and keeps it healthy.

The nouns, in the order in which a model meets them:

    Model ──convert──▶ Artifact ──deploy──▶ Device ──bench──▶ Run

Each lives in a module of its name: `edgekit.model`, `edgekit.recipe`, `edgekit.artifact`, `edgekit.devices`,
`edgekit.bench`. Importing `edgekit` imports none of them, and no heavy package: `edgekit --help` stays fast.

`edgekit.convert(model, ["tflite:int8", ...])` is the chain for scripts: see `edgekit.convert.sdk.convert_model`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.convert.sdk import convert_model as convert
else:

    def __getattr__(name: str) -> Any:
        if name != "convert":
            raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
        from importlib import import_module

        return import_module("edgekit.convert")


__all__ = ["__version__", "convert"]

__version__ = "0.1.0"
