"""``python -m bench``: see scripts/bench."""

from bench.cli import main

raise SystemExit(main())
