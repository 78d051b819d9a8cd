"""What happens live: one pulse for all pages, as long as anybody watches."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

import eventq
from eventq.errors import LogLostError
from eventq.web import live as live_module
from eventq.web.access import Person
from eventq.web.live import Beat, Pulse, Watcher
from eventq.web.watching import watch
from tests.web.desk import Desk

PATIENT_S = 60.0


def pulse_of(queue: eventq.Queue) -> Pulse:
    """The pulse of a queue."""
    return Pulse(queue._node)


def beats() -> list[threading.Thread]:
    """The threads of pulses."""
    return [t for t in threading.enumerate() if t.name == "eventq-console-pulse"]


def test_all_who_watch_hear_of_an_append(queue: eventq.Queue) -> None:
    """First how it stands, then what has come; by one thread for all."""
    pulse = pulse_of(queue)

    async def watch() -> list[Beat | None]:
        watchers = [Watcher(asyncio.get_running_loop()) for _ in range(3)]
        assert all(pulse.join(each) for each in watchers)
        found = [await each.next(PATIENT_S) for each in watchers]
        await asyncio.to_thread(queue.new, {"n": 1})
        found += [await each.next(PATIENT_S) for each in watchers]
        assert len(beats()) == 1
        for each in watchers:
            pulse.leave(each)
        return found

    found = asyncio.run(watch())
    pulse.close()

    assert [beat.seq for beat in found if beat] == [0, 0, 0, 1, 1, 1]
    assert [beat.counts["ready"] for beat in found if beat] == [0, 0, 0, 1, 1, 1]


async def look(pulse: Pulse) -> Beat | None:
    """What somebody is told first who comes, and goes."""
    watcher = Watcher(asyncio.get_running_loop())
    pulse.join(watcher)
    beat = await watcher.next(PATIENT_S)
    pulse.leave(watcher)
    return beat


def test_nobody_watches_and_nothing_beats(queue: eventq.Queue) -> None:
    """The thread ends with the last who watches; the next one begins another."""
    pulse = pulse_of(queue)

    for _ in range(2):
        assert asyncio.run(look(pulse)) is not None
        for thread in beats():
            thread.join(PATIENT_S)
        assert beats() == []
    pulse.close()


def test_a_log_that_is_lost_is_told(queue: eventq.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing can watch it any more; who comes later has it looked for again."""
    pulse = pulse_of(queue)
    watches = queue.log.watch

    def lost(_wake: object) -> None:
        raise LogLostError("here", "was replaced")

    monkeypatch.setattr(queue.log, "watch", lost)
    told = asyncio.run(look(pulse))
    monkeypatch.setattr(queue.log, "watch", watches)
    again = asyncio.run(look(pulse))
    pulse.close()

    assert told is not None
    assert "was replaced" in (told.problem or "")
    assert again is not None
    assert again.problem is None


def test_the_head_of_the_stream_is_no_stream(full: Desk) -> None:
    """It ends, and nobody watches."""
    answer = full.client.head("/events")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == b""
    assert beats() == []


def test_too_many_are_not_heard(queue: eventq.Queue) -> None:
    """There is a bound, and after the end nobody is let in."""
    pulse = pulse_of(queue)

    async def crowd() -> list[bool]:
        loop = asyncio.get_running_loop()
        count = live_module.MOST_WATCHERS + 1
        return [pulse.join(Watcher(loop)) for _ in range(count)]

    joined = asyncio.run(crowd())
    pulse.close()

    assert joined == [True] * live_module.MOST_WATCHERS + [False]
    assert asyncio.run(crowd()) == [False] * len(joined)


def test_the_end_wakes_who_waits(queue: eventq.Queue) -> None:
    """A stream that waits for the next beat ends with the console."""
    pulse = pulse_of(queue)

    async def watch() -> None:
        watcher = Watcher(asyncio.get_running_loop())
        pulse.join(watcher)
        await watcher.next(PATIENT_S)
        waiting = asyncio.create_task(watcher.next(PATIENT_S))
        await asyncio.to_thread(pulse.close)
        await waiting
        assert pulse.is_closed

    asyncio.run(watch())


def test_the_more_pages_watch_the_longer_each_rests(queue: eventq.Queue) -> None:
    """All of them together look ten times a second at the most."""
    pulse = pulse_of(queue)

    async def watch(count: int) -> Beat | None:
        watchers = [Watcher(asyncio.get_running_loop()) for _ in range(count)]
        for each in watchers:
            pulse.join(each)
        await watchers[0].next(PATIENT_S)
        await asyncio.to_thread(queue.new)
        beat = await watchers[0].next(PATIENT_S)
        for each in watchers:
            pulse.leave(each)
        return beat

    few, many = asyncio.run(watch(2)), asyncio.run(watch(50))
    pulse.close()

    assert few is not None
    assert many is not None
    assert few.rest_ms == live_module.REST_MS
    assert many.rest_ms == 50 * live_module.LOOK_MS


def test_counts_over_all_lanes_are_not_told_to_who_sees_some(full: Desk) -> None:
    """They hear that something has happened, and their page says what they may know of it."""

    async def first_beat(lanes: frozenset[str] | None) -> bytes:
        person = Person("ada", lanes=lanes)
        console = full.app.state.console
        answer = watch(console, Request({"type": "http"}), person)
        assert isinstance(answer, StreamingResponse)
        # The first word says when to come again.
        async for word in answer.body_iterator:
            found = word.encode() if isinstance(word, str) else bytes(word)
            if b"data" in found:
                return found
        raise AssertionError

    assert b'"ready":' in asyncio.run(first_beat(None))
    told = asyncio.run(first_beat(frozenset({"mail"})))
    assert b'"counts":{}' in told
    assert b'"seq":' in told


def test_a_right_that_is_taken_away_ends_the_stream(
    full: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who watches is asked for again, though nothing happens."""
    monkeypatch.setattr("eventq.web.watching.ASK_AGAIN_S", 0.0)
    monkeypatch.setattr("eventq.web.watching.WORD_S", 0.01)

    async def heard() -> list[bytes]:
        console = full.app.state.console
        answer = watch(console, Request({"type": "http"}), Person("ada"))
        assert isinstance(answer, StreamingResponse)
        found: list[bytes] = []
        async for word in answer.body_iterator:
            found.append(word.encode() if isinstance(word, str) else bytes(word))
            if b"data" in found[-1]:
                full.person = None
        return found

    found = asyncio.run(heard())

    assert any(b"event: beat" in each for each in found)
    assert b"event: bye" in found[-1]
    assert not full.app.state.console.pulse._watchers
