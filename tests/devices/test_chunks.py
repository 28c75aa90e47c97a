"""Chunks and what is made of them: where files are cut, what a device may claim, and what is planned from it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.devices import chunk_list
from edgekit.devices.chunk_list import StoredFile, read_survey
from edgekit.devices.chunks import MAX_BYTES, MIN_BYTES, Chunk, chunks_of
from edgekit.devices.plan import Plan, WantedFile, make_plan


def noise(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


def chunked(folder: Path, content: bytes) -> tuple[Chunk, ...]:
    (folder / "file").write_bytes(content)
    return chunks_of(folder / "file")


@pytest.mark.parametrize("size", [0, 1, 7, 8, MIN_BYTES, MIN_BYTES + 1, 1 << 16, 300_000, (8 << 20) + 5])
def test_chunks_are_a_file_from_its_first_byte_to_its_last(tmp_path: Path, size: int) -> None:
    content = noise(size)
    position = 0
    chunks = chunked(tmp_path, content)
    for chunk in chunks:
        part = content[position : position + chunk.bytes]
        assert chunk.name == hashlib.sha256(part).hexdigest()[:32]
        position += chunk.bytes
    assert position == size
    assert all(MIN_BYTES <= chunk.bytes <= MAX_BYTES for chunk in chunks[:-1])


def test_where_a_file_is_cut_is_part_of_the_format(tmp_path: Path) -> None:
    """Other constants would find nothing again on devices that have lists by these."""
    chunks = chunked(tmp_path, noise(400_000, seed=7))
    assert [chunk.bytes for chunk in chunks] == [
        35809,
        52446,
        48080,
        34893,
        34833,
        26473,
        34347,
        37769,
        13439,
        39798,
        37080,
        5033,
    ]


def test_an_insertion_moves_the_cuts_near_it_and_no_others(tmp_path: Path) -> None:
    content = noise(20_000_000)
    before = chunked(tmp_path, content)
    after = chunked(tmp_path, content[:9_000_001] + b"inserted" + content[9_000_001:])
    assert len(set(after) - set(before)) <= 3


@pytest.mark.parametrize("content", [b"\0", b"\xff", b"ab", b"\0\0\x80\x3f"])
def test_content_that_repeats_itself_is_cut_at_the_bounds(tmp_path: Path, content: bytes) -> None:
    chunks = chunked(tmp_path, content * (3_000_000 // len(content)))
    assert len(chunks) < 3_000_000 / MIN_BYTES
    assert len(set(chunks)) <= 12


def test_chunks_average_32_kib_or_a_little_more(tmp_path: Path) -> None:
    chunks = chunked(tmp_path, noise(20_000_000))
    assert 32_000 < 20_000_000 / len(chunks) < 42_000


def test_a_list_survives_the_way_to_text_and_back(tmp_path: Path) -> None:
    chunks = chunked(tmp_path, noise(300_000))
    assert chunk_list.decode(chunk_list.encode(chunks).splitlines()) == chunks


NAME = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["edgekit chunks 2", f"1 {NAME}"],
        ["edgekit chunks 1", f"0 {NAME}"],
        ["edgekit chunks 1", f"-1 {NAME}"],
        ["edgekit chunks 1", f"131073 {NAME}"],
        ["edgekit chunks 1", f"1 {NAME[:-1]}"],
        ["edgekit chunks 1", f"1 {NAME} ../../etc/passwd"],
        ["edgekit chunks 1", "1 ../../../../../../etc/passwd/0000"],
        ["edgekit chunks 1", f"1 {NAME.upper()}"],
    ],
)
def test_what_is_no_chunk_list_is_none(lines: list[str]) -> None:
    assert chunk_list.decode([line.encode() for line in lines]) is None


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_answer_of_a_device_raises(answer: bytes) -> None:
    read_survey(answer)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "= free 12",
                "= free x",
                "= unpacks",
                f"= ready {NAME[:16]} store/{NAME}{NAME}",
                f"= ready {NAME[:16]} ../../etc",
                f"= partial {NAME[:16]} 5",
                f"= partial {NAME[:16]} {'9' * 30}",
                "= partial ../../../etc/pa 5",
                f"= artifact {NAME}{NAME}",
                "{}",
                "edgekit chunks 1",
                f"3 {NAME}",
                "steps",
                "\r",
            ]
        ),
        max_size=12,
    )
)
def test_an_answer_in_any_order_names_nothing_outside_of_its_folders(lines: list[str]) -> None:
    survey = read_survey("\n".join(lines).encode())
    assert survey.artifacts == ()
    assert all(partial.path == f"tmp/{NAME[:16]}/pack" for partial in survey.partials)
    assert set(survey.ready.values()) <= {f"store/{NAME}{NAME}"}


def wanted(folder: Path, name: str, content: bytes) -> WantedFile:
    local = folder / name
    local.write_bytes(content)
    return WantedFile(f"new/{name}", local, len(content), hashlib.sha256(content).hexdigest(), chunks_of(local))


def stored(folder: Path, path: str, content: bytes, *, is_partial: bool = False) -> StoredFile:
    return StoredFile(path, chunked(folder, content), is_partial=is_partial)


PACK = "tmp/0000000000000000/pack"


def carried_out(plan: Plan, contents: dict[str, bytes]) -> dict[str, bytes]:
    """What the device would make of a plan, with a base that is gone once it became a file."""
    contents = {**contents, PACK: b"".join(plan.pack.blocks(1 << 16))}
    made = {}
    for assembly in plan.files:
        parts = [contents[copy.path][copy.offset : copy.offset + copy.bytes] for copy in assembly.copies]
        made[assembly.file.path] = b"".join(parts)
        if assembly.has_base:
            del contents[assembly.copies[0].path]
    return made


def test_one_large_new_file_is_its_pack_and_needs_its_room_once(tmp_path: Path) -> None:
    files = [wanted(tmp_path, "small", b"small"), wanted(tmp_path, "large", noise(1_000_000))]
    plan = make_plan(files, [], PACK)
    assert plan.needed_bytes == 1_000_000 + 2 * 5
    assert plan.files[-1].has_base
    assert carried_out(plan, {}) == {file.path: file.local.read_bytes() for file in files}


def test_what_a_cut_upload_left_is_continued_where_it_lies(tmp_path: Path) -> None:
    content = noise(1_000_000)
    left = content[:600_000]
    partial = stored(tmp_path, "tmp/1111111111111111/pack", left, is_partial=True)
    partial = StoredFile(partial.path, partial.chunks[:-1], is_partial=True)
    file = wanted(tmp_path, "large", content)
    plan = make_plan([file], [partial], PACK)
    assert plan.resumed_bytes + plan.pack.total_bytes == 1_000_000
    assert plan.resumed_bytes > 450_000
    assert plan.files[0].has_base
    assert plan.needed_bytes == 2 * plan.pack.total_bytes
    assert carried_out(plan, {partial.path: left}) == {file.path: content}


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_any_mixture_of_sources_gives_the_files_again(random_: random.Random) -> None:
    import tempfile

    blocks = [noise(random_.randint(1, 90_000), seed) for seed in range(8)]

    def mixture() -> bytes:
        return b"".join(random_.choice(blocks) for _ in range(random_.randint(0, 8)))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents = {f"store/{number}": mixture() for number in range(2)}
        contents |= {f"tmp/{number}/pack": mixture() for number in range(3)}
        known = [stored(folder, path, data, is_partial=path.startswith("tmp")) for path, data in contents.items()]
        files = [wanted(folder, f"file{number}", mixture()) for number in range(3)]
        plan = make_plan(files, known, PACK)
        assert carried_out(plan, contents) == {file.path: file.local.read_bytes() for file in files}
        total = sum(file.bytes for file in files)
        assert plan.pack.total_bytes + plan.reused_bytes + plan.resumed_bytes == total
