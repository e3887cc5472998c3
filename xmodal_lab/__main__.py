"""``python -m xmodal_lab`` is ``xmodal``: for where the command is not on the path."""

from __future__ import annotations

import sys

from .app.main import main

if __name__ == "__main__":
    sys.exit(main())
