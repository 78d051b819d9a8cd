"""Handlers for the tests of the harness; what they do is noted in `calls`."""

from __future__ import annotations

from eventq import Context, Handlers

shop = Handlers()
calls: list[tuple[str, int]] = []


@shop.task("send", max_retries=2, backoff="10m")
def send(order: int, *, copies: int = 1) -> str:
    """Notes that it was called."""
    calls.append(("send", order))
    return f"order {order}, {copies} copies"


@shop.task("pack", priority=5)
def pack(ctx: Context, order: int) -> None:
    """Makes another task, and takes a while."""
    calls.append(("pack", order))
    ctx.sleep("1m")
    send.new(order)


@shop.task("watch", deadline="5m")
def watch(ctx: Context, *, length: str = "1m") -> None:
    """Sleeps, and goes on only while it may."""
    ctx.sleep(length)
    ctx.check()
