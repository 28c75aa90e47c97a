"""Formats, sources, runtimes and transports by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgekit import plugins
from edgekit.errors import MissingPackageError, PluginError


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Replaces what is registered: `register(name="package:Class", ...)`."""

    def forget() -> None:
        plugins._registered.cache_clear()
        plugins.load.cache_clear()

    def replace(*more: EntryPoint, **points: str) -> None:
        made = [EntryPoint(name, value, "edgekit.formats") for name, value in points.items()]
        monkeypatch.setattr(plugins, "entry_points", lambda group: [*made, *more])
        forget()

    forget()
    yield replace
    forget()


def test_what_the_package_registers() -> None:
    assert "tflite" in plugins.names("format")
    assert {"local", "ssh"} <= set(plugins.names("transport"))
    assert {"exported", "pytorch"} <= set(plugins.names("source"))
    for kind in plugins.GROUPS:
        for name in plugins.names(kind):
            assert plugins.load(kind, name) is plugins.load(kind, name)


def test_one_name_for_two_is_an_error(register: Callable[..., None]) -> None:
    register(EntryPoint("same", "b:Y", "edgekit.formats"), same="a:X")
    with pytest.raises(PluginError, match="a:X and b:Y"):
        plugins.names("format")


def test_the_same_entry_listed_twice_is_none(register: Callable[..., None]) -> None:
    """As when a package is installed in two places of the path."""
    register(EntryPoint("same", "a:X", "edgekit.formats"), same="a:X")
    assert plugins.names("format") == ["same"]


def test_an_unknown_name_lists_the_known(register: Callable[..., None]) -> None:
    register(b="x:Y", a="x:Y")
    with pytest.raises(PluginError, match="no format 'c'.*a, b"):
        plugins.load("format", "c")


@pytest.mark.parametrize(
    ("code", "value", "says"),
    [
        ("import nothing_of_that_name", "broken:X", "ModuleNotFoundError.*nothing_of_that_name"),
        ("", "broken:X", "AttributeError.*X"),
        ("1/0", "broken:X", "ZeroDivisionError"),
        ("def", "broken:X", "SyntaxError"),
    ],
)
def test_a_broken_package_is_named(
    register: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, value: str, says: str
) -> None:
    package = f"broken_{abs(hash(code))}"
    (tmp_path / f"{package}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    register(bad=value.replace("broken", package))
    with pytest.raises(PluginError, match=says) as failure:
        plugins.load("format", "bad")
    assert package in failure.value.what


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingPackageError, match="needs no-such-package, which is not") as failure:
        plugins.require(("numpy", "no-such-package"), extra="tflite", purpose="The format tflite")
    assert failure.value.remedy == "Run: pip install 'edgekit[tflite]'"
    assert list(plugins.require(("numpy",), extra="x", purpose="x")) == ["numpy"]


def test_a_change_of_a_part_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's code is the file of its class and all that it names in `parts`, modules and packages."""
    (tmp_path / "plugin_of_parts.py").write_text("class Plugin:\n    parts = ('its_module', 'its_package')\n")
    (tmp_path / "its_module.py").write_text("one = 1\n")
    (tmp_path / "its_package").mkdir()
    (tmp_path / "its_package" / "__init__.py").write_text("")
    (tmp_path / "its_package" / "deep.py").write_text("two = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = importlib.import_module("plugin_of_parts").Plugin
    seen = [plugins.code_sha256(plugin)]
    for name in ("its_module.py", "its_package/deep.py", "plugin_of_parts.py"):
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n")
        seen.append(plugins.code_sha256(plugin))
    assert len(set(seen)) == 4
    assert plugins.code_sha256(plugin) == seen[-1]
