r"""Domain-independent helpers: checks of arguments, files, memory, signals, progress."""
