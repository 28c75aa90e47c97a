"""Real enough data with a known answer: NannyML's synthetic car loans.

Its documentation says what happens: from the middle of the analysis period on, cars get dearer. The first half must be
quiet, the second must name what moved with that, and must not name what did not. The package brings the data; only the
two tables are taken out of it, and kept in a cache.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgekit.files import cache_folder, sha256_of
from edgekit.telemetry.drift.check_data import check_data
from edgekit.telemetry.references.columns import features_of
from edgekit.telemetry.references.tables import Options, Table, read_table
from edgekit.telemetry.reporter.reference import Reference, Tensor

PACKAGE = "nannyml==0.13.1"
TABLES = {
    "reference": "e6d2e70d8bac3e892764cb96570efb1adebf8f95497e07e96746eb1d94925995",
    "analysis": "1ecfee47fbce587b423d1eb365cbb7b36265388596dca5b3e1fed0748159529b",
}
MOVED = {"car_value", "loan_length", "y_pred_proba", "salary_range", "repaid_loan_on_prev_car"}
UNMOVED = {"debt_to_income_ratio", "driver_tenure", "size_of_downpayment"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two tables, from the cache or out of the package."""
    folder = cache_folder() / "test-data" / PACKAGE
    paths = {name: folder / f"synthetic_car_loan_{name}.csv" for name in TABLES}
    if not all(path.is_file() and sha256_of(path) == TABLES[name] for name, path in paths.items()):
        wheels = tmp_path_factory.mktemp("wheel")
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), PACKAGE]
        subprocess.run(argv, check=True, timeout=300)
        (wheel,) = wheels.glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for path in paths.values():
                path.write_bytes(archive.read(f"nannyml/datasets/data/{path.name}"))
        wheel.unlink()
    assert {name: sha256_of(path) for name, path in paths.items()} == TABLES
    return paths


@pytest.fixture(scope="module")
def loans(tables: dict[str, Path]) -> tuple[Reference, Table]:
    """The reference of the first table, and the second table."""
    known = Options(outputs=("y_pred", "y_pred_proba"), ignored=("repaid",))
    normal = read_table(tables["reference"], known)
    tensors = [Tensor(column.name, column.role, column.kind) for column in normal.columns]
    reference = Reference.of("car_loan", features_of(normal.columns), tensors=tensors)
    expected = {feature.name: feature.kind for feature in reference.features}
    return reference, read_table(tables["analysis"], expected=expected)


def test_the_first_half_is_quiet(loans: tuple[Reference, Table]) -> None:
    verdict = check_data(*loans, rows=slice(0, 25_000))
    assert verdict.outcome == "quiet", verdict.because
    assert verdict.outputs_moved is False


def test_the_second_half_names_what_moved_and_not_what_did_not(loans: tuple[Reference, Table]) -> None:
    verdict = check_data(*loans, rows=slice(25_000, 50_000))
    named = {feature.feature for feature in verdict.drifted}
    assert named >= MOVED
    assert not named & UNMOVED
    assert verdict.outputs_moved is True
    assert verdict.drifted[0].feature == "car_value"


def test_both_halves_tell_when_it_began(loans: tuple[Reference, Table]) -> None:
    verdict = check_data(*loans)
    car_value = next(feature for feature in verdict.features if feature.feature == "car_value")
    assert car_value.shape == "sudden"
    assert str(car_value.began).startswith("2019-03-3")


def test_parts_of_the_first_half_are_quiet_at_every_size(loans: tuple[Reference, Table]) -> None:
    alarms = total = 0
    for size in (500, 1000, 5000):
        for start in range(0, 25_000, max(size, 2500)):
            alarms += check_data(*loans, rows=slice(start, start + size)).outcome == "drift"
            total += 1
    assert alarms <= 1, f"{alarms} of {total}"
