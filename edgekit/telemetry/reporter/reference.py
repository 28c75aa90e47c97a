"""Reference: what was normal for a model, as counts over cells, from the data that it was made with.

Written once, by `convert` or by `edgekit telemetry reference`, into `reference.json` (docs/formats/reference.md); read
on devices, by the collector and by the checker. Its id is a hash of its content, so windows that name the same id have
the same cells and may be added up. It belongs to a model and its data and to no artifact: every artifact that was made
from them shares it, and so their windows can be compared.

    Tensor      what goes in or comes out, and what is done to it before it is counted (`features`)
    Feature     one number or category that a tensor's summary gives, its cells, and the reference's counts of them
    Reference   the model's name, its tensors and its features, in the order in which windows count them
"""

from __future__ import annotations

import os

from .errors import InvalidReference
from .features import (
    CATEGORY,
    INFERENCE,
    INPUT,
    JOINT,
    LATENCY,
    MAX_CELLS,
    NUMBER,
    OUTPUT,
    Feature,
    Tensor,
    check_feature,
    check_joint,
)
from .joint import Joint
from .records import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

__all__ = [
    "CATEGORY", "INFERENCE", "INPUT", "JOINT", "LATENCY", "MAX_CELLS", "MAX_FEATURES", "NUMBER", "OUTPUT", "SCHEMA",
    "Feature", "Reference", "Tensor",
]  # fmt: skip

SCHEMA, SCHEMA_WITH_JOINTS = 1, 2
"""2 if any feature is a joint, which readers of 1 do not know. Without one, documents and ids stay those of 1."""
MAX_FEATURES = 4096
MAX_NAME_BYTES = 128


class Reference(NamedTuple):
    """What was normal. Make one with `Reference.of` or `load`, which check it; `id` is the hash of the rest.

    Attributes:
        model: the model's name.
        tensors: what `observe` summarises.
        features: what windows count, in this order.
        data: where the counts come from, for people ("calibration data of digits_cnn, 512 samples").
        bootstrapped: true if a device cut these cells itself, from the first window that it saw.
    """

    model: str
    tensors: tuple[Tensor, ...]
    features: tuple[Feature, ...]
    data: str
    bootstrapped: bool
    id: str

    @classmethod
    def of(
        cls,
        model: str,
        features: Sequence[Feature],
        *,
        tensors: Sequence[Tensor] = (),
        data: str = "",
        bootstrapped: bool = False,
    ) -> Reference:
        """A checked reference with its id.

        Raises:
            InvalidReference: names what contradicts what.
        """
        reference = cls(model, tuple(tensors), tuple(features), data, bootstrapped, "")
        _check(reference)
        return reference._replace(id=_digest(_content(reference)))

    def to_json(self) -> bytes:
        """`reference.json`: canonical JSON with the id and a newline."""
        return _canonical(dict(_content(self), id=self.id)) + b"\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it whole or not at all.

        Raises:
            OSError: as the system says it.
        """
        target = os.fspath(path)
        folder, name = os.path.split(target)
        temporary = os.path.join(folder, ".tmp-%s-%d" % (name, os.getpid()))
        with open(temporary, "wb") as file:
            file.write(self.to_json())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """Reads `reference.json`.

        Raises:
            InvalidReference: it is no reference, of a schema that is not known, damaged or contradictory.
            OSError: it cannot be read.
        """
        with open(path, "rb") as file:
            return cls.from_json(file.read(), where=os.fspath(path))

    @classmethod
    def from_json(cls, document: bytes, *, where: str = "the reference") -> Reference:
        """The same from bytes; `where` stands in messages.

        Raises:
            InvalidReference: as `load`.
        """
        import json  # with hashlib it is a fifth of what importing this package would take

        try:
            fields = json.loads(document.decode("utf-8"))
            if not isinstance(fields, dict):
                raise InvalidReference("it is not a JSON object")
            if fields.get("schema") not in (SCHEMA, SCHEMA_WITH_JOINTS):
                raise InvalidReference("its schema is %r, and this version reads 1 and 2" % (fields.get("schema"),))
            stated = fields.pop("id", None)
            if stated != _digest(fields):
                raise InvalidReference("its id is not the hash of its content: it was changed or damaged")
            fields.pop("schema")
            reference = _read(fields, stated)
            _check(reference)
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError) as error:
            message = "%s cannot be used: %s. Make it again with `edgekit telemetry reference`." % (where, error)
            raise InvalidReference(message) from error
        return reference


def _canonical(value: Any) -> bytes:
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _digest(content: Mapping[str, Any]) -> str:
    import hashlib

    return hashlib.sha256(_canonical(content)).hexdigest()


def _content(reference: Reference) -> dict[str, Any]:
    joints = any(feature.joint is not None for feature in reference.features)
    return {
        "schema": SCHEMA_WITH_JOINTS if joints else SCHEMA,
        "model": reference.model,
        "data": reference.data,
        "bootstrapped": reference.bootstrapped,
        "tensors": [tensor._asdict() for tensor in reference.tensors],
        "features": [_written(feature) for feature in reference.features],
    }


def _written(feature: Feature) -> dict[str, Any]:
    fields = feature._asdict()
    joint = fields.pop("joint")
    return fields if joint is None else dict(fields, joint=joint._asdict())


def _read_joint(entry: Any) -> Joint:
    joint: Joint = _record(Joint, entry)
    rows = [tuple([tuple(row) for row in each]) for each in (joint.scores, joint.frequencies)]
    return Joint(tuple(joint.members), rows[0], rows[1], joint.scale)


def _read(fields: dict[str, Any], digest: str) -> Reference:
    tensors = tuple(_record(Tensor, entry) for entry in fields.pop("tensors"))
    features = []
    for entry in fields.pop("features"):
        joint = _read_joint(entry.pop("joint")) if isinstance(entry, dict) and entry.get("kind") == JOINT else None
        feature: Feature = _record(Feature, entry)._replace(joint=joint)
        edges = tuple(map(float, feature.edges))
        floors = tuple((n, float(distance)) for n, distance in feature.floors)
        features.append(
            feature._replace(
                edges=edges, floors=floors, categories=tuple(feature.categories), cells=tuple(feature.cells)
            )
        )
    unknown = set(fields) - {"model", "data", "bootstrapped"}
    if unknown:
        raise InvalidReference("it has fields that are not known: %s" % ", ".join(sorted(unknown)))
    return Reference(fields["model"], tensors, tuple(features), fields["data"], fields["bootstrapped"], digest)


def _record(kind: Any, entry: Any) -> Any:
    wanted = [field for field in kind._fields if field != "joint"]
    if not isinstance(entry, dict) or set(entry) != set(wanted):
        found = sorted(entry) if isinstance(entry, dict) else entry
        raise InvalidReference("a %s has exactly the fields %s, not %r" % (kind.__name__, wanted, found))
    return kind(**entry)


def _check(reference: Reference) -> None:
    _text("its model", reference.model)
    if not isinstance(reference.data, str) or not isinstance(reference.bootstrapped, bool):
        raise InvalidReference("`data` is a text, and `bootstrapped` true or false")
    if not 1 <= len(reference.features) <= MAX_FEATURES:
        raise InvalidReference("it has %d features; 1 to %d are possible" % (len(reference.features), MAX_FEATURES))
    tensors = set()
    for tensor in reference.tensors:
        _text("a tensor's name", tensor.name)
        if tensor.role not in (INPUT, OUTPUT) or not isinstance(tensor.kind, str):
            raise InvalidReference("tensor %r has the role %r, kind %r" % (tensor.name, tensor.role, tensor.kind))
        if (tensor.role, tensor.name) in tensors:
            raise InvalidReference("two %s tensors are called %r" % (tensor.role, tensor.name))
        tensors.add((tensor.role, tensor.name))
    names = set()
    for feature in reference.features:
        _text("a feature's name", feature.name)
        if feature.name in names:
            raise InvalidReference("two features are called %r" % feature.name)
        names.add(feature.name)
        try:
            check_feature(feature)
            if feature.kind == JOINT:
                check_joint(feature, reference.features, reference.tensors)
        except InvalidReference as error:
            raise InvalidReference("feature %r: %s" % (feature.name, error)) from None
        own = feature.role == INFERENCE or (feature.kind == JOINT and not feature.tensor)
        if not own and (feature.role, feature.tensor) not in tensors:
            raise InvalidReference("feature %r comes from no %s tensor of it" % (feature.name, feature.role))


def _text(what: str, value: Any) -> None:
    if not isinstance(value, str) or not 1 <= len(value.encode("utf-8")) <= MAX_NAME_BYTES or not value.isprintable():
        raise InvalidReference("%s is %r: 1 to %d bytes of printable text" % (what, value, MAX_NAME_BYTES))
