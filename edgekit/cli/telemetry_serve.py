"""`edgekit telemetry serve`: the collector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit.cli.options import ByteCount, Duration
from edgekit.cli.output import json_option
from edgekit.cli.telemetry_options import database_option, key_file_option


@click.command("serve")
@database_option
@key_file_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address on which devices reach it.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="Its port; 0: a free one.")
@click.option("--admin-host", default="127.0.0.1", show_default=True, help="Address of the port that people read on.")
@click.option("--admin-port", default=8788, show_default=True, type=click.IntRange(0, 65535), help="That port.")
@click.option("--admin-name", "admin_names", multiple=True, metavar="NAME", help="Another name of it, as a proxy has.")
@click.option("--span", "span_s", type=Duration(), help="Slice of time that counts are kept by.  [default: 1h]")
@click.option("--max-upload", type=ByteCount(), default="64kB", show_default=True, help="Largest body of an upload.")
@click.option("--max-connections", default=1024, show_default=True, type=click.IntRange(1), help="At the same time.")
@click.option(
    "--request-timeout", type=Duration(), default="20s", show_default=True, help="A slower client is cut off."
)
@click.option("--keep-raw", default=30, show_default=True, type=click.IntRange(1), help="Days that windows are kept.")
@click.option("--keep-sums", default=400, show_default=True, type=click.IntRange(1), help="Days that sums are kept.")
@click.option("--check-every", type=Duration(), default="15m", show_default=True, help="How often drift is looked for.")
@click.option("--webhook", "urls", multiple=True, metavar="URL", help="Where alerts are sent; may be given again.")
@click.option("--webhook-secret", type=click.Path(path_type=Path, dir_okay=False), help="File with what signs them.")
@click.option("--cool-down", type=Duration(), default="6h", show_default=True, help="An alert is sent no more often.")
@json_option
def command(
    database: str, key_file: Path | None, urls: tuple[str, ...], webhook_secret: Path | None, *, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Run the collector: take in what devices report, until Ctrl-C or SIGTERM.

    Devices send to --port; /health and /ready are there too. The web page, metrics and the counts are on --admin-port.
    """
    import logging

    from edgekit.cli import output
    from edgekit.telemetry.collector.server import Settings, key_file_of, serve
    from edgekit.telemetry.collector.upkeep import Chores
    from edgekit.telemetry.collector.webhooks import Webhook, read_secret
    from edgekit.telemetry.drift.schedule import check_all
    from edgekit.telemetry.page import page_of

    if urls and webhook_secret is None:
        raise click.UsageError("--webhook needs --webhook-secret.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    hosts = {name: options[name] for name in ("host", "port", "admin_host", "admin_port", "admin_names")}
    span_s = None if options["span_s"] is None else int(options["span_s"])
    settings = Settings(
        database, key_file or key_file_of(database), **hosts, span_s=span_s, max_upload_bytes=options["max_upload"],
        max_connections=options["max_connections"], request_s=options["request_timeout"],
    )  # fmt: skip
    chores = Chores(
        check=check_all,
        check_every_s=options["check_every"], cool_down_s=int(options["cool_down"]), raw_days=options["keep_raw"],
        rollup_days=options["keep_sums"],
        webhooks=tuple(Webhook(url, read_secret(webhook_secret)) for url in urls if webhook_secret),
    )  # fmt: skip

    def ready(port: int, admin_port: int) -> None:
        if as_json:
            output.print_json("telemetry serve", host=settings.host, port=port, admin_port=admin_port)
        else:
            click.echo(f"devices send to http://{settings.host}:{port}")
            click.echo(f"the page, metrics and counts on http://{settings.admin_host}:{admin_port}")

    serve(settings, chores, ready=ready, page_of=page_of)
