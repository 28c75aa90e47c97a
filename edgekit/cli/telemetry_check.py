"""`edgekit telemetry check`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.output import json_option
from edgekit.cli.table_options import options_of, table_options

if TYPE_CHECKING:
    from edgekit.telemetry.drift.verdict import DriftVerdict

_STYLES = {"drift": "bold red", "quiet": "green", "inconclusive": "yellow", "too few": "yellow", "not judged": "dim"}
SHOWN = 12
"""Quiet features are listed up to so many; --all lists them all."""


@click.command("check")
@click.argument("reference", required=False, type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--db", metavar="URL", help="The collector's database: a path, or postgresql://… .")
@click.option("--model", help="With --db: the model to check.")
@click.option("--reference", "reference_id", metavar="ID", help="With --db: which of its references; else the latest.")
@click.option("--span", default="24h", show_default=True, help="With --db: how much time to judge, up to now.")
@click.option("--now", metavar="TIME", help="With --db: judge the span that ends then, such as 2026-11-27T12:00:00Z.")
@click.option("--history", default="14d", show_default=True, help="With --db: how far back to look for since when.")
@click.option("--cohort", help="With --db: only the devices of this cohort.")
@click.option("--phase", type=click.Choice(["hour-of-day", "day-of-week"]), help="With --db: compare like with like.")
@click.option("--k-devices", type=click.IntRange(1), default=5, show_default=True,
              help="With --db: tell nothing of a cohort with fewer devices.")  # fmt: skip
@click.option("--keep", is_flag=True, help="With --db: keep what drifted for `edgekit telemetry flagged`.")
@click.option("--rows", metavar="FROM:TO", help="With DATA: only these rows, counted from 0.")
@click.option(
    "--theta", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="The distance that matters."
)
@click.option(
    "--n-min", type=click.IntRange(2), default=200, show_default=True, help="Values below which nothing is said."
)
@click.option("--kl", is_flag=True, help="Compute the Kullback-Leibler divergence, too.")
@click.option("--all", "everything", is_flag=True, help="List quiet features, too, however many.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@table_options
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, reference: Path | None, data: Path | None, db: str | None, *, everything: bool,
    as_markdown: bool, as_json: bool, **given: object,
) -> None:  # fmt: skip
    """Tell whether what a model sees has drifted, which features moved, and since when.

    \b
    edgekit telemetry check reference.json new.csv        a table against a reference
    edgekit telemetry check artifacts/M/tflite-int8 new.npz
    edgekit telemetry check --db telemetry.db --model M   what devices reported in the last 24 hours

    REFERENCE is a reference.json, or the folder of an artifact that has one: DATA is then an .npz of inputs, and of
    outputs if you have them, as the source model takes and gives them. Exit status: 0 quiet, 3 drift, 4 too
    little was seen to say so.
    """
    if db is not None:
        if reference is not None:
            raise click.UsageError("Give REFERENCE and DATA, or --db, not both.")
        verdict = _of_store(db, given)
    elif given["keep"]:
        raise click.UsageError("--keep goes with --db: what a table shows is kept nowhere.")
    elif reference is not None and data is not None:
        verdict = _of_table(reference, data, given)
    else:
        raise click.UsageError("Give REFERENCE and DATA, or --db and --model.")
    if as_json:
        import msgspec

        output.print_json("telemetry check", **msgspec.to_builtins(verdict))
    elif as_markdown:
        from edgekit.telemetry.drift.markdown import markdown

        click.echo(markdown(verdict))
    else:
        _print(verdict, everything=everything)
    ctx.exit(verdict.exit_status)


def _of_table(path: Path, data: Path, given: dict[str, object]) -> DriftVerdict:
    from edgekit.errors import DataError
    from edgekit.telemetry.drift.check_data import check_data
    from edgekit.telemetry.references.files import read_arrays
    from edgekit.telemetry.references.observing import has_tensors, observed
    from edgekit.telemetry.references.tables import read_table
    from edgekit.telemetry.reporter.errors import InvalidReference
    from edgekit.telemetry.reporter.reference import Reference

    if path.is_dir():
        path /= "reference.json"
    try:
        reference = Reference.load(path)
    except InvalidReference as error:
        raise DataError(f"{error}") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.",
            remedy="Make it with `edgekit telemetry reference DATA --out FILE`.",
        ) from error
    if has_tensors(reference):
        if data.suffix.lower() != ".npz":
            raise DataError(
                f"{path} watches tensors ({', '.join(tensor.name for tensor in reference.tensors)}), and {data} is a "
                "table.",
                remedy="Give an .npz file with arrays of these names, (n, …) each.",
            )
        table = observed(reference, read_arrays(data), str(data))
    else:
        expected = {f.name: f.kind for f in reference.features if f.joint is None}
        table = read_table(data, options_of(given), expected=expected)
    for remark in table.remarks:
        output.log().print(f"[dim]{remark}[/]")
    return check_data(
        reference, table, theta=_float(given["theta"]), n_min=_int(given["n_min"]), kl=bool(given["kl"]),
        rows=_rows(given["rows"]),
    )  # fmt: skip


def _of_store(db: str, given: dict[str, object]) -> DriftVerdict:
    import time

    from edgekit.telemetry.collector.reading import open_store
    from edgekit.telemetry.drift.check import Question, check

    if given["model"] is None:
        raise click.UsageError("Give the --model to check.")
    question = Question(
        span_s=_seconds(str(given["span"]), "--span"),
        history_s=_seconds(str(given["history"]), "--history"),
        cohort=None if given["cohort"] is None else str(given["cohort"]),
        phase=None if given["phase"] is None else str(given["phase"]),
        theta=_float(given["theta"]),
        n_min=_int(given["n_min"]),
        kl=bool(given["kl"]),
        k_devices=_int(given["k_devices"]),
    )
    now = int(time.time()) if given["now"] is None else _time(str(given["now"]))
    wanted = None if given["reference_id"] is None else str(given["reference_id"])
    store = open_store(db, new=False)
    verdict = check(store, str(given["model"]), now, question, reference=wanted)
    if given["keep"]:
        from edgekit.telemetry.collector import flagged
        from edgekit.telemetry.drift.schedule import checked

        flagged.record(store.database, checked(verdict), int(time.time()))
    return verdict


def _print(verdict: DriftVerdict, *, everything: bool) -> None:
    from edgekit.telemetry.drift.markdown import facts, headline

    drifted, others = verdict.drifted, verdict.features[len(verdict.drifted) :]
    shown = [*drifted, *(others if everything or len(others) <= SHOWN else ())]
    rows = [
        [
            v.feature,
            v.role,
            Text(v.outcome, _STYLES[v.outcome]),
            f"{v.distance:.3f}",
            f"{v.threshold:.3f}",
            *("–" if x is None else f"{x:.3f}" for x in (v.d1, v.psi, v.js, v.wasserstein)),
            *(["–" if v.kl is None else f"{v.kl:.3f}"] if any(f.kl is not None for f in shown) else []),
            str(v.n),
            v.shape or "–",
            v.began or "–",
            v.told,
        ]
        for v in shown
    ]
    columns = ["feature", "role", "verdict", "distance", "threshold", "D1", "PSI", "JS", "W1"]
    columns += ["KL"] if any(v.kl is not None for v in shown) else []
    columns += ["n", "kind", "since", "what changed"]
    out = output.console()
    if rows:
        output.print_table(
            headline(verdict), columns, rows, right="distance|threshold|D1|PSI|JS|W1|KL|n",
            droppable="KL|D1|JS|W1|role|PSI|n|threshold|since|kind",
        )  # fmt: skip
    if verdict.cohorts:
        output.print_table(
            "cohorts", ["cohort", "verdict", "devices", "n", "drifted"],
            [
                [c.cohort or "(none)", Text(c.outcome, _STYLES[c.outcome]), _or_dash(c.devices), _or_dash(c.n),
                 ", ".join(c.drifted)]
                for c in verdict.cohorts
            ],
            right="devices|n", titled=True,
        )  # fmt: skip
    out.print(Text(headline(verdict), _STYLES[verdict.outcome]))
    for line in facts(verdict):
        out.print(Text(f"  {line}"))
    if len(shown) < len(verdict.features):
        out.print(f"[dim]  {len(verdict.features) - len(shown)} more features are quiet (--all lists them)[/]")


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _rows(text: object) -> slice | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d*):(\d*)", str(text))
    if found is None:
        raise click.BadParameter(f"{text!r} is not FROM:TO.", param_hint="--rows")
    return slice(*(int(part) if part else None for part in found.groups()))


def _seconds(text: str, option: str) -> int:
    units = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
    try:
        return int(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        raise click.BadParameter(f"{text!r} is no time such as 90m, 24h, 7d or 4w.", param_hint=option) from None


def _time(text: str) -> int:
    from datetime import datetime, timezone

    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time such as 2026-11-27T12:00:00Z.", param_hint="--now") from None
    return int((time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp())


def _float(value: object) -> float:
    assert isinstance(value, float)
    return value


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
