"""What a stored event leaves out: each default is part of the format, as fixed as a name.

Logs omit fields that hold their default; another default would change what old events mean.
"""

from __future__ import annotations

import typing

import msgspec
import pytest
from msgspec import NODEFAULT, UNSET, Raw, Struct

from eventq.core.commits import AnyBody
from eventq.core.definitions import Definition
from eventq.core.events import Body, Reopening, Restoring
from eventq.core.timing import DueRules, Timing
from eventq.core.values import Call, ErrorInfo, Policy, Predecessor, ProcessExit, Scope

BY_HAND: dict[str, object] = {"by": None, "via": "code", "bulk": None, "undoes": None}
ASKED: dict[str, object] = {**BY_HAND, "reason": ""}
# New fields are added here with the default that means what their absence meant before.
DEFAULTS: dict[str, dict[str, object]] = {
    "Policy": {
        "backoff_cap_us": None,
        "jitter": 0.0,
        "max_retries": None,
        "max_age_us": None,
        "deadline_us": None,
        "max_lapses": None,
    },
    "ErrorInfo": {"message": "", "traceback": ""},
    "Reopening": {
        "key": None,
        "priority": 0,
        "tags": Raw(b"{}"),
        "expires_at": None,
        "last_error": None,
        "name": None,
        "lane": None,
        "needs": (),
        "snoozes": 0,
        "unique": None,
        "saved": UNSET,
        "schedule": None,
        "due": None,
        "after": (),
        "if_failed": "cancel",
        "given": None,
        "flow": None,
        "role": "member",
        "limits": (),
        "share": None,
        "trace": None,
        "secret": (),
        "retries": 0,
        "lapses": 0,
        "started_at": None,
    },
    "Restoring": {"retries": 0, "lapses": 0, "expires_at": None, "started_at": None, "reason": ""},
    "Bulk": {
        **ASKED,
        "selector": UNSET,
        "start_at": None,
        "interval_us": 0,
        "priority": None,
        "tags": UNSET,
        "scheduled_at": None,
        "lane": None,
        "skip": True,
    },
    "BulkEnded": {**BY_HAND, "moved_on": 0, "left": (), "skip": True},
    "Created": {
        "key": None,
        "priority": 0,
        "tags": Raw(b"{}"),
        "scheduled_at": None,
        "expires_at": None,
        "name": None,
        "lane": None,
        "needs": (),
        "unique": None,
        "repeats": None,
        "made_by": None,
        "schedule": None,
        "due": None,
        "after": (),
        "if_failed": "cancel",
        "given": None,
        "flow": None,
        "flow_key": None,
        "role": "member",
        "limits": (),
        "share": None,
        "trace": None,
        "secret": (),
    },
    "Timing": {"cron": None, "zone": "UTC", "every_us": None, "jitter_us": 0},
    "DueRules": {"catch_up": 1, "within_us": None, "overlap": "skip"},
    "Definition": {"version": 0, "replaced": ()},
    "Call": {
        "tags": Raw(b"{}"),
        "priority": 0,
        "name": None,
        "lane": None,
        "needs": (),
        "delay_us": None,
        "unique": None,
        "limits": (),
        "share": None,
        "secret": (),
    },
    "Planned": {
        "next_at": None,
        "shift_us": 0,
        "paused": False,
        "code": None,
        **ASKED,
    },
    "Unplanned": ASKED,
    "Ticked": {
        "next_at": None,
        "count": 1,
        "hand": None,
        **ASKED,
    },
    "Leased": {},
    "Completed": {"result": UNSET, "result_missing": None, "made": 0},
    "Failed": {"rule": None, "exit": None},
    "ProcessExit": {
        "code": None,
        "signal": None,
        "killed_after_us": None,
        "peak_bytes": None,
        "memory_bytes": None,
    },
    "Retried": {**ASKED, "reopens": None, "revives": False, "revived_by": None},
    "Revived": {"skipped": ()},
    "Predecessor": {"verdict": None},
    "Expired": {**BY_HAND, "restores": None},
    "Cancelled": {**ASKED, "cause": None, "restores": None},
    "Renewed": {},
    "Released": {"reason": "", "scheduled_at": None},
    "Updated": {
        "priority": None,
        "tags": UNSET,
        "scheduled_at": None,
        **ASKED,
        "waives": False,
        "secret": (),
        "lane": None,
    },
    "Refused": {},
    "Joined": {"names": (), "unnamed": False, "lanes": None, "signatures": {}},
    "Left": {},
    "Followed": {"kinds": None, "names": None, "code": "", "error": None, "failures": 0},
    "Unfollowed": ASKED,
    # Stored all the same: who does not know the kind has to read it.
    "Progressed": {"skip": True, "done": 0, "total": None, "note": ""},
    "Saved": {"skip": True, "value": Raw(b"null")},
    "Noted": {"skip": True, "lines": ()},
    "Scope": {"lane": None, "name": None, "limit": None, "value": None, "tags": ()},
    "Paused": {"until": None, **ASKED},
    "Resumed": ASKED,
    "Limited": {
        "running": None,
        "rate": None,
        "per_us": None,
        "per": None,
        "code": None,
        **ASKED,
    },
    "Shared": {"per": None, "weights": {}, "lifted": False, "code": None, **ASKED},
}
STORED: list[type[Struct]] = [
    Policy,
    ErrorInfo,
    ProcessExit,
    Predecessor,
    Reopening,
    Restoring,
    Timing,
    DueRules,
    Definition,
    Call,
    Scope,
    *typing.get_args(AnyBody),
]


@pytest.mark.parametrize("struct", STORED)
def test_defaults_never_change(struct: type[Struct]) -> None:
    """What is left out means today what it meant when it was written."""
    fields = msgspec.structs.fields(struct)

    defaults = {
        field.name: field.default if field.default_factory is NODEFAULT else field.default_factory()
        for field in fields
        if not field.required
    }

    wanted = DEFAULTS[struct.__name__]
    assert defaults == (wanted | {"decided_at": None} if issubclass(struct, Body) else wanted)
