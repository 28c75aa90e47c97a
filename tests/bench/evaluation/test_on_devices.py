"""Evaluations on real devices: what they find, and what is kept when a link, a runner or a disk fails half-way."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from edgekit.bench.evaluation import asking, collecting, samples
from edgekit.bench.evaluation.asking import Asked
from edgekit.bench.evaluation.collecting import Telling, collect
from edgekit.bench.evaluation.result import Evaluated, evaluated_of, read_evaluated, write_evaluated
from edgekit.bench.evaluation.samples import SampleSet
from edgekit.devices import Target, connect
from edgekit.devices.store import Store
from edgekit.errors import (
    ConnectionLostError,
    DataError,
    DeviceBusyError,
    DeviceStorageError,
    ModelError,
    RemoteTimeoutError,
    RunnerError,
    RuntimeMissingError,
)
from tests import machine
from tests.bench.evaluation.conftest import evaluated, opener, quick
from tests.bench.evaluation.devices import WRONG_AFTER_GOLDEN, tampered

if TYPE_CHECKING:
    from cut_proxy import CutProxy

    from edgekit.artifact import Artifact
    from edgekit.workflows.evaluate import Subject

pytestmark = [pytest.mark.device, pytest.mark.usefixtures("answers")]


def asked_for(artifact: Artifact, subject: Subject, count: int, batch: int) -> Asked:
    images = subject.held_out.inputs["image"][:count]
    return Asked(artifact, SampleSet((images,), artifact.manifest.outputs), 1, batch)


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LINK_WAITS_S", (0.1, 0.2))
    monkeypatch.setattr(collecting, "RUNNER_WAITS_S", (0.1,))


def test_on_every_transport_it_is_as_accurate_as_here(target: Target, digits_int8: Artifact, subject: Subject) -> None:
    made = evaluated(target, digits_int8, subject)
    accuracy = made.accuracy
    assert (made.outcome, made.because) == ("same", "")
    assert accuracy.device == accuracy.here == accuracy.manifest == digits_int8.manifest.accuracy.artifact
    assert accuracy.here_by == "computed"
    assert (accuracy.drop, accuracy.lost) == (0.0, pytest.approx(accuracy.source - accuracy.manifest))
    assert accuracy.interval is not None
    assert (accuracy.interval.lost, accuracy.interval.won) == (0, 0)
    assert (made.data.samples, made.data.of, made.data.changed) == (360, 360, ())
    assert made.agreement.samples == 360
    assert [row.exact for row in made.agreement.outputs] == [True]
    assert (made.resumed, made.connections) == (0, 1)


@pytest.mark.slow
def test_the_native_runner_gives_the_same_metric(local_target: Target, digits_int8: Artifact, subject: Subject) -> None:
    made = evaluated(msgspec.structs.replace(local_target, runner="native"), digits_int8, subject)
    assert (made.outcome, made.context.runner) == ("same", "native")
    assert made.accuracy.device == digits_int8.manifest.accuracy.artifact


def test_samples_stay_for_the_next_artifact_and_another_data_set_replaces_them(
    local_target: Target, digits_int8: Artifact, subject: Subject
) -> None:
    def there() -> dict[str, int]:
        collect(opener(local_target), asked_for(digits_int8, subject, count, 64)).kept.remove()
        return {path.name: path.stat().st_ino for path in Path(local_target.root, "data").iterdir()}

    count = 40
    first = there()
    assert len(first) == 1
    assert there() == first
    count = 20
    assert there().keys().isdisjoint(first)


def test_a_large_data_set_is_there_a_piece_at_a_time(
    local_target: Target, digits_int8: Artifact, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "PIECE_BYTES", 100 * 256)  # 256 bytes an image
    monkeypatch.setattr(asking, "KEPT_BYTES", 1000)
    there: list[int] = []
    push = Store.put_data

    def put_data(self: Any, *args: Any, **kwargs: Any) -> str:
        path = push(self, *args, **kwargs)
        there.append(len(list(Path(local_target.root, "data").iterdir())))
        return path

    monkeypatch.setattr(Store, "put_data", put_data)
    done = collect(opener(local_target), asked_for(digits_int8, subject, 250, 64))
    assert len(done.outputs[0]) == 250
    assert there == [1, 1, 1]
    assert list(Path(local_target.root, "data").iterdir()) == []


def test_pieces_and_batches_are_bounded_whatever_is_asked(digits_int8: Artifact) -> None:
    tiny = SampleSet((np.zeros((120_000, 1, 1), "int8"),), digits_int8.manifest.outputs)
    assert [count for _, count in tiny.ranges()] == [50_000, 50_000, 20_000]
    large = (msgspec.structs.replace(digits_int8.manifest.outputs[0], shape=(1, 1 << 20)),)
    wide = SampleSet((np.zeros((40, 1, 1), "int8"),), large)
    assert [count for _, count in wide.ranges()] == [16, 16, 8]
    assert (wide.batch(None), wide.batch(1000), tiny.batch(None), tiny.batch(7)) == (1, 4, 64, 7)


# What is wrong there


def test_a_runtime_that_is_right_on_golden_inputs_alone_is_worse(
    ssh_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    from edgekit.bench.verify import verify

    target = tampered(ssh_target, tmp_path / "wrong", answer=WRONG_AFTER_GOLDEN)
    with connect(target) as device:
        assert verify(device, digits_int8, push=True).passed
    made = evaluated(target, digits_int8, subject)
    assert (made.outcome, made.because) == ("worse", "the loss is beyond what is allowed")
    assert made.accuracy.device < 0.2 < 0.9 < made.accuracy.here
    assert made.accuracy.interval.low > 0.7
    assert made.agreement.agreed is False


def test_answers_that_are_no_numbers_are_worse_whatever_the_metric_says(
    local_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    answer = "array = array.astype('float32') * float('nan') if self.number == 100 else array"
    made = evaluated(tampered(local_target, tmp_path / "nan", answer=answer), digits_int8, subject)
    assert (made.outcome, made.because) == ("worse", "the answers in logits are not finite")
    assert made.accuracy.device is None
    assert "not all finite" in made.accuracy.because


def test_few_samples_do_not_settle_what_differs(
    local_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    """One image of ten is lost: beyond 1 %, and as likely an accident."""
    answer = "array = array[..., ::-1].copy() if self.number == 9 else array"
    made = evaluated(tampered(local_target, tmp_path / "odd", answer=answer), digits_int8, subject, limit=10)
    assert made.outcome == "inconclusive"
    assert made.accuracy.drop == pytest.approx(0.1)
    assert made.data.samples == 10


def test_the_result_is_read_again_and_joins_a_run(
    local_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    from tests.bench.runs import make_run

    made = evaluated(local_target, digits_int8, subject, limit=30)
    path = write_evaluated(made, tmp_path)
    assert path.name.endswith(".eval.json")
    assert path.parent.name == "here"
    assert read_evaluated(path) == made
    context = msgspec.to_builtins(made.context)
    run = msgspec.structs.replace(make_run(5, 6, 7, **context), artifact=digits_int8.id)
    newer = msgspec.structs.replace(made, id="f" * 12, started_at="2099-01-01T00:00:00Z")
    assert evaluated_of(run, [newer, made]) is newer
    assert evaluated_of(msgspec.structs.replace(run, artifact="ab" * 32), [made]) is None
    other = msgspec.structs.replace(run, context=msgspec.structs.replace(run.context, version="1"))
    assert evaluated_of(other, [made]) is None
    assert isinstance(read_evaluated(path), Evaluated)


# Failures half-way


def test_a_cut_link_costs_what_was_on_its_way(
    proxied_target: Target, proxy: CutProxy, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    """In the same call, by itself; and only the rest is asked for."""
    target = tampered(proxied_target, tmp_path / "slow", invoke="time.sleep(0.005)")
    known: list[int] = []
    failed: list[Exception] = []

    def on_answers(now: int, _of: int) -> None:
        known.append(now)
        if now >= 100 and not proxy.cuts:
            proxy.cut()

    telling = Telling(on_answers, lambda error, _: failed.append(error))
    done = collect(opener(target), asked_for(digits_int8, subject, 300, 20), telling)
    assert [type(error) for error in failed] == [ConnectionLostError]
    assert (done.connections, done.resumed) == (2, 0)
    (again,) = [now for now, then in pairwise(known) if now == then]  # the second connection begins with what is kept
    assert 100 <= again < 300
    assert known == sorted(known)
    assert known[-1] == 300
    whole = collect(opener(proxied_target), asked_for(digits_int8, subject, 300, 300))
    np.testing.assert_array_equal(done.outputs[0], whole.outputs[0])


def test_the_next_call_goes_on_and_only_the_rest_is_sent(
    proxied_target: Target, proxy: CutProxy, digits_int8: Artifact, subject: Subject, tmp_path: Path, answers: Path
) -> None:
    target = tampered(proxied_target, tmp_path / "slow", invoke="time.sleep(0.005)")
    asked = asked_for(digits_int8, subject, 360, 20)
    cut = Telling(lambda now, _: proxy.cut() if now >= 200 and not proxy.cuts else None)
    with pytest.raises(ConnectionLostError, match=r"2\d\d of 360 samples are answered and kept here"):
        collect(opener(target), asked, cut, again=False)
    passed = proxy.passed_bytes
    steps: list[int] = []
    done = collect(opener(target), asked, Telling(lambda now, _: steps.append(now)))
    assert 200 <= done.resumed < 300
    assert done.connections == 1
    assert (steps[0], steps[-1]) == (done.resumed, 360)
    images, payload = 360 * 256, digits_int8.manifest.payload_bytes
    assert proxy.passed_bytes - passed < min(images, payload)  # neither of them went again
    done.kept.remove()
    assert list(answers.iterdir()) == []


def test_a_killed_runner_is_asked_again(
    ssh_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    once = (
        f"os.path.exists({str(tmp_path / 'killed')!r}) or self.number < 50 or (open({str(tmp_path / 'killed')!r}, 'w')"
    )
    target = tampered(ssh_target, tmp_path / "k", invoke=f"{once}, os.kill(os.getpid(), 9))")
    failed: list[str] = []
    done = collect(
        opener(target), asked_for(digits_int8, subject, 100, 20), Telling(on_retry=lambda e, _: failed.append(e.what))
    )
    assert done.connections == 2
    assert "137" in failed[0]
    assert len(done.outputs[0]) == 100


def test_one_that_is_killed_over_and_over_is_given_up_where_it_gets_no_further(
    local_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    """`number` counts within a process: each of these gets a batch through, or none does."""
    asked = asked_for(digits_int8, subject, 60, 20)
    every_batch = tampered(local_target, tmp_path / "a", invoke="self.number < 20 or os.kill(os.getpid(), 9)")
    assert collect(opener(every_batch), asked).connections == 3
    no_batch = tampered(local_target, tmp_path / "b", invoke="self.number < 10 or os.kill(os.getpid(), 9)")
    failed: list[str] = []
    asked = asked_for(digits_int8, subject, 59, 20)
    with pytest.raises(RunnerError, match=r"exit status 137"):
        collect(opener(no_batch), asked, Telling(on_retry=lambda error, _: failed.append(error.what)))
    assert len(failed) == 1


def test_a_hung_runner_is_ended_within_its_bound(
    ssh_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    from test_ssh import assert_ends

    pid_file = tmp_path / "pid"
    stop = f"(open({str(pid_file)!r}, 'w').write(str(os.getpid())), os.kill(os.getpid(), signal.SIGSTOP))"
    target = quick(tampered(ssh_target, tmp_path / "h", invoke=f"self.number < 50 or {stop}"))
    with pytest.raises(RemoteTimeoutError, match="said nothing for 3 s"):
        collect(opener(target), asked_for(digits_int8, subject, 60, 20), again=False)
    assert_ends(int(pid_file.read_text()))


def test_signs_of_life_without_answers_are_bounded(
    local_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    events = '{"event": "hello"}\n{"event": "facts", "values": {}, "missing": {}}\n'
    events += '{"event": "runtime", "name": "litert", "package": "p", "version": "1"}\n'
    (tmp_path / "events").write_text(events)
    program.write_text(
        f"#!/bin/sh\ncat '{tmp_path}/events'\ncase $* in *'\"info\"'*) echo '{{\"event\": \"done\"}}'; exit;; esac\n"
        'while :; do echo \'{"event": "progress"}\'; sleep .1; done\n'
    )
    program.chmod(0o755)
    target = quick(msgspec.structs.replace(local_target, python=str(program), runner="python"))
    monkeypatch.setattr(asking, "FLUSH_S", -5.5)
    with pytest.raises(RemoteTimeoutError, match="answered no sample for .* sample 0 being the next"):
        collect(opener(target), asked_for(digits_int8, subject, 20, 20), again=False)


def test_a_full_disk_is_told_and_nothing_stays(digits_int8: Artifact, subject: Subject, local_target: Target) -> None:
    """There is room for the artifact, and none for the samples."""
    many = np.random.default_rng(0).random((6000, 1, 1, 8, 8)).astype("float32")
    asked = Asked(digits_int8, SampleSet((many,), digits_int8.manifest.outputs), 1, 64)
    with machine.small_disk(Path(local_target.root), "1m"):
        with pytest.raises(DeviceStorageError, match="no space left"):
            collect(opener(local_target), asked)
        assert list(Path(local_target.root, "tmp").iterdir()) == []
        assert list(Path(local_target.root, "data").iterdir()) == []


def test_what_nobody_came_back_to_goes(
    local_target: Target, digits_int8: Artifact, subject: Subject, answers: Path
) -> None:
    done = collect(opener(local_target), asked_for(digits_int8, subject, 20, 20))
    (folder,) = answers.iterdir()
    old = time.time() - 2 * 24 * 3600
    for path in (*folder.iterdir(), folder):
        os.utime(path, (old, old))
    steps: list[int] = []
    again = collect(
        opener(local_target), asked_for(digits_int8, subject, 10, 10), Telling(lambda now, _: steps.append(now))
    )
    assert not folder.exists()
    assert steps == [0, 10]
    np.testing.assert_array_equal(again.outputs[0], done.outputs[0][:10])


def test_damaged_kept_answers_are_asked_for_again(
    local_target: Target, digits_int8: Artifact, subject: Subject, answers: Path
) -> None:
    asked = asked_for(digits_int8, subject, 100, 20)
    first = collect(opener(local_target), asked)
    files = sorted(answers.glob("*/*.npz"))
    known = [int(file.stem.partition("-")[2]) for file in files]
    assert sum(known) == 100
    files[1].write_bytes(files[1].read_bytes()[:-9])
    files[3].write_bytes(b"")
    steps: list[int] = []
    again = collect(opener(local_target), asked, Telling(lambda now, _: steps.append(now)))
    assert (steps[0], steps[-1]) == (100 - known[1] - known[3], 100)
    np.testing.assert_array_equal(first.outputs[0], again.outputs[0])


def output(dtype: str, shape: list[int], data: str, *, packed: bool = False) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "scale": None, "zero_point": None, "packed": packed, "data": data}


@pytest.mark.parametrize(
    "lie",
    [
        {"first": 3},
        {"count": 50},
        {"outputs": []},
        {"outputs": [output("object", [1, 10], "")]},
        {"outputs": [output("float32", [1, 9], "A" * 960)]},
        {"outputs": [output("int8", [1, 10], "!", packed=True)]},
        {"outputs": [output("int8", [2**31, 2**31], "")]},
    ],
)
def test_lies_about_answers_are_errors_and_are_not_kept(
    local_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path, lie: dict[str, Any], answers: Path
) -> None:
    whole = {"event": "answers", "first": 0, "count": 20, "outputs": []}
    events = [
        {"event": "hello"}, {"event": "facts", "values": {}, "missing": {}},
        {"event": "runtime", "name": "litert", "package": "p", "version": "1"}, {**whole, **lie},
        {"event": "done", "status": 0},
    ]  # fmt: skip
    said = tmp_path / "events"
    said.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ncat '{said}'\n")
    program.chmod(0o755)
    target = msgspec.structs.replace(local_target, python=str(program), runner="python")
    with pytest.raises(RunnerError, match="make no sense"):
        collect(opener(target), asked_for(digits_int8, subject, 20, 20), again=False)
    assert not list(answers.glob("*/*"))


def test_what_cannot_be_done_at_all_is_not_tried_again(
    local_target: Target, digits_int8: Artifact, subject: Subject, tmp_path: Path
) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text('#!/bin/sh\nexec "$(dirname "$(readlink -f /usr/bin/python3)")/python3" -S -E "$@"\n')
    bare.chmod(0o755)
    target = msgspec.structs.replace(local_target, python=str(bare), runner="python")
    with pytest.raises(RuntimeMissingError, match="no runtime 'litert'"):
        collect(opener(target), asked_for(digits_int8, subject, 20, 20))
    with connect(local_target) as device, device.lock("somebody"), pytest.raises(DeviceBusyError):
        collect(opener(local_target), asked_for(digits_int8, subject, 20, 20))


# What belongs together


def test_another_models_data_are_refused(digits_int8: Artifact) -> None:
    from edgekit.workflows.evaluate import subject_of

    repository = Path(__file__).parents[3]
    with pytest.raises(ModelError, match=r"is of the model 'digits_cnn', and .* is 'digits_cnn_keras'"):
        subject_of(digits_int8, str(repository / "models" / "digits_cnn_keras"))
    with pytest.raises(ModelError, match="There is no model"):
        subject_of(digits_int8, str(repository / "models" / "none"))


def test_data_that_changed_are_told(local_target: Target, digits_int8: Artifact, subject: Subject) -> None:
    from dataclasses import replace

    from edgekit.convert.held_out import HeldOut

    assert digits_int8.manifest.provenance.evaluation_sha256 == subject.sha256
    images = subject.held_out.inputs["image"].copy()
    images[200] += 0.5
    changed = HeldOut({"image": images}, subject.held_out.targets, subject.held_out.said)
    made = evaluated(local_target, digits_int8, replace(subject, held_out=changed, sha256=changed.sha256()))
    assert "the data changed since it was converted" in made.data.changed[0]
    narrow = HeldOut({"image": images[:, :, :, :7]}, subject.held_out.targets, "")
    with pytest.raises(DataError, match=r"takes image int8\[1, 1, 8, 8\], and .* has data of image float32"):
        evaluated(local_target, digits_int8, replace(subject, held_out=narrow))
