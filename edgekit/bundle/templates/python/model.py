"""Loads the first variant that works here: real values in, real values out.

A variant works if its runtime is here and new enough, its payload loads, and one golden input gives its golden output.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, TypeVar

import numpy as np

from . import _compare

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "artifacts")
Self = TypeVar("Self", bound="Loaded")


class RuntimeVersionError(RuntimeError):
    """The runtime is older than the one that the artifact was proven with."""


class WrongAnswerError(RuntimeError):
    """The golden inputs give other outputs here."""


class Loaded:
    """One variant, loaded. The typed class in `__init__.py` is made of it."""

    variants: Sequence[str] = ()

    def __init__(self, folder: str, threads: int, any_version: bool) -> None:
        with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
            self.manifest: Dict[str, Any] = json.load(file)
        self.folder = folder
        self.variant = os.path.basename(folder)
        self.passed_over: List[Tuple[str, str]] = []
        runtime = importlib.import_module("." + self.manifest["runtime"], __package__ + "._runtimes")
        if not any_version:
            self._refuse_older(runtime.probe())
        path = os.path.join(folder, *self.manifest["payload"].split("/"))
        self._session = runtime.load(path, threads, self.manifest["bindings"])

    @classmethod
    def open(cls: Type[Self], variant: Optional[str] = None, *, threads: int = 1, any_version: bool = False) -> Self:
        """Loads the first variant that works here, or the one that is named.

        Args:
            variant: one of `variants`; all of them in order if None.
            threads: of the runtime.
            any_version: take an older runtime, if all golden inputs agree.

        Raises:
            ValueError: there is no variant of that name.
            RuntimeVersionError, WrongAnswerError, ImportError: why the last one did not work.
        """
        if variant is not None and variant not in cls.variants:
            raise ValueError("there is no variant %r: choose one of %s" % (variant, ", ".join(cls.variants)))
        tried = list(cls.variants) if variant is None else [variant]
        passed_over: List[Tuple[str, str]] = []
        for name in tried:
            try:
                loaded = cls(os.path.join(_FOLDER, name), threads, any_version)
                loaded.check(samples=None if any_version else 1)
            except Exception as error:  # a delegate or a file may fail in any way: that is what a fallback is for
                if name == tried[-1]:
                    raise
                passed_over.append((name, "%s: %s" % (type(error).__name__, error)))
                continue
            loaded.passed_over = passed_over
            return loaded
        raise ValueError("this bundle has no variants")

    def run(self, inputs: Sequence[Any]) -> List[np.ndarray]:
        """Answers one call: real values, in the model's order.

        Raises:
            ValueError: a wrong number, shape or dtype.
        """
        specs = self.manifest["inputs"]
        if len(inputs) != len(specs):
            raise ValueError("the model takes %d inputs, not %d" % (len(specs), len(inputs)))
        for i, (spec, value) in enumerate(zip(specs, inputs)):
            self._session.set_input(i, _stored(spec, np.asarray(value)))
        self._session.invoke()
        return [_real(spec, self._session.get_output(j)) for j, spec in enumerate(self.manifest["outputs"])]

    def check(self, samples: Optional[int] = None) -> List[Dict[str, Any]]:
        """Runs golden inputs (all if `samples` is None) and compares with the golden outputs; one row an output.

        Raises:
            WrongAnswerError: an output is further from the golden one than `golden.min_snr_db`.
        """
        golden = self.manifest["golden"]
        given, wanted = self._arrays(golden["inputs"]), self._arrays(golden["outputs"])
        count = len(given[0]) if samples is None else min(samples, len(given[0]))
        answers = [[np.array(a) for a in self.run([array[n] for array in given])] for n in range(count)]
        rows = []
        for j, spec in enumerate(self.manifest["outputs"]):
            row = _compare.compare(wanted[j][:count], np.stack([answer[j] for answer in answers]))
            rows.append(dict(row, output=spec["name"], samples=count))
            if not _compare.at_least(row, golden["min_snr_db"]):
                raise WrongAnswerError(
                    "%s: output %r has an SNR of %s dB to the golden one, and needs %s dB"
                    % (self.variant, spec["name"], row["snr_db"], golden["min_snr_db"])
                )
        return rows

    def _arrays(self, names: Sequence[str]) -> List[np.ndarray]:
        return [np.load(os.path.join(self.folder, *name.split("/")), allow_pickle=False) for name in names]

    def _refuse_older(self, found: Dict[str, Any]) -> None:
        package = str(found["package"]).replace("_", "-")
        wanted, here = self.manifest["provenance"]["tools"].get(package), found["version"]
        if wanted and here and _numbers(here) < _numbers(wanted):
            raise RuntimeVersionError(
                "%s %s is here and %s was proven with %s: python3 -m pip install '%s>=%s', or open(any_version=True)"
                % (package, here, self.variant, wanted, package, wanted)
            )


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+", maxsplit=1)[0])[:3])


def _stored(spec: Dict[str, Any], value: np.ndarray) -> np.ndarray:
    """Real values as the payload stores them."""
    varying = {axis["axis"]: axis for axis in spec["varies"]}
    fits = value.ndim == len(spec["shape"]) and all(
        varying[i]["min"] <= size <= varying[i]["max"] if i in varying else size == wanted
        for i, (size, wanted) in enumerate(zip(value.shape, spec["shape"]))
    )
    if not fits:
        raise ValueError("input %r takes shape %s, not %s" % (spec["name"], tuple(spec["shape"]), value.shape))
    dtype, quantization = np.dtype(spec["dtype"]), spec["quantization"]
    if quantization is not None:
        scale, zero_point = _parameters(quantization, value.ndim)
        limits = np.iinfo(dtype)
        scaled = np.round(value.astype(np.float32) / scale) + zero_point
        return np.ascontiguousarray(np.clip(scaled, limits.min, limits.max).astype(dtype))
    if not np.can_cast(value.dtype, dtype, casting="same_kind"):
        raise ValueError("input %r takes %s, not %s" % (spec["name"], dtype, value.dtype))
    cast = np.ascontiguousarray(value, dtype=dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, value):
        raise ValueError("input %r takes %s, and holds values beyond its range" % (spec["name"], dtype))
    return cast


def _real(spec: Dict[str, Any], value: np.ndarray) -> np.ndarray:
    """What the payload answers, as real values in memory of their own."""
    if spec["quantization"] is None:
        return np.array(value)
    scale, zero_point = _parameters(spec["quantization"], value.ndim)
    return ((value.astype(np.float32) - zero_point) * scale).astype(np.float32)


def _parameters(quantization: Dict[str, Any], axes: int) -> Tuple[np.ndarray, np.ndarray]:
    scale = np.asarray(quantization["scale"], np.float32)
    zero_point = np.asarray(quantization["zero_point"], np.float32)
    if quantization["axis"] is None:
        return scale[0], zero_point[0]
    shape = [1] * axes
    shape[quantization["axis"]] = -1
    return scale.reshape(shape), zero_point.reshape(shape)
