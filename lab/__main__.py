"""`python -m lab` is the same as `scripts/lab`."""

from lab.cli import main

raise SystemExit(main())
