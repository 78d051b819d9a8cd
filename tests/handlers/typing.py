"""What a type checker says of handlers: each wrong line must be wrong, each right one right.

Never run. mypy checks it with all the rest, and fails where an expected error does not come.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from eventq import Context, FlowTask, Handlers, NewTaskRef, Queue, Task, TaskSpec
from eventq.handlers.context import AsyncContext

queue = Queue("memory://")
handlers = Handlers()


@queue.task
def bare(path: str, *, dpi: int = 300) -> float:
    """Registered without brackets."""
    return dpi / len(path)


@handlers.task("named", lane="heavy", max_retries=3)
def named(ctx: Context, count: int) -> list[str]:
    """Registered with options; the context is no argument."""
    return [ctx.task.key] * count


@queue.task()
async def awaited(ctx: AsyncContext, name: str) -> bool:
    """A coroutine function."""
    await ctx.sleep(1)
    return bool(name)


@queue.task
def takes_bool(flag: bool) -> None:  # noqa: FBT001 - an argument
    """Takes what `awaited` returns."""
    del flag


async def right(task: Task, ctx: Context) -> None:
    """All of this is as it should be."""
    assert_type(bare("a", dpi=3), float)
    assert_type(bare.new("a", dpi=3), Task)
    assert_type(bare.spec("a"), TaskSpec)
    assert_type(bare.result_of(task), float)
    assert_type(named(3), list[str])
    assert_type(named.using(priority=5, tags={"a": 1}).new(3), Task)
    assert_type(named.result_of(task), list[str])
    call: Callable[[str], Coroutine[Any, Any, bool]] = awaited
    assert_type(await call("x"), bool)
    assert_type(await awaited("x"), bool)
    assert_type(awaited.result_of(task), bool)
    assert_type(await awaited.aio.new("x"), Task)
    assert_type(queue.new(named, 3), Task)
    assert_type(ctx.new(named, 3), NewTaskRef)
    assert_type(ctx.new(bare.using(priority=2), "a", dpi=3), NewTaskRef)
    assert_type(ctx.new(bare.spec("a")), NewTaskRef)
    assert_type(ctx.new({"path": "a"}, priority=3), NewTaskRef)
    assert_type(ctx.new_many([{"path": "a"}, named.spec(3)], lane="heavy"), list[NewTaskRef])
    assert_type(list(ctx.track(["a"])), list[str])
    assert_type(queue.new({"path": "a"}, priority=3), Task)
    with queue.flow("k") as flow:
        first = flow.new(awaited, "x")
        assert_type(first, FlowTask[bool])
        assert_type(first.result, bool)
        flow.new(takes_bool.using(after=[first, task, "key"], if_failed="run"), first.result)
        assert_type(flow.finally_(takes_bool, True), FlowTask[None])  # noqa: FBT003 - an argument
        assert_type(flow.new({"path": "a"}, after=first), FlowTask[Any])


async def wrong(task: Task, ctx: Context) -> None:
    """Each of these is wrong, in the way that is said behind it."""
    bare.new(5)  # type: ignore[arg-type]
    bare.new()  # type: ignore[call-arg]
    bare.new("a", 300)  # type: ignore[call-arg]
    bare.new("a", dpi="300")  # type: ignore[arg-type]
    bare.spec("a", nope=1)  # type: ignore[call-arg]
    named.new("3")  # type: ignore[arg-type]
    await awaited.aio.new(5)  # type: ignore[arg-type]
    queue.new(named, "3")  # type: ignore[call-overload]
    queue.new({"path": "a"}, nope=1)  # type: ignore[call-overload]
    ctx.new(named, "3")  # type: ignore[call-overload]
    ctx.new({"path": "a"}, nope=1)  # type: ignore[call-overload]
    named.using(nope=1)  # type: ignore[call-arg]
    queue.task("a", nope=1)  # type: ignore[call-overload]
    with queue.flow() as flow:
        flow.new(bare, flow.new(awaited, "x").result)  # type: ignore[call-overload]
        queue.new({"path": "a"}, after=7)  # type: ignore[call-overload]
    text: str = bare.result_of(task)  # type: ignore[assignment]
    del text
