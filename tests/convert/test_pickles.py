"""A model file that is a program is refused before anything opens it."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from edgekit.convert import convert, find_model
from edgekit.convert.pickles import refuse_unsafe_pickles, unsafe_globals
from edgekit.errors import UntrustedModelError
from edgekit.recipe import parse_recipe

pytestmark = pytest.mark.slow


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def torch_archive(content: bytes) -> bytes:
    """What torch.save would write around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return buffer.getvalue()


def poisoned(program: Path, to: Path, entry: str, content: bytes) -> Path:
    """A copy of the program with one entry replaced or added."""
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(to, "w") as copy:
        for name in source.namelist():
            if not name.endswith(entry):
                copy.writestr(name, source.read(name))
        copy.writestr(f"net/{entry}", content)
    return to


def test_an_honest_program_is_accepted(program: Path) -> None:
    assert unsafe_globals(program) == []
    assert find_model(str(program)).executes == ""


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
@pytest.mark.parametrize(
    "entry", ["data/sample_inputs/model.pt", "data/weights/weight_0", "data/constants/custom_obj_0"]
)
def test_a_pickle_that_calls_something_is_refused(program: Path, tmp_path: Path, entry: str, protocol: int) -> None:
    fired = tmp_path / "fired"
    bomb = pickle.dumps(Bomb(fired), protocol=protocol)
    content = bomb if "custom_obj" in entry else torch_archive(bomb)
    file = poisoned(program, tmp_path / "evil.pt2", entry, content)
    with pytest.raises(UntrustedModelError, match=r"posix\.system|nt\.system") as refusal:
        find_model(str(file))
    assert "--trust" in refusal.value.remedy
    assert not fired.exists()
    ref = find_model(str(file), trust=True)
    assert "posix.system" in ref.executes, "what is executed is said"


def test_memo_tricks_do_not_hide_a_call(tmp_path: Path) -> None:
    """STACK_GLOBAL fed from the memo, after harmless strings."""
    evil = (
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94"
        b"h\x00h\x01\x93\x8c\x04true\x85R."
    )
    file = tmp_path / "net.pkl"
    file.write_bytes(evil)
    assert unsafe_globals(file) == ["net.pkl: os.system"]


CALL_AFTER_POPS = (  # the names lie below two harmless ones, which are popped again
    b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93\x8c\x04true\x85R."
)
CALL_FROM_A_SHIFTED_MEMO = (  # the first memo entry is a list, so that strings count from 1
    b"\x80\x04]\x94\x8c\x05posix\x94\x8c\x06system\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94"
    b"h\x01h\x02\x93\x8c\x04true\x85R."
)
SECOND_PICKLE = pickle.dumps(1) + pickle.dumps(2) + CALL_AFTER_POPS + pickle.dumps(3)
"""As the older format of torch.save: pickles in a row."""


@pytest.mark.parametrize("content", [CALL_AFTER_POPS, CALL_FROM_A_SHIFTED_MEMO, SECOND_PICKLE])
def test_whatever_the_stack_looks_like_the_call_is_found(program: Path, tmp_path: Path, content: bytes) -> None:
    file = poisoned(program, tmp_path / "evil.pt2", "data/sample_inputs/model.pt", content)
    with pytest.raises(UntrustedModelError, match=r"posix\.system"):
        find_model(str(file))


def test_raw_weights_are_no_programs(program: Path, tmp_path: Path) -> None:
    for first in range(256):
        raw = bytes([first, 7, 7, 7]) * 4
        assert unsafe_globals(poisoned(program, tmp_path / "net.pt2", "data/weights/weight_0", raw)) == [], first


def test_what_the_archives_configuration_unpickles_is_read(program: Path, tmp_path: Path) -> None:
    """`use_pickle` turns any entry into a program, whatever it is called; unreadable is then unsafe."""
    configuration = json.dumps({"config": {"w": {"path_name": "../weights/Weight_0", "use_pickle": True}}})
    half = poisoned(program, tmp_path / "half.pt2", "data/weights/weight_0", b"\x80\x04\xff")
    assert unsafe_globals(half) == [], "a raw weight may look like anything"
    file = poisoned(half, tmp_path / "evil.pt2", "data/weights/model_weights_config.json", configuration.encode())
    assert unsafe_globals(file) == ["evil.pt2/net/data/weights/weight_0: ?.unreadable pickle"]


def test_two_entries_of_one_name_are_both_read(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "twice.pt2"
    shutil.copyfile(program, file)
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(file, "a") as archive:
        name = next(n for n in source.namelist() if n.endswith("sample_inputs/model.pt"))
        honest = source.read(name)
        for content in (torch_archive(CALL_AFTER_POPS), honest):
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr(name, content)
    assert any("posix.system" in found for found in unsafe_globals(file))


def test_an_archive_behind_other_bytes_is_refused(program: Path, tmp_path: Path) -> None:
    """torch falls back to Python's zipfile, which takes archives that begin anywhere."""
    file = tmp_path / "hidden.pt2"
    file.write_bytes(b"#!/bin/sh\n" + program.read_bytes())
    with pytest.raises(UntrustedModelError, match="in front of it"):
        find_model(str(file))


def test_compiled_code_is_refused(program: Path, tmp_path: Path) -> None:
    file = poisoned(program, tmp_path / "compiled.pt2", "data/aotinductor/model/model.so", b"\x7fELF")
    with pytest.raises(UntrustedModelError, match="compiled code"):
        find_model(str(file))


def test_the_older_format_of_torch_save(program: Path, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'fired'}",)

    buffer = io.BytesIO()
    torch.save(Evil(), buffer, _use_new_zipfile_serialization=False)
    file = poisoned(program, tmp_path / "evil.pt2", "data/sample_inputs/model.pt", buffer.getvalue())
    with pytest.raises(UntrustedModelError, match=r"posix\.system"):
        find_model(str(file))
    assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize("content", [b"\x80\x04\xff\xff.", b"garbage"])
def test_what_cannot_be_read_is_not_trusted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(content)
    with pytest.raises(UntrustedModelError, match="unreadable pickle"):
        refuse_unsafe_pickles(file, trust=False)


def test_a_file_that_is_swapped_after_the_first_look_is_not_opened(cache: Path, program: Path, tmp_path: Path) -> None:
    """The worker inspects the very bytes that it opens."""
    fired = tmp_path / "fired"
    file = tmp_path / "net.pt2"
    file.write_bytes(program.read_bytes())
    ref = find_model(str(file))
    evil = torch_archive(pickle.dumps(Bomb(fired)))
    poisoned(program, file, "data/sample_inputs/model.pt", evil)
    (outcome,) = convert(ref, [parse_recipe("tflite:float32")], out=tmp_path / "out")
    assert isinstance(outcome.error, UntrustedModelError)
    assert outcome.error.what.startswith(f"Opening {file} would execute")
    assert not fired.exists()


def test_a_trusted_file_is_really_opened(cache: Path, program: Path, tmp_path: Path) -> None:
    import torch

    fired = tmp_path / "fired"
    buffer = io.BytesIO()
    torch.save(Bomb(fired), buffer)
    file = poisoned(program, tmp_path / "net.pt2", "data/sample_inputs/model.pt", buffer.getvalue())
    convert(find_model(str(file), trust=True), [parse_recipe("tflite:float32")], out=tmp_path / "out")
    assert fired.exists(), "with --trust it executes what it was said to execute"
