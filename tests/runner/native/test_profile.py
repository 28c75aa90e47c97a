"""What each operator costs: the same operators as the Python runner finds, and a reason where there is no profiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgekit.bench.profile import read_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from tests.runner.native.conftest import Program

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("recipe", ["tflite:float32", "tflite:int8"])
def test_the_same_operators(
    recipe: str,
    native: Program,
    python: Program,
    converted: Callable[[str, str], Artifact],
    request_for: Callable[..., dict[str, Any]],
) -> None:
    request = request_for(converted("digits_cnn", recipe), "profile", threads=1, max_ns=1_000_000_000)
    ours, theirs = native(request), python(request)
    assert ours.status == theirs.status == 0
    assert ours.order == theirs.order == ["hello", "runtime", "profile", "done"]
    one, other = ours.named("profile"), theirs.named("profile")
    assert one.keys() == other.keys()
    assert all(one[name] == other[name] for name in ("tool", "names", "types"))
    assert [calls / one["invokes"] for calls in one["calls"]] == [calls / other["invokes"] for calls in other["calls"]]
    found = read_profile(one, None)
    assert len(found.operators) >= 4
    assert 0 < found.sum_ns < 1.1 * one["mean_ns"]  # of some 9 us here, in an invoke that the profiler makes 68
    assert 0 < one["plain_ns"] < 1e9


def test_few_invokes_where_there_is_little_time(
    sanitized: Program, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> None:
    done = sanitized(request_for(converted("digits_cnn", "tflite:int8"), "profile", threads=1, max_ns=0))
    assert done.status == 0, done.stderr
    assert done.named("profile")["invokes"] == 2


def test_a_runtime_without_a_profiler_says_why(
    native: Program, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> None:
    done = native(request_for(converted("digits_cnn", "tvm:float32"), "profile", threads=1, max_ns=1_000_000_000))
    assert done.status == 0
    assert done.order == ["hello", "runtime", "no-profile", "done"]
    assert "--runner python" in done.named("no-profile")["reason"]


def test_a_request_without_its_bound_is_refused(
    native: Program, converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> None:
    done = native(request_for(converted("digits_cnn", "tflite:int8"), "profile", threads=1))
    assert done.status == 1
    assert done.named("error")["message"] == "the request lacks the field 'max_ns'"
