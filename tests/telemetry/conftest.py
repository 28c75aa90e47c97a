"""The C counter, compiled once a session into a folder of its own, with sanitizing warnings as errors."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from edgekit.telemetry.reporter.build import build


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """`_native`, importable by the reporter while the session lasts."""
    path = build(str(tmp_path_factory.mktemp("native")))
    name = "edgekit.telemetry.reporter._native"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = sys.modules.get(name)
    sys.modules[name] = module
    yield module
    if before is None:
        del sys.modules[name]
    else:
        sys.modules[name] = before
