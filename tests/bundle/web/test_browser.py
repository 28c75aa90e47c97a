"""A web bundle in headless Chromium: right answers, and clear words where something is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.bundle import write_bundle
from edgekit.runner.session import _to_stored
from tests.bundle.web.conftest import Page
from tests.bundle.web.serving import BundleServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_browser_gives_the_golden_answers(
    page: Callable[[str], Page], precision: str, request: pytest.FixtureRequest
) -> None:
    opened = page(precision)
    report = opened.open()
    golden = request.getfixturevalue(precision).manifest.golden
    assert report["passed"], report
    assert report["samples"] == golden.samples
    assert report["minSnrDb"] == golden.min_snr_db
    assert [row["output"] for row in report["outputs"]] == ["logits"]
    assert report["isolated"]
    assert report["medianMs"] > 0
    assert opened.trouble == []  # nothing was asked elsewhere


@pytest.mark.parametrize("damage", ["golden/output-0.npy", "golden/input-0.npy"])
def test_wrong_golden_data_do_not_pass(page: Callable[[str], Page], bundles: Path, damage: str) -> None:
    opened = page("float32")
    whole = (bundles / "float32" / damage).read_bytes()
    values = np.frombuffer(whole[128:], np.float32)[::-1].tobytes()
    opened.server.lies[damage] = whole[:128] + values
    report = opened.open()
    assert report["passed"] is False
    assert report["outputs"][0]["snrDb"] < report["minSnrDb"]


@pytest.mark.parametrize("version", ["2.5.2", "2.6.0", "2.5.3-rc.1"])
def test_another_runtime_version_is_refused_before_it_is_loaded(page: Callable[[str], Page], version: str) -> None:
    opened = page("float32")
    told = {"name": "@litertjs/core", "version": version}
    opened.server.lies["node_modules/@litertjs/core/package.json"] = json.dumps(told).encode()
    report = opened.open()
    assert report["problem"] == "version"
    assert (
        f"serves @litertjs/core {version}, but digits_cnn was bundled for @litertjs/core ~2.5.3." in report["message"]
    )
    assert "Install @litertjs/core@~2.5.3, or bundle the artifact again." in report["message"]
    assert not [path for path in opened.server.asked if path.endswith(("wasm", "tflite"))]


def test_a_later_patch_is_taken(page: Callable[[str], Page]) -> None:
    opened = page("float32")
    told = {"name": "@litertjs/core", "version": "2.5.10"}
    opened.server.lies["node_modules/@litertjs/core/package.json"] = json.dumps(told).encode()
    assert opened.open()["passed"]


@pytest.mark.parametrize("damage", ["a bit", "the end"])
def test_a_damaged_payload_is_told_and_never_run(page: Callable[[str], Page], bundles: Path, damage: str) -> None:
    opened = page("int8")
    whole = bytearray((bundles / "int8" / "model.tflite").read_bytes())
    if damage == "a bit":
        whole[len(whole) // 2] ^= 1
    else:
        del whole[-1:]
    opened.server.lies["model.tflite"] = bytes(whole)
    report = opened.open()
    assert report["problem"] == "damaged"
    assert f"it has {len(whole)} bytes with the sha256 " in report["message"]
    assert "Copy it again from the bundle" in report["message"]
    assert not [path for path in opened.server.asked if path.endswith("wasm")]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("model.tflite", "unreachable"),
        ("node_modules/@litertjs/core/package.json", "unreachable"),
        ("golden/input-0.npy", "unreachable"),
        ("node_modules/@litertjs/core/wasm/litert_wasm_internal.js", "runtime"),
    ],
)
def test_what_is_not_served_is_named(page: Callable[[str], Page], path: str, problem: str) -> None:
    opened = page("int8")
    opened.server.lies[path] = None
    report = opened.open()
    assert report["problem"] == problem, report
    assert ("HTTP 404" in report["message"]) == (problem == "unreachable")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("new Float32Array(3)", "Input image got Float32Array of 3. Give a Float32Array of 64 elements"),
        ("new Float64Array(64)", "Input image got Float64Array of 64."),
        ("new Float32Array(64).fill(NaN)", "Input image is not a number at 0."),
        ("undefined", "Input image got nothing."),
    ],
)
def test_a_wrong_input_is_told(page: Callable[[str], Page], values: str, says: str) -> None:
    opened = page("int8")
    opened.tab.goto(f"{opened.server.home}check.html")
    script = """async () => { const model = await (await import("./index.js")).load();
        try { return await model.run({ image: VALUES }) } catch (error) { return [error.problem, error.message] } }"""
    problem, message = opened.tab.evaluate(script.replace("VALUES", values))
    assert problem == "input"
    assert says in message


def test_what_is_no_model_is_told(
    browser: Any, node_modules: Path, make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    """The bytes that the manifest vouches for, and LiteRT.js cannot make anything of them."""
    write_bundle([make_artifact()], "web", tmp_path / "bundle")
    server = BundleServer(tmp_path / "bundle", node_modules)
    try:
        report = Page(browser, server).open()
    finally:
        server.close()
    assert report["problem"] == "mismatch", report
    assert "LiteRT.js does not compile tiny: " in report["message"]


def test_a_page_that_cannot_hash_is_told_how_to_be_served(page: Callable[[str], Page]) -> None:
    opened = page("int8")
    opened.tab.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
    report = opened.open()
    assert report["problem"] == "runtime"
    assert "this page has no crypto.subtle. Serve the page by HTTPS, or from localhost." in report["message"]


def test_a_closed_model_says_so_and_another_can_be_loaded(page: Callable[[str], Page]) -> None:
    opened = page("float32")
    opened.tab.goto(f"{opened.server.home}check.html")
    problem, size = opened.tab.evaluate("""async () => {
        const { load } = await import("./index.js");
        const image = new Float32Array(64);
        const closed = await load();
        closed.close();
        closed.close();
        const problem = await closed.run({ image }).catch((error) => error.problem);
        return [problem, (await (await load()).run({ image })).logits.length];
    }""")
    assert (problem, size) == ("closed", 10)


def test_inputs_are_quantized_as_on_the_host(page: Callable[[str], Page]) -> None:
    """Halves go to even, what is beyond the range is clipped: the same integers for 5,005 values."""
    opened = page("int8")
    opened.tab.goto(f"{opened.server.home}check.html")
    rng = np.random.default_rng(7)
    for scale, zero_point in ((0.003921568859368563, -128), (0.25, 3), (1.0, 0)):
        values = np.concatenate([np.arange(-2.5, 2.5, 0.001, np.float32), rng.normal(0, 99, 5).astype(np.float32)])
        values[:400] = (np.arange(-200, 200) + 0.5) * np.float32(scale)
        wanted = _to_stored(values, {"dtype": "int8", "scale": scale, "zero_point": zero_point})
        got = opened.tab.evaluate(
            """async ([values, scale, zeroPoint]) => {
                const { toStored } = await import("./tensors.js");
                const tensor = { name: "x", shape: [values.length], dtype: "int8", quantization: { scale, zeroPoint } };
                return Array.from(toStored(tensor, Float32Array.from(values)));
            }""",
            [values.tolist(), scale, zero_point],
        )
        assert got == wanted.tolist()
