"""A model file that is a program is refused before anything opens it."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from edgekit.convert import find_model
from edgekit.convert.pickles import refuse_unsafe_pickles, unsafe_globals
from edgekit.errors import UntrustedModelError

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


@pytest.mark.parametrize("content", [b"\x80\x04\xff\xff.", b"garbage"])
def test_what_cannot_be_read_is_not_trusted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(content)
    with pytest.raises(UntrustedModelError, match="unreadable pickle"):
        refuse_unsafe_pickles(file, trust=False)
