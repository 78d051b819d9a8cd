"""Which looks hold at a position: each is filed under one number, and a position has few of them.

A look that holds from one position up to another is filed under the roundest number in it, the one
with the most zeros at its end in binary; the numbers under which all looks around a position are
filed are one for each bit. (The relational interval tree of Kriegel, Poetke and Seidl, 2000.)
"""

from __future__ import annotations

# More bits than the positions of a log have.
BITS = 40


def fork_of(first: int, last: int) -> int:
    """The number under which a look is filed that holds from ``first`` up to ``last``, inclusive.

    >>> fork_of(5, 5), fork_of(5, 9), fork_of(9, 13)
    (5, 8, 12)
    """
    differing = (first ^ last).bit_length()
    return (last >> (differing - 1)) << (differing - 1) if differing else first


def forks_around(position: int, most: int) -> list[int]:
    """The numbers under which any look that holds at the position is filed; none is over ``most``.

    >>> forks_around(9, 13)
    [9, 10, 12, 8]
    """
    found = [position]
    for bits in range(1, BITS):
        fork = (position >> bits << bits) + (1 << (bits - 1))
        if fork <= most:
            found.append(fork)
        if 1 << (bits - 1) > most:
            break
    return list(dict.fromkeys(found))
