"""``python -m tools.demo_report``: runs the demo, and writes its report into the docs.

It replaces the block of text behind the heading, and no more.
"""

from __future__ import annotations

import sys

from tools.demo_report.page import PAGE, replaced, run_demo


def main() -> int:
    """Runs the demo of 200 files, and writes the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replaced(text, run_demo(200)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
