"""The native runner through everything above it: pushed, chosen, measured with, recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench import bench
from edgekit.bench.comparable import differences
from edgekit.bench.doctor import examine
from edgekit.bench.verify import verify
from edgekit.devices import connect
from edgekit.devices.runner_client import run_request
from edgekit.errors import RunnerError, RuntimeMissingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from edgekit.devices import Target

pytestmark = pytest.mark.slow


def with_runner(target: Target, runner: str) -> Target:
    settings = msgspec.structs.replace(target.bench, min_s=0.05, max_s=0.5, max_warmup_s=0.5)
    return msgspec.structs.replace(target, runner=runner, bench=settings)


@pytest.mark.parametrize("transport", ["local", "ssh"])
def test_a_run_says_which_runner_measured_it_and_is_not_compared_with_the_other_s(
    transport: str, request: pytest.FixtureRequest, converted: Callable[[str, str], Artifact]
) -> None:
    target: Target = request.getfixturevalue(f"{transport}_target")
    artifact = converted("digits_cnn", "tflite:int8")
    runs = {}
    for kind in ("native", "python"):
        with connect(with_runner(target, kind)) as device, device.lock("test"):
            runs[kind] = bench(device, artifact, threads=1, blocks=1)
            assert runs[kind].context.runner == kind
            assert runs[kind].context.runner_sha256 == device.runners["litert"].sha256
    native, python = runs["native"].blocks[0], runs["python"].blocks[0]
    assert native.golden[0].exact
    assert native.samples.unpack().min() > 0
    assert native.peak_rss_bytes is not None
    assert python.peak_rss_bytes is not None
    assert native.peak_rss_bytes < python.peak_rss_bytes / 2
    assert [difference.field for difference in differences(runs["native"], runs["python"])] == ["runner"]


def test_doctor_and_verify_with_it(local_target: Target, converted: Callable[[str, str], Artifact]) -> None:
    with connect(with_runner(local_target, "native")) as device:
        found = {finding.subject: finding for finding in examine(device)}
        assert found["runner"].what.startswith("native, ")
        assert found["runtime litert"].what.startswith("ai_edge_litert 2.")
        assert found["runtime onnxruntime"].level == found["runtime tvm"].level == "ok"
        assert found["runtime executorch"].level == "absent"
        result = verify(device, converted("digits_cnn", "tflite:float32"))
    assert result.passed
    assert result.outputs[0].exact


def test_what_it_cannot_do_is_refused_with_the_remedy(
    local_target: Target, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> None:
    request_ = request_for(converted("digits_cnn", "tflite:float32"), "check")
    varying = {**request_["golden"], "sizes": []}
    with connect(with_runner(local_target, "native")) as device:
        with pytest.raises(RunnerError, match=r"does not know the field 'sizes' of golden.*--runner python"):
            run_request(device, request_ | {"golden": varying}, idle_timeout_s=30)
        with pytest.raises(RunnerError, match=r"no runtime 'executorch'.*--runner python"):
            run_request(device, request_ | {"runtime": "executorch"}, idle_timeout_s=30)
        device.runners["litert"].fields["libraries"] = {}
        with pytest.raises(RuntimeMissingError, match="libLiteRt.so was found neither"):
            run_request(device, request_, idle_timeout_s=30)


def test_golden_answers_that_do_not_fit_are_no_measurement(
    local_target: Target, converted: Callable[[str, str], Artifact]
) -> None:
    artifact = converted("digits_cnn", "tflite:int8")
    golden = msgspec.structs.replace(artifact.manifest.golden, outputs=artifact.manifest.golden.inputs)
    odd = msgspec.structs.replace(artifact, manifest=msgspec.structs.replace(artifact.manifest, golden=golden))
    with (
        connect(with_runner(local_target, "native")) as device,
        device.lock("test"),
        pytest.raises(RunnerError, match="golden output 0 has another shape"),
    ):
        bench(device, odd, threads=1, blocks=1)
