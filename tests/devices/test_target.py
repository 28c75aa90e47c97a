"""Targets: strict reading, errors that name file, line and what is accepted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.devices import BenchSettings, SshSettings, Target, connect, list_targets, load_target
from edgekit.devices.target import _line_of
from edgekit.errors import TargetError

FULL = """
# a board
name = "pi"
transport = "ssh"
labels = ["arm64", "kitchen"]

[ssh]
host = "192.168.1.7"
port = 2222
identity_file = "keys/id"
known_hosts = "/etc/known"

[bench]
threads = 4
"""


def write(folder: Path, text: str, name: str = "pi") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(TargetError) as caught:
        load_target(str(write(folder, text)))
    return str(caught.value)


def test_a_full_target_is_read_and_its_paths_are_relative_to_its_file(tmp_path: Path) -> None:
    write(tmp_path, FULL)
    target = load_target("pi", tmp_path)
    assert target == load_target(str(tmp_path / "pi.toml"))
    assert target.ssh == SshSettings(
        "192.168.1.7", 2222, identity_file=str(tmp_path / "keys/id"), known_hosts="/etc/known"
    )
    assert target.bench == BenchSettings(threads=4)
    assert target.labels == ("arm64", "kitchen")


def test_a_home_folder_is_expanded(tmp_path: Path) -> None:
    target = load_target(str(write(tmp_path, FULL.replace("keys/id", "~/.ssh/key"))))
    assert target.ssh is not None
    assert target.ssh.identity_file == str(Path("~/.ssh/key").expanduser())


def test_local_needs_no_file_but_may_have_one(tmp_path: Path) -> None:
    assert load_target("local", tmp_path).transport == "local"
    write(tmp_path, 'transport = "local"\nroot = "/data"', "local")
    assert load_target("local", tmp_path) == Target(
        name="local", transport="local", root="/data", python=sys.executable
    )


def test_an_unknown_target_lists_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, FULL, "kitchen-pi")
    with pytest.raises(TargetError, match=r"kitchen-pi, local.*Did you mean 'kitchen-pi'"):
        load_target("kitchn-pi", tmp_path)


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    assert "line 3" in refused(tmp_path, 'name = "pi"\ntransport = "ssh"\nroot = \n')


@pytest.mark.parametrize(
    ("wrong", "line", "says"),
    [
        ('name = "pi"\ntransport = "local"\nlable = ["x"]', 3, ["'lable'", "Did you mean 'labels'", "transport"]),
        (FULL.replace("port = 2222", "prot = 2222"), 9, ["[ssh]", "'prot'", "Did you mean 'port'", "identity_file"]),
        (FULL.replace("port = 2222", 'port = "2222"'), 9, ["ssh.port = '2222'", "Expected int, got str"]),
        (FULL.replace("port = 2222", "port = 70000"), 9, ["ssh.port = 70000", "<= 65535"]),
        (FULL.replace("threads = 4", "threads = 0"), 14, ["bench.threads = 0", ">= 1"]),
        (FULL.replace('host = "192.168.1.7"\n', ""), 7, ["[ssh]", "misses the key 'host'", "identity_file"]),
        (FULL.replace('"192.168.1.7"', '"-oProxyCommand=x"'), 8, ["ssh.host"]),
        (FULL.replace('labels = ["arm64", "kitchen"]', 'labels = "arm64"'), 5, ["labels = 'arm64'", "array"]),
        ('transport = "ssh"\nssh = {host = "h", port = true}', 2, ["ssh.port = True", "Expected int"]),
        ('transport = "browser"\nbrowser.start = false\nbrowser.listen = "999.1.1.1"', 3, ["browser.listen"]),
        ('transport = "ssh"\nssh.host = "h"\nssh.prt = 1', 3, ["'prt'", "Did you mean 'port'"]),
        ('name = "../up"\ntransport = "local"', 1, ["name = '../up'"]),
        ('transport = "local"\nroot = "a\\nb"', 2, ["root"]),
        ('transport = "local"\nschema = 9', 2, ["schema 9", "schema = 1"]),
    ],
)
def test_a_wrong_key_or_type_names_the_line_and_what_is_accepted(
    tmp_path: Path, wrong: str, line: int, says: list[str]
) -> None:
    message = refused(tmp_path, wrong)
    assert f"pi.toml, line {line}:" in message
    for part in says:
        assert part in message


@given(st.permutations(["alpha", "beta", "gamma", "delta"]), st.integers(0, 3), st.sampled_from(["", "\n", "# c\n"]))
def test_the_line_of_any_key_of_any_table_is_found(keys: list[str], at: int, between: str) -> None:
    text = between.join(f"{key} = 1\n" for key in keys) + "[ssh]\n" + between.join(f"{key} = 1\n" for key in keys)
    for table in ((), ("ssh",)):
        number = _line_of(text, (*table, keys[at]))
        assert text.splitlines()[number - 1] == f"{keys[at]} = 1"
        assert (number > text.splitlines().index("[ssh]")) == bool(table)


def test_ssh_without_its_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"no \[ssh\] table"):
        connect(load_target(str(write(tmp_path, 'transport = "ssh"'))))


def test_the_targets_that_come_along_are_valid() -> None:
    folder = Path(__file__).parents[2] / "targets"
    paths = list_targets(folder)
    names = {"local", "loopback-ssh", "raspberry-pi-4", "raspberry-pi-5", "jetson", "mac-coreml"}
    assert names <= {path.stem for path in paths}
    for path in paths:
        assert load_target(str(path)).name == path.stem
        assert path.read_text().startswith("# "), "each says what it is for, and how to begin"


AT_ONCE = """
import sys, threading
from edgekit.devices.target import load_target
sys.setswitchinterval(1e-6)
together = threading.Barrier(12)
def load():
    together.wait()
    load_target(sys.argv[1])
threads = [threading.Thread(target=load) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_threads_may_load_targets_at_once(tmp_path: Path) -> None:
    """Six processes: msgspec crashed every second one when threads were the first to look at a type."""
    path = tmp_path / "board.toml"
    path.write_text('schema = 1\ntransport = "ssh"\n[ssh]\nhost = "board"\n[bench]\nthreads = 4\n')
    started = [subprocess.Popen([sys.executable, "-c", AT_ONCE, str(path)]) for _ in range(6)]
    assert [process.wait(60) for process in started] == [0] * 6
