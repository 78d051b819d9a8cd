"""From a seed that fails to less that fails alike: fewer nodes, features and kinds, fewer turns.

Each turn draws by itself: what is left out changes what the others meet, but not what they draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tools.simulate.simulation import Played, Simulation

# Parts that turns are cut into at first, and the most tries there are.
PARTS = 8
TRIES = 200


def shrink(seed: int, steps: int, tell: Callable[[str], None]) -> set[int]:
    """Tells how to replay the least that was found; returns the turns that are left out."""
    simulation = Simulation(seed)
    played = simulation.play(steps)
    if not played.findings:
        tell(f"seed {seed} does not fail")
        return set()
    rule, turns = played.findings[0].rule, played.turns

    def fails(without: Iterable[str], skipped: set[int]) -> bool:
        return rule_of(seed, steps, turns, without=without, skipped=skipped) == rule

    without: list[str] = []
    for name in simulation.parts():
        if fails([*without, name], set()):
            without.append(name)
            tell(f"without {name} it fails alike ({rule})")
    kept = list(range(1, turns + 1))
    parts, tries = PARTS, 0
    while parts <= len(kept) and tries < TRIES:
        length = -(-len(kept) // parts)
        for begin in range(0, len(kept), length):
            tries += 1
            fewer = kept[:begin] + kept[begin + length :]
            if fails(without, others(turns, fewer)):
                kept = fewer
                tell(f"{len(kept)} turns fail alike ({rule})")
                break
        else:
            parts *= 2
    skipped = others(turns, kept)
    options = f"--seed {seed} --turns {turns} --skip {text_of(skipped)}"
    if without:
        options += f" --without {','.join(without)}"
    tell(f"python -m tools.simulate {options}")
    return skipped


def rule_of(
    seed: int, steps: int, turns: int, *, without: Iterable[str] = (), skipped: Iterable[int] = ()
) -> str | None:
    """Which rule fails first; None where none does."""
    simulation = Simulation(seed, without=list(without))
    played: Played = simulation.play(steps, turns=turns, skipped=set(skipped))
    return played.findings[0].rule if played.findings else None


def others(turns: int, kept: Iterable[int]) -> set[int]:
    """The turns that are not kept."""
    return set(range(1, turns + 1)).difference(kept)


def text_of(turns: Iterable[int]) -> str:
    """Turns as the command takes them, like ``3-17,40``.

    >>> text_of({3, 4, 5, 9})
    '3-5,9'
    """
    ranges: list[list[int]] = []
    for turn in sorted(turns):
        if ranges and ranges[-1][1] == turn - 1:
            ranges[-1][1] = turn
        else:
            ranges.append([turn, turn])
    return ",".join(f"{low}-{high}" if high > low else f"{low}" for low, high in ranges)


def turns_of(text: str) -> set[int]:
    """The turns that a text names.

    >>> sorted(turns_of("3-5,9"))
    [3, 4, 5, 9]
    """
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return found
