"""``metrics``: the queue's numbers for Prometheus, once or on a port."""

from __future__ import annotations

import threading

import click

from eventq.cli.ending import refuse
from eventq.cli.output import note
from eventq.cli.place import Place, placed
from eventq.host.signals import stopping_on_signals


@click.command(
    epilog="""\b
Examples:
  eventq metrics
  eventq metrics --port 9464 --host 0.0.0.0"""
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Answer /metrics there, until a signal."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@placed
def metrics(*, place: Place, port: int | None, host: str) -> None:
    """Say the queue's numbers in Prometheus's text format; needs the extra `prometheus`."""
    try:
        from prometheus_client import generate_latest  # noqa: PLC0415 - an extra

        from eventq.contrib.prometheus import registry_of, serve  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise click.UsageError("install eventq[prometheus] for this") from error
    with place.open(create=False) as queue:
        if port is None:
            click.echo(generate_latest(registry_of(queue)), nl=False)
            return
        stopped = threading.Event()
        try:
            port, server = serve(queue, port, host=host)
        except UnicodeError as error:
            # No name of a host looks like that, so that nobody is asked.
            refuse(f"{host}: is no name of a host ({error})")
        note(f"http://{host}:{port}/metrics")
        with stopping_on_signals(stopped.set):
            stopped.wait()
        server.close()
