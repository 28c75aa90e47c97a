"""reference.json: what is written is read again, and what is not understood is refused by one sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from edgekit.telemetry.reporter.errors import InvalidReference
from edgekit.telemetry.reporter.reference import Feature, Reference, Tensor
from tests.telemetry.strategies import references

TENSORS = (Tensor("x", "input", "row"),)
FEATURE = Feature("f", "number", "input", "x", "column:0", (0.0, 1.0), (), (1, 2, 3))


@given(references())
def test_what_is_written_is_read_again(reference: Reference) -> None:
    assert Reference.from_json(reference.to_json()) == reference


def test_files_are_written_whole_and_read(tmp_path: Path) -> None:
    reference = Reference.of("m", [FEATURE], tensors=TENSORS)
    reference.save(tmp_path / "reference.json")
    assert Reference.load(tmp_path / "reference.json") == reference
    assert [path.name for path in tmp_path.iterdir()] == ["reference.json"]


def test_the_id_is_of_the_content_alone() -> None:
    one = Reference.of("m", [FEATURE], tensors=TENSORS)
    assert one.id == Reference.of("m", [FEATURE], tensors=TENSORS).id
    assert one.id != Reference.of("m", [FEATURE._replace(cells=(1, 2, 4))], tensors=TENSORS).id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": (1.0, 0.0)}, "strictly increasing"),
        ({"edges": (0.0, 0.0)}, "strictly increasing"),
        ({"edges": (0.0, float("inf"))}, "finite"),
        ({"cells": (1, 2)}, "2 cells; 3 fit"),
        ({"cells": (1, 2, -1)}, "whole numbers"),
        ({"cells": (1, 2, True)}, "whole numbers"),
        ({"categories": ("a",)}, "neither has both"),
        ({"kind": "vector"}, "kind 'vector'"),
        ({"tensor": "nowhere"}, "comes from no input tensor"),
        ({"role": "output"}, "comes from no output tensor"),
        ({"name": ""}, "printable"),
        ({"floors": ((1000, 0.1), (200, 0.2))}, "increasing n"),
        ({"valid_min": float("nan")}, "finite numbers"),
        ({"kind": "category", "edges": (), "categories": ("a", "a"), "cells": (0, 0, 0)}, "twice"),
        ({"edges": tuple(map(float, range(1024))), "cells": (0,) * 1025}, "1025 cells"),
    ],
)
def test_contradictions_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidReference, match=message):
        Reference.of("m", [FEATURE._replace(**change)], tensors=TENSORS)


def test_limits() -> None:
    many = [FEATURE._replace(name=str(i)) for i in range(4097)]
    assert len(Reference.of("m", many[:4096], tensors=TENSORS).features) == 4096
    with pytest.raises(InvalidReference, match="4097 features"):
        Reference.of("m", many, tensors=TENSORS)
    with pytest.raises(InvalidReference, match="two features"):
        Reference.of("m", [FEATURE, FEATURE], tensors=TENSORS)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "cannot be used"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "cannot be used"),
        (b'{"schema": 3}', "schema is 3, and this version reads 1 and 2"),
        (b'{"schema": 1, "id": "00"}', "changed or damaged"),
        (b"\xff\xfe", "cannot be used"),
    ],
)
def test_what_is_no_reference_is_refused(document: bytes, message: str) -> None:
    with pytest.raises(InvalidReference, match=message) as refused:
        Reference.from_json(document, where="/here/reference.json")
    assert "/here/reference.json" in str(refused.value)


def _rehashed(change: dict[str, Any]) -> bytes:
    from edgekit.files import digest_of

    fields = json.loads(Reference.of("m", [FEATURE], tensors=TENSORS).to_json())
    del fields["id"]
    fields.update(change)
    return json.dumps(dict(fields, id=digest_of(fields))).encode()


def test_unknown_fields_are_refused_even_with_a_good_hash() -> None:
    assert Reference.from_json(_rehashed({})).model == "m"
    for change in (
        {"extra": 1},
        {"tensors": [{"name": "x"}]},
        {"features": 7},
        {"features": [7]},
        {"model": None},
    ):
        with pytest.raises(InvalidReference, match="cannot be used"):
            Reference.from_json(_rehashed(change))


@given(references())
def test_one_changed_byte_never_gives_another_reference(reference: Reference) -> None:
    document = bytearray(reference.to_json())
    document[len(document) // 2] ^= 1
    with suppress(InvalidReference):
        assert Reference.from_json(bytes(document)) == reference  # a digit too many, of the same double
