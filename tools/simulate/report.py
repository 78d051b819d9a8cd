"""Adds a campaign's figures to a page of the documentation: when, on what, with what, what came."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from eventq.core.version import __version__
from tools.simulate.campaign import Campaign


def add_to(page: Path, campaign: Campaign, *, jobs: int) -> None:
    """Appends one line to the page, which ends with figures."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    where = (
        f"eventq {__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} cores, {max(1, jobs)} playing"
    )
    failed = f": {', '.join(map(str, campaign.failed))}" if campaign.failed else ""
    text = f"- Simulation, {day} ({where}): {campaign.line()}{failed}."
    if campaign.is_long:
        short = campaign.short()
        text += (
            f" Reached less than a hundred times: {', '.join(short)}."
            if short
            else " Each rare case was reached a hundred times or more."
        )
    before = page.read_text(encoding="utf-8").rstrip("\n")
    page.write_text(f"{before}\n{text}\n", encoding="utf-8")
