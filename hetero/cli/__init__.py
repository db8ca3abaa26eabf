"""The command line. Exit codes: 0 done, 1 the comparison failed, 2 bad input."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point `hetero`."""
    from hetero.cli.app import app
    from hetero.errors import HeteroError

    try:
        app()
    except HeteroError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `hetero graph model | head`
        sys.stderr.close()
        sys.exit(0)
