"""The native runner as tests need it: the program that devices get, one under the sanitizers, and real artifacts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.bench.measure import golden_request
from edgekit.convert import convert, find_model
from edgekit.devices import connect, load_target
from edgekit.devices.environment import ask_platform
from edgekit.devices.native_runner import TRIPLES, native_runner, sources
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.runners import look
from edgekit.recipe import parse_recipe
from tests.runner.conftest import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgekit.artifact import Artifact

REPOSITORY = Path(__file__).parents[3]
HERE = os.uname().machine
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
SANITIZED_ENVIRONMENT = {
    **os.environ,
    # The sanitizer leaves crashes of the libraries that we load to the supervisor; its own findings end with status 77.
    "ASAN_OPTIONS": "handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:detect_leaks=0:"
    "allocator_may_return_null=1:exitcode=77",
    "UBSAN_OPTIONS": "exitcode=77:print_stacktrace=1",
}


def compile_with(output: Path, files: Iterable[Path], *flags: str, compiler: str = "gcc") -> Path:
    """Compiles C files of the runner, and perhaps of tests, with the host's compiler; warnings are errors."""
    headers = sources()[0].parent
    command = [compiler, "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
               f"-I{headers}", *flags, "-o", str(output), *map(str, files), "-ldl", "-lm"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return output


@dataclass(frozen=True, eq=False)
class Program:
    """A runner that is called."""

    command: tuple[str, ...]
    environment: dict[str, str] | None = None

    def __call__(self, request: dict[str, Any] | str | bytes) -> Answer:
        text = json.dumps(request) if isinstance(request, dict) else request
        done = subprocess.run([*self.command, text], capture_output=True, timeout=120, env=self.environment)
        events = [json.loads(line) for line in done.stdout.decode().splitlines()]
        return Answer(done.returncode, events, done.stderr.decode(errors="replace"))


@pytest.fixture(scope="session")
def native() -> Program:
    """The program that a device like this machine gets."""
    path, _ = native_runner(TRIPLES[HERE, "glibc"])
    path.chmod(0o755)
    return Program((str(path),))


@pytest.fixture(scope="session")
def python() -> Program:
    """Its twin."""
    return Program((sys.executable, str(runner_zip()[0])))


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The whole program under AddressSanitizer and UndefinedBehaviorSanitizer."""
    output = tmp_path_factory.mktemp("sanitized") / "runner"
    compile_with(output, [path for path in sources() if path.suffix == ".c"], *SANITIZE)
    return Program((str(output),), SANITIZED_ENVIRONMENT)


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`harness.c` with the readers and the rules of measuring, under the sanitizers."""
    folder = sources()[0].parent
    parts = [folder / name for name in ("json.c", "npy.c", "dtype.c", "measure.c")]
    output = tmp_path_factory.mktemp("harness") / "harness"
    return compile_with(output, [Path(__file__).with_name("harness.c"), *parts], *SANITIZE)


@pytest.fixture(scope="session")
def libraries() -> dict[str, list[str]]:
    """The runtimes' libraries of this environment, as EdgeKit finds them on a local device."""
    with connect(load_target("local")) as device:
        return look(device, ask_platform(device)).libraries


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Artifact]:
    """Really converted artifacts: `converted("digits_cnn", "tflite:int8")`."""
    out = tmp_path_factory.mktemp("artifacts")
    made: dict[tuple[str, str], Artifact] = {}

    def make(model: str, recipe: str) -> Artifact:
        if (model, recipe) not in made:
            (outcome,) = convert(find_model(str(REPOSITORY / "models" / model)), [parse_recipe(recipe)], out=out)
            assert outcome.artifact is not None, outcome.error
            made[model, recipe] = outcome.artifact
        return made[model, recipe]

    return make


@pytest.fixture
def request_for(libraries: dict[str, list[str]], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A request over a copy of an artifact whose files may be changed: `request_for(artifact, "check", threads=2)`."""

    def make(artifact: Artifact, do: str, *, copy: bool = False, **more: Any) -> dict[str, Any]:
        path = artifact.path
        if copy:
            path = tmp_path / "copy"
            shutil.copytree(artifact.path, path, copy_function=shutil.copyfile)
        request = {**golden_request(artifact, str(path)), "do": do, "libraries": libraries}
        if do == "bench":
            request |= {"threads": 1, "max_warmup_ns": 300_000_000, "min_samples": 20, "min_ns": 10_000_000,
                        "max_ns": 500_000_000}  # fmt: skip
        return request | more

    return make
