"""``python -m walrus_ts.cli``."""

from walrus_ts.cli import main

main()
