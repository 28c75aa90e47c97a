"""`edgekit telemetry reference`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import output
from edgekit.cli.output import json_option
from edgekit.cli.table_options import options_of, table_options


@click.command("reference")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the reference goes, a .json file.")
@click.option("--model", help="The model's name; the file's without it.")
@click.option("--joint", is_flag=True, help="Also watch how the numbers go together; devices pay for it in time.")
@table_options
@json_option
def command(data: Path, out: Path, model: str | None, *, joint: bool, as_json: bool, **given: object) -> None:
    """Make a drift reference from recorded DATA: a CSV, Parquet or NPZ file whose rows are what is normal.

    The more the better, in the order of recording: noise floors are calibrated on blocks of the rows. A thousand rows
    are little, ten thousand are good.

    \b
    edgekit telemetry reference loans.csv --model car_loan --output y_pred --out reference.json
    edgekit telemetry check reference.json new.csv
    """
    from edgekit.errors import DataError
    from edgekit.files import write_file
    from edgekit.telemetry.references.columns import features_of
    from edgekit.telemetry.references.joint import joint_of
    from edgekit.telemetry.references.tables import read_table
    from edgekit.telemetry.reporter.errors import InvalidReference
    from edgekit.telemetry.reporter.reference import Reference, Tensor

    table = read_table(data, options_of(given))
    features = features_of(table.columns)
    if joint:
        together = joint_of(features, {column.name: column.values for column in table.columns})
        if together is None:
            raise DataError(f"{data} has no two numbers to watch together.", remedy="Leave out --joint.")
        features = (*features, together)
    try:
        reference = Reference.of(
            model or data.stem,
            features,
            tensors=[Tensor(column.name, column.role, column.kind) for column in table.columns],
            data=f"{data.name}, {table.rows} rows",
        )
    except InvalidReference as error:
        raise DataError(f"{data} makes no reference: {error}.", remedy="Rename or leave out that column.") from error
    write_file(out, reference.to_json())
    if as_json:
        rows = [
            {"feature": f.name, "kind": f.kind, "role": f.role, "n": f.n, "missing": f.missing, "cells": f.size,
             "floor": f.floors[0][1] if f.floors else None}
            for f in reference.features
        ]  # fmt: skip
        output.print_json("telemetry reference", id=reference.id, out=str(out), features=rows, remarks=table.remarks)
        return
    for remark in table.remarks:
        output.log().print(f"[dim]{remark}[/]")
    output.print_table(
        f"{reference.model}: {len(reference.features)} features of {table.rows} rows",
        ["feature", "kind", "role", "n", "missing", "cells", "floor at n = 1000"],
        [
            [f.name, f.kind, f.role, str(f.n), str(f.missing), str(f.size), f"{_floor(f.floors):.3f}"]
            for f in reference.features
        ],
        right="n|missing|cells|floor at n = 1000",
        droppable="cells|role",
    )
    output.console().print(f"{out}: reference {reference.id[:12]}")


def _floor(floors: tuple[tuple[int, float], ...]) -> float:
    return next((floor for n, floor in reversed(floors) if n <= 1000), 0.0)
