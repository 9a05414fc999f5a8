"""Runs the command line as ``python -m metaspan``, without the installed script."""

from .cli import main

raise SystemExit(main())
