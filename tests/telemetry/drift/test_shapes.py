"""Kinds of drift, on courses whose kind is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.telemetry.drift.shapes import course_of


def _noise(steps: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.015, steps)


LIMITS = np.full(60, 0.06)


@pytest.mark.parametrize("seed", range(10))
def test_a_jump(seed: int) -> None:
    deviations = np.where(np.arange(60) >= 40, 0.3, 0.0) + _noise(60, seed)
    assert course_of(deviations, LIMITS) == ("sudden", 40)


@pytest.mark.parametrize("seed", range(10))
def test_a_ramp(seed: int) -> None:
    deviations = np.interp(np.arange(60), [20, 50], [0, 0.4]) + _noise(60, seed)
    shape, began = course_of(deviations, LIMITS)
    assert shape == "gradual"
    assert began is not None
    assert abs(began - 20) <= 5


@pytest.mark.parametrize("seed", range(10))
def test_what_is_over(seed: int) -> None:
    deviations = np.where((np.arange(60) >= 30) & (np.arange(60) < 34), 0.3, 0.0) + _noise(60, seed)
    assert course_of(deviations, LIMITS) == ("temporary", 30)


@pytest.mark.parametrize("seed", range(10))
def test_a_daily_cycle(seed: int) -> None:
    hours = np.arange(24 * 5)
    deviations = 0.2 * np.sin(2 * np.pi * hours / 24) + _noise(len(hours), seed)
    shape, _ = course_of(deviations, np.full(len(hours), 0.06), periods=(24, 168))
    assert shape == "periodic"


@pytest.mark.parametrize("seed", range(10))
def test_a_jump_is_no_cycle(seed: int) -> None:
    hours = np.arange(24 * 5)
    deviations = np.where(hours >= 60, 0.3, 0.0) + _noise(len(hours), seed)
    shape, began = course_of(deviations, np.full(len(hours), 0.06), periods=(24, 168))
    assert shape == "sudden"
    assert began is not None
    assert abs(began - 60) <= 2


def test_what_was_there_from_the_first_step_has_no_kind() -> None:
    assert course_of(0.3 + _noise(60), LIMITS) == (None, 0)


def test_few_steps_tell_nothing() -> None:
    assert course_of(np.array([0.0, 0.0, 0.3]), np.full(3, 0.06)) == (None, None)


def test_many_steps_are_folded() -> None:
    deviations = np.where(np.arange(1000) >= 700, 0.3, 0.0) + _noise(1000)
    shape, began = course_of(deviations, np.full(1000, 0.06))
    assert shape == "sudden"
    assert began is not None
    assert abs(began - 700) <= 10
