"""Reads a guide and does what it says: its fenced blocks in order, in one shell, and what it shows must be what comes.

A guide is Markdown for people. Its blocks are

    ```console    `$ ` begins a command, which goes on while its lines end with `\\` or a here-document is open; the
                  other lines are what is shown after it, with `...` for what varies (figures, times, paths, lines)
    ```sh         commands, of which nothing is shown
    ```LANGUAGE FILE    a file of the project, written before what comes next

A command must end with status 0, unless the next one in the guide is `echo $?`, which shows the status. A command that
has a word ending in `...` takes the word that began so in what was shown before, as a reader would who copies it.

A block right below a line in bold that ends with a colon, such as `**On your Mac:**`, is for another machine: it is not
run, and `Guide.elsewhere` names it, so that a test can list all of them.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"^\*\*([^*\n]+):\*\*\n+\Z", re.MULTILINE)
_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_ELLIPSIS = "..."
_ASKS_STATUS = "echo $?"


class GuideError(AssertionError):
    """A guide does not do what it says."""


@dataclass(frozen=True)
class Block:
    """One fenced block. `elsewhere`: for which other place it is; empty for here."""

    language: str
    file: str
    text: str
    line: int
    elsewhere: str


@dataclass(frozen=True)
class Step:
    """One command, and what the guide shows after it; None where it shows nothing on purpose."""

    command: str
    shown: str | None
    line: int


class Guide:
    """A guide's blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8")
        self.blocks = [_block(text, found) for found in _FENCE.finditer(text)]
        if text.count("```") != 2 * len(self.blocks):
            raise GuideError(f"{path}: a fence without a language, or one that does not end")

    @property
    def elsewhere(self) -> list[str]:
        """The blocks that are not run here: for where, and their first lines."""
        return [f"{one.elsewhere}: {one.text.splitlines()[0]}" for one in self.blocks if one.elsewhere]

    def carry_out(self, shell: Shell) -> Iterator[tuple[Step, str]]:
        """Does all of it; gives each step and what really came.

        Raises:
            GuideError: a command failed, or something else was shown than the guide says.
        """
        seen = ""
        for block in self.blocks:
            if block.elsewhere:
                continue
            if block.file:
                file = shell.folder / block.file
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
                continue
            steps = list(self._steps(block))
            for step, following in zip(steps, [*steps[1:], None], strict=True):
                where = f"{self.path.name}:{step.line}: $ {step.command}"
                status, came = shell.run(_filled_in(step.command, seen, where), where)
                if status != 0 and (following is None or following.command != _ASKS_STATUS):
                    raise GuideError(f"{where}\nended with status {status}:\n{came}")
                if step.shown is not None and not matches(step.shown, came):
                    raise GuideError(f"{where}\nshould show\n{step.shown}\nand showed\n{came}")
                seen += came
                yield step, came

    def _steps(self, block: Block) -> Iterator[Step]:
        if block.language == "sh":
            yield Step(block.text.strip("\n"), None, block.line)
        elif block.language == "console":
            yield from _console(block)
        else:
            raise GuideError(f"{self.path.name}:{block.line}: {block.language} is neither run nor a file")


def matches(shown: str, came: str) -> bool:
    """Whether what came is what is shown, but for blanks at the ends of lines; `...` is anything, or nothing."""
    parts = [re.escape(part) for part in _tidy(shown).split(_ELLIPSIS)]
    return re.fullmatch(r"[\s\S]*?".join(parts), _tidy(came)) is not None


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _block(text: str, found: re.Match[str]) -> Block:
    elsewhere = _ELSEWHERE.search(text[: found.start()])
    line = text.count("\n", 0, found.start()) + 2
    return Block(found[1], found[2] or "", found[3], line, elsewhere[1] if elsewhere else "")


def _console(block: Block) -> Iterator[Step]:
    command: list[str] = []
    shown: list[str] = []
    begun, until = block.line, ""
    for number, line in enumerate(block.text.splitlines(), block.line):
        goes_on = bool(command) and not shown and (command[-1].endswith("\\") or until)
        if goes_on:
            command.append(line)
            until = "" if line == until else until
        elif line.startswith("$ "):
            if command:
                yield Step("\n".join(command), "\n".join(shown), begun)
            command, shown, begun = [line[2:]], [], number
            opened = _HERE_DOCUMENT.search(line)
            until = opened[2] if opened else ""
        elif command:
            shown.append(line)
        else:
            raise GuideError(f"line {number} stands before the first command of its block")
    if command:
        yield Step("\n".join(command), "\n".join(shown), begun)


def _filled_in(command: str, seen: str, where: str) -> str:
    def word(found: re.Match[str]) -> str:
        known = re.findall(re.escape(found[1]) + r"[^\s()]*[^\s().,;:]", seen)
        if not known:
            raise GuideError(f"{where}\nnothing was shown that begins with {found[1]}")
        return str(known[-1])

    return re.sub(r"(?<!\S)(\S+)\.\.\.(?!\S)", word, command)


class Shell:
    """One bash that goes on from command to command, as a reader's does; what it began ends with it.

    Args:
        folder: the project it begins in.
        environment: all of it.
        inside: a command line that ends with the bash to start, put before its options.
        timeout_s: for one command.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str], inside: Sequence[str] = ("bash",), timeout_s: float = 240
    ) -> None:
        self.folder = folder
        self._timeout_s = timeout_s
        self._process = subprocess.Popen(
            [*inside, "--noprofile", "--norc"], cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str, where: str = "") -> tuple[int, str]:
        """Runs a command; its status, and what it showed.

        Raises:
            GuideError: it does not come to its end, or ends the shell.
        """
        assert self._process.stdin is not None
        mark = f"edgekit-guide-{os.urandom(8).hex()}"
        apart = f"{{\n{command}\n}} < /dev/null"  # what a program reads is not what comes next here
        asked = f'{apart}\n_status=$?; printf "%s %s\\n" {mark} "$_status"; (exit $_status)\n'
        self._process.stdin.write(asked.encode())
        self._process.stdin.flush()
        text = ""
        for piece in self._pieces(where):
            text += piece
            before, found, after = text.partition(mark)
            if found and after.endswith("\n"):
                return int(after), before
        raise GuideError(f"{where}\nended the shell:\n{text}")

    def _pieces(self, where: str) -> Iterator[str]:
        assert self._process.stdout is not None
        end = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while ready.select(max(0.0, end - time.monotonic())):
                piece = os.read(self._process.stdout.fileno(), 1 << 16)
                if not piece:
                    return
                yield piece.decode("utf-8", "replace")
        raise GuideError(f"{where}\ndid not end within {self._timeout_s:.0f} s")

    def close(self) -> None:
        """Ends it, with all that it began."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
