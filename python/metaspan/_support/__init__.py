r"""What knows nothing of the domain: checks of arguments, files, memory, signals, progress."""
