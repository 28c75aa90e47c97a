"""What has to be installed here, and is not: each is told with what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.devices import Target, connect, connect_runner, load_target
from edgekit.devices.browser.fitting import unsuitable
from edgekit.devices.browser.litert_js import find_litert_js
from edgekit.devices.browser.program import find_browser
from edgekit.devices.settings import BrowserSettings
from edgekit.errors import EdgeKitError, NoShellError, RuntimeMissingError, TargetError, UnreachableDeviceError
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.artifact import Artifact


def lay(folder: Path, version: str = "2.5.3", *, whole: bool = True) -> Path:
    """A folder node_modules with what looks like LiteRT.js."""
    core = folder / "node_modules" / "@litertjs" / "core"
    for part in ("dist", "wasm", "../wasm-utils/dist") if whole else ("dist",):
        (core / part).mkdir(parents=True)
    (core / "package.json").write_text(json.dumps({"name": "@litertjs/core", "version": version}))
    (core / "dist" / "index.js").write_text("")
    if whole:
        (core / "wasm" / "litert.wasm").write_bytes(b"\0asm")
        (core / "../wasm-utils/dist/index.js").write_text("")
    return core


def test_litert_js_is_found_where_node_would_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = lay(tmp_path)
    (tmp_path / "app" / "src").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "app" / "src")
    found = find_litert_js(None)
    assert found.core == core
    assert found.version == "2.5.3"
    assert sorted(path for path, _ in found.files()) == [
        "npm/@litertjs/core/dist/index.js", "npm/@litertjs/core/wasm/litert.wasm",
        "npm/@litertjs/wasm-utils/dist/index.js",
    ]  # fmt: skip


def test_litert_js_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeMissingError, match=r"LiteRT.js \(@litertjs/core\) is not installed") as caught:
        find_litert_js(None)
    assert "npm install --prefix" in caught.value.remedy
    lay(tmp_path / "cache" / "npm")
    assert find_litert_js(None).version == "2.5.3"


@pytest.mark.parametrize("version", ["2.5.2", "2.6.0", "3.0.0", "2.5.4-rc.1"])
def test_another_version_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(RuntimeMissingError, match=f"{version}, and EdgeKit's page takes ~2.5.3"):
        find_litert_js(str(lay(tmp_path, version)))
    assert find_litert_js(str(lay(tmp_path / "later", "2.5.10"))).version == "2.5.10"


def test_half_a_package_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissingError, match="is not whole"):
        find_litert_js(str(lay(tmp_path, whole=False)))
    (tmp_path / "node_modules" / "@litertjs" / "core" / "package.json").write_text("{")
    with pytest.raises(RuntimeMissingError, match="is no package of npm's"):
        find_litert_js(str(tmp_path / "node_modules" / "@litertjs" / "core"))


def test_a_browser_that_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableDeviceError, match="neither Chromium, Chrome nor Edge") as caught:
        find_browser(None)
    assert "apt install chromium" in caught.value.remedy
    target = Target("x", "browser", browser=BrowserSettings(program="netscape"))
    with pytest.raises(UnreachableDeviceError, match="no program 'netscape'"):
        connect_runner(target)


def test_a_port_that_is_taken_is_told() -> None:
    page = Target("x", "browser", browser=BrowserSettings(start=False))
    with connect_runner(page) as device:
        port = int(str(device.invitation).rpartition(":")[2].split("/")[0])
        taken = Target("y", "browser", browser=BrowserSettings(start=False, port=port))
        with pytest.raises(UnreachableDeviceError, match=f"on 127.0.0.1, port {port}: Address already in use"):
            connect_runner(taken)


def test_a_browser_has_nothing_to_deploy_to() -> None:
    with pytest.raises(NoShellError, match=r"neither|no shell") as caught:
        connect(Target("chrome", "browser"))
    assert "edgekit bundle ARTIFACT --for web" in caught.value.remedy


def test_it_runs_tflite_by_its_own_runner_only() -> None:
    page = Target("x", "browser", browser=BrowserSettings(start=False))
    with connect_runner(page) as device, pytest.raises(RuntimeMissingError, match="no runtime 'onnxruntime'"):
        device.runner("onnxruntime")
    with (
        connect_runner(msgspec.structs.replace(page, runner="native")) as device,
        pytest.raises(EdgeKitError, match="runs a page, and not the native runner"),
    ):
        device.runner("litert")


def test_what_no_page_has_an_array_for_does_not_fit(tiny_artifact: Artifact) -> None:
    assert unsuitable(tiny_artifact) is None
    half = msgspec.structs.replace(tiny_artifact.manifest, inputs=(TensorSpec("half", (1, 4), "float16"),))
    what, remedy = unsuitable(msgspec.structs.replace(tiny_artifact, manifest=half)) or ("", "")
    assert "half (float16[1, 4]) has no typed array in browsers" in what
    assert "float32" in remedy


def test_a_browser_that_edgekit_starts_listens_on_loopback_only(tmp_path: Path) -> None:
    file = tmp_path / "open.toml"
    file.write_text('transport = "browser"\n[browser]\nlisten = "0.0.0.0"\n')
    with pytest.raises(TargetError, match=r"line 3: browser.listen = 0.0.0.0 will not do. .*start = false"):
        load_target(str(file))
    file.write_text('transport = "browser"\n[browser]\nstart = false\nlisten = "0.0.0.0"\nlitert_js = "npm/core"\n')
    settings = load_target(str(file)).browser
    assert settings is not None
    assert settings.litert_js == str(tmp_path / "npm" / "core")


def test_an_artifact_is_served_only_if_it_is_whole(make_artifact: Callable[..., Artifact]) -> None:
    artifact = make_artifact()
    with connect_runner(Target("x", "browser", browser=BrowserSettings(start=False))) as device:
        assert device.place(artifact) == f"artifacts/{artifact.id}"
        (artifact.path / "payload/model.tflite").write_bytes(b"other")
        with pytest.raises(EdgeKitError, match="model.tflite"):
            device.place(artifact)
