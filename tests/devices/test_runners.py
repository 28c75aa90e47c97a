"""Which runner a device gets: each combination of what its Python finds and what lies there for the native one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.bench import bench
from edgekit.bench.doctor import examine
from edgekit.devices import Device, Target, connect
from edgekit.devices.environment.platforms import Platform
from edgekit.devices.runners import Found, _why_not_native, natively_served, runner_for
from edgekit.errors import RuntimeMissingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.device

NUMPY, PACKAGE = "numpy/__init__.py", "ai_edge_litert/__init__.py"
LIBRARY = "ai_edge_litert/libLiteRt.so"


def bring(device: Device, *names: str) -> None:
    """Puts files where `edgekit provision` would."""
    for name in names:
        path = Path(device.path("env/current/site", name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ([NUMPY, PACKAGE], "python"),
        ([NUMPY, PACKAGE, LIBRARY], "python"),
        ([NUMPY, LIBRARY], "native"),
        ([PACKAGE, LIBRARY], "native"),
        ([LIBRARY], "native"),
    ],
    ids=["python has all", "both have all", "no package", "no numpy", "the library alone"],
)
def test_what_is_there_decides(local_target: Target, bare_python: str, there: list[str], chosen: str) -> None:
    with connect(msgspec.structs.replace(local_target, python=bare_python)) as device:
        bring(device, *there)
        assert runner_for(device, "litert").kind == chosen
        assert runner_for(device, "litert") is runner_for(device, "litert")


@pytest.mark.parametrize(
    ("there", "runtime", "says"),
    [
        ([], "litert", r"does not find numpy and ai_edge_litert or .* there, and .*need libLiteRt.so, which is not"),
        ([PACKAGE], "litert", r"does not find numpy there, and .*libLiteRt.so"),
        ([NUMPY], "litert", r"does not find ai_edge_litert or tflite_runtime or tensorflow there"),
        ([NUMPY, "tvm/lib/libtvm_runtime.so"], "tvm", r"does not find tvm_ffi there, and .*need libtvm_ffi.so, which"),
        ([], "executorch", r"does not find numpy and executorch there, and the native runner does not know executorch"),
    ],
    ids=["nothing", "no numpy", "no package", "half of the libraries", "not native"],
)
def test_where_nothing_will_do_it_says_what_is_missing(
    local_target: Target, bare_python: str, there: list[str], runtime: str, says: str
) -> None:
    with connect(msgspec.structs.replace(local_target, python=bare_python)) as device:
        bring(device, *there)
        with pytest.raises(RuntimeMissingError, match=rf"'here' .*has nothing that runs {runtime} .*{says}") as caught:
            runner_for(device, runtime)
        assert f"edgekit provision here --runtime {runtime}" in caught.value.remedy
        assert f"{bare_python} -m pip install" in caught.value.remedy
        assert runner_for(device).kind == "python"  # it still answers questions about the device


def test_nothing_is_sent_where_nothing_will_do(
    local_target: Target, bare_python: str, make_artifact: Callable[..., Artifact]
) -> None:
    with connect(msgspec.structs.replace(local_target, python=bare_python)) as device:
        with device.lock("bench"), pytest.raises(RuntimeMissingError, match="Nothing was sent"):
            bench(device, make_artifact(), threads=1, blocks=1)
        assert not Path(device.path("store")).exists()


def test_without_any_python_it_is_the_native_one_and_the_target_overrides(local_target: Target) -> None:
    for runner, chosen in (("auto", "native"), ("python", "python")):
        with connect(msgspec.structs.replace(local_target, python="/no/such/python", runner=runner)) as device:
            assert runner_for(device, "litert").kind == chosen


def test_a_system_without_a_native_runner_is_told_so() -> None:
    found = Found({"litert": [f"/opt/{LIBRARY}"]})
    other = Platform("Linux", "s390x", "glibc", "2.36", python="3.12.0", implementation="cpython", abi="cp312")
    assert _why_not_native(other, "litert", found) == (
        "there is no native runner for s390x Linux, glibc 2.36, CPython 3.12.0"
    )
    musl = msgspec.structs.replace(other, machine="aarch64", libc="musl", libc_version="1.2")
    assert _why_not_native(musl, "litert", found) == "the native runner would need a glibc, which is not there either"
    assert _why_not_native(musl, "litert", Found(found.libraries, "/x/ld-linux-aarch64.so.1")) == ""


def test_the_doctor_tells_what_the_native_runner_would_serve(local_target: Target, bare_python: str) -> None:
    with connect(msgspec.structs.replace(local_target, python=bare_python)) as device:
        missing = {finding.subject: finding for finding in examine(device)}["runtime"]
        assert missing.level == "missing"
        assert "provision here" in missing.remedy
        bring(device, LIBRARY)
        assert list(natively_served(device)) == ["litert"]
        found = {finding.subject: finding for finding in examine(device)}
    assert found["runtime litert"].level == "ok"
    assert found["runtime litert"].what == f"the native runner's {device.path('env/current/site', LIBRARY)}"
    assert found["runtime onnxruntime"].level == "absent"
