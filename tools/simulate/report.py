"""Adds a campaign's figures to a page of the documentation: when, on what, with what, what came."""

from __future__ import annotations

from pathlib import Path

from tools.figures import add_figures
from tools.simulate.campaign import Campaign


def add_to(page: Path, campaign: Campaign, *, jobs: int) -> None:
    """Adds what it came to, and for a long one whether it has reached what is rare."""
    failed = f": {', '.join(map(str, campaign.failed))}" if campaign.failed else ""
    reached = []
    if campaign.is_long:
        short = campaign.short()
        reached = [
            f"Reached less than a hundred times: {', '.join(short)}"
            if short
            else "Each rare case was reached a hundred times or more"
        ]
    add_figures(
        page, f"Simulation by {max(1, jobs)} at a time", f"{campaign.line()}{failed}", reached
    )
