"""Converters are imported without the packages that they would only look at, and nothing else goes without them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekit.convert.imports import not_installed


def test_a_hidden_package_is_there_again_afterwards() -> None:
    sys.modules.pop("colorsys", None)
    with not_installed(["colorsys", "json"]):
        with pytest.raises(ImportError):
            import colorsys
        import json  # imported before: it stays what it is

        assert json.loads("1") == 1
    import colorsys

    assert colorsys.__name__ == "colorsys"


def test_a_package_that_is_imported_all_the_same_stays() -> None:
    sys.modules.pop("colorsys", None)
    with not_installed(["colorsys"]):
        del sys.modules["colorsys"]
        import colorsys
    assert sys.modules["colorsys"] is colorsys


_LOADED = """
import importlib.util, sys
from edgekit.convert.formats.coreml import CoreML
CoreML().load("torch-export")
looked_at = ("tensorflow", "transformers", "executorch", "torchao", "keras")
print([name for name in looked_at if name in sys.modules], importlib.util.find_spec("tensorflow") is not None)
"""


@pytest.mark.slow
def test_coreml_of_a_torch_program_imports_no_other_framework() -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] True"
