r"""General helpers for checks of arguments, files, memory, signals and the display of progress."""
