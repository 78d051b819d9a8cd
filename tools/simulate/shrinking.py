"""From a seed that fails to fewer steps that fail alike; each step draws by itself, so that it can.

What is left out changes what the others meet, but not what they draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tools.simulate.simulation import Simulation

# Parts that steps are cut into at first, and the most tries there are.
PARTS = 8
TRIES = 200


def shrink(seed: int, steps: int, tell: Callable[[str], None]) -> set[int]:
    """Tells how to replay the least that was found; returns the steps that are left out."""
    rule = rule_of(seed, steps, set())
    if rule is None:
        tell(f"seed {seed} does not fail")
        return set()
    kept = list(range(1, steps + 1))
    parts, tries = PARTS, 0
    while parts <= len(kept) and tries < TRIES:
        length = -(-len(kept) // parts)
        for begin in range(0, len(kept), length):
            tries += 1
            fewer = kept[:begin] + kept[begin + length :]
            if rule_of(seed, steps, without(steps, fewer)) == rule:
                kept = fewer
                tell(f"{len(kept)} steps fail alike ({rule})")
                break
        else:
            parts *= 2
    skipped = without(steps, kept)
    tell(f"python -m tools.simulate --seed {seed} --steps {steps} --skip {text_of(skipped)}")
    return skipped


def rule_of(seed: int, steps: int, skipped: set[int]) -> str | None:
    """Which rule fails first; None where none does."""
    findings = Simulation(seed).play(steps, skipped=skipped).findings
    return findings[0].rule if findings else None


def without(steps: int, kept: Iterable[int]) -> set[int]:
    """The steps that are not kept."""
    return set(range(1, steps + 1)).difference(kept)


def text_of(steps: Iterable[int]) -> str:
    """Steps as the command takes them, like ``3-17,40``.

    >>> text_of({3, 4, 5, 9})
    '3-5,9'
    """
    ranges: list[list[int]] = []
    for step in sorted(steps):
        if ranges and ranges[-1][1] == step - 1:
            ranges[-1][1] = step
        else:
            ranges.append([step, step])
    return ",".join(f"{low}-{high}" if high > low else f"{low}" for low, high in ranges)


def steps_of(text: str) -> set[int]:
    """The steps that a text names.

    >>> sorted(steps_of("3-5,9"))
    [3, 4, 5, 9]
    """
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return found
