"""The engine that carries guides out: what it reads, and that it fails where a guide is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.guide import Guide, GuideError, Shell, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def carry_out(tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
    """Writes a guide and carries it out; what came after each command."""
    shell = Shell(tmp_path, {"PATH": "/usr/bin:/bin"}, timeout_s=5)

    def run(text: str) -> list[str]:
        guide = tmp_path / "guide.md"
        guide.write_text(text)
        return [came for _, came in Guide(guide).carry_out(shell)]

    yield run
    shell.close()


def test_commands_go_on_from_one_to_the_next(carry_out: Callable[..., list[str]]) -> None:
    came = carry_out(
        "Text.\n\n```txt notes/a.txt\none\n```\n\n```console\n$ cd notes\n$ x=two\n$ cat a.txt\none\n```\n"
        "```sh\necho nothing is shown of it\n```\n```console\n$ echo $x \\\n  three; cat\ntwo three\n"
        "$ cat > b.txt << 'END'\nfour\n\nEND\n$ cat b.txt\nfour\n$ sleep 60 &\n$ false\n$ echo $?\n1\n```\n"
    )
    assert came[2:] == ["one\n", "nothing is shown of it\n", "two three\n", "", "four\n\n", "", "", "1\n"]


def test_what_a_reader_would_copy_is_filled_in(carry_out: Callable[..., list[str]]) -> None:
    text = "```console\n$ echo 'it is SHA256:abc+/x, or not.'\n...SHA256:...\n$ echo SHA256:...\nSHA256:abc+/x\n```\n"
    assert carry_out(text)[1] == "SHA256:abc+/x\n"
    with pytest.raises(GuideError, match="nothing was shown that begins with MD5:"):
        carry_out("```console\n$ echo MD5:...\n```\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("```console\n$ false\n```\n", "ended with status 1"),
        ("```console\n$ no-such-command\n...\n```\n", "not found"),
        ("```sh\necho begun; false\n```\n", "ended with status 1:\nbegun"),
        ("```console\n$ echo one\ntwo\n```\n", "should show\ntwo\nand showed\none"),
        ("```console\n$ echo one; echo two\none\n```\n", "and showed\none\ntwo"),
        ("```console\n$ true\nsomething\n```\n", "should show\nsomething"),
        ("```console\n$ false\n$ echo $?\n0\n```\n", "should show\n0\nand showed\n1"),
        ("```console\n$ exit 3\n```\n", "ended the shell"),
        ("```console\n$ sleep 60\n```\n", "did not end within 5 s"),
        ("```console\nno command\n```\n", "before the first command"),
        ("```yaml\na: 1\n```\n", "yaml is neither run nor a file"),
        ("```\nplain\n```\n", "a fence without a language"),
    ],
)
def test_a_wrong_guide_fails(carry_out: Callable[..., list[str]], text: str, why: str) -> None:
    with pytest.raises(GuideError, match=why):
        carry_out(text)


def test_blocks_for_other_machines_are_listed_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "guide.md"
    path.write_text("**On your Mac:**\n\n```sh\nswift test\n```\n\n**Not one.** Text:\n\n```sh\nexit 3\n```\n")
    guide = Guide(path)
    assert guide.elsewhere == ["On your Mac: swift test"]
    shell = Shell(tmp_path, {"PATH": "/usr/bin:/bin"})
    with pytest.raises(GuideError, match="exit 3"):
        list(guide.carry_out(shell))
    shell.close()


@pytest.mark.parametrize(
    ("shown", "came", "same"),
    [
        ("a ... c", "a b c", True),
        ("a ...", "a b\nc", True),
        ("...\nc", "a\nb\nc", True),
        ("a", "a   \n", True),
        ("a.c", "abc", False),
        ("a ... c", "a b d", False),
        ("a", "a\nb", False),
    ],
)
def test_what_is_shown_is_what_comes(shown: str, came: str, same: bool) -> None:
    assert matches(shown, came) is same
