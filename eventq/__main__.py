"""``python -m eventq`` is the ``eventq`` command; nothing else lives here."""

from eventq.cli import main

if __name__ == "__main__":
    main()
