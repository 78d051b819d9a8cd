"""The rules of retry, backoff and expiry; no clock is read and no chance is drawn here."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import force_setattr

from eventq.core.durations import LONGEST_US, Duration, parse_duration
from eventq.core.plain import plain
from eventq.core.values import NO_JITTER, BackoffKind, Policy
from eventq.errors import ArgumentError

# The n-th retry comes n times this after the failure, unless the caller says otherwise.
DEFAULT_BACKOFF = "10s"
# Distinct policies shared, so that a caller who varies them endlessly costs no memory.
POLICIES_KEPT = 1_000


class Backoff(Struct, frozen=True, gc=False):
    """How long to wait before the n-th retry. Make one with the class methods.

    >>> wait_us(Backoff.exponential("1s", cap="1m").policy(), retry=4, draw=0.0)
    8000000
    """

    kind: BackoffKind
    base_us: int
    cap_us: int | None = None
    jitter: float = NO_JITTER

    def __post_init__(self) -> None:
        """Checks one that was made by hand as the class methods do. Raises ArgumentError."""
        for field in self.__struct_fields__:
            # Frozen, so set by force: whoever reads it later asks no subclass.
            force_setattr(self, field, plain(getattr(self, field)))
        if self.kind not in get_args(BackoffKind):
            raise ArgumentError("kind", self.kind, f"one of {', '.join(get_args(BackoffKind))}")
        for name, wait in (("base_us", self.base_us), ("cap_us", self.cap_us)):
            if wait is None and name == "cap_us":
                continue
            if type(wait) is not int or not 0 <= wait <= LONGEST_US:
                raise ArgumentError(name, wait, f"microseconds from 0 to {LONGEST_US}")
        if type(self.jitter) not in {int, float} or not 0 <= self.jitter <= 1:
            raise ArgumentError("jitter", self.jitter, "a number from 0 to 1")
        force_setattr(self, "jitter", float(self.jitter))

    @classmethod
    def constant(cls, wait: Duration, *, jitter: float = 0.0) -> Backoff:
        """Always ``wait``."""
        return cls("constant", parse_duration(wait, "wait"), None, jitter)

    @classmethod
    def linear(cls, step: Duration, *, cap: Duration | None = None, jitter: float = 0.0) -> Backoff:
        """``n * step`` before the n-th retry, never more than ``cap``."""
        return cls("linear", parse_duration(step, "step"), _cap(cap), jitter)

    @classmethod
    def exponential(
        cls, first: Duration, *, cap: Duration | None = None, jitter: float = 0.0
    ) -> Backoff:
        """``first``, then twice as long each time, never more than ``cap``.

        ``jitter`` is the share of the wait, 0 to 1, that chance may take away.
        """
        first_us = parse_duration(first, "first")
        return cls("exponential", first_us, _cap(cap), jitter)

    def policy(
        self,
        *,
        max_retries: int | None = None,
        max_age_us: int | None = None,
        deadline_us: int | None = None,
    ) -> Policy:
        """The policy recorded in a task's ``created`` event."""
        return Policy(
            backoff=self.kind,
            backoff_us=self.base_us,
            backoff_cap_us=self.cap_us,
            jitter=self.jitter or NO_JITTER,
            max_retries=max_retries,
            max_age_us=max_age_us,
            deadline_us=deadline_us,
        )


def wait_us(policy: Policy, *, retry: int, draw: float) -> int:
    """Microseconds from the failure to retry number ``retry`` (1 for the first).

    ``draw`` is a random number from 0 up to 1, used only when the policy has jitter.
    """
    if policy.backoff == "constant":
        wait = policy.backoff_us
    elif policy.backoff == "linear":
        wait = policy.backoff_us * retry
    else:
        # Past 2**62 every base has long met the cap below; the shift stays a small number.
        wait = policy.backoff_us << min(retry - 1, 62)
    cap_us = LONGEST_US if policy.backoff_cap_us is None else policy.backoff_cap_us
    wait = min(wait, cap_us)
    return wait - int(wait * policy.jitter * draw) if policy.jitter else wait


def after_failure(
    policy: Policy,
    *,
    retry_count: int,
    failed_at: int,
    expires_at: int | None,
    draw: float,
    delay_us: int | None = None,
) -> int | Literal["max_age", "max_retries"]:
    """The instant of the next retry, or why there is none.

    ``retry_count`` counts the retries already used; ``delay_us`` replaces the policy's wait.
    The rule: retry while retries are left and the instant lies before ``expires_at``.
    """
    if policy.max_retries is not None and retry_count >= policy.max_retries:
        return "max_retries"
    delay = wait_us(policy, retry=retry_count + 1, draw=draw) if delay_us is None else delay_us
    retry_at = failed_at + delay
    if expires_at is not None and retry_at >= expires_at:
        return "max_age"
    return retry_at


def _cap(cap: Duration | None) -> int | None:
    return None if cap is None else parse_duration(cap, "cap")


class SharedPolicies:
    """Makes equal policies one object, which is most of what a pending task weighs less."""

    def __init__(self) -> None:
        self._known: dict[Policy, Policy] = {}

    def share(self, policy: Policy) -> Policy:
        """The policy, or an equal one met before."""
        if len(self._known) > POLICIES_KEPT:
            self._known.clear()
        return self._known.setdefault(policy, policy)
