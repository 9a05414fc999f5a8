r"""Reproduces the figures of the paper, and measures the error floor of runs on finite samples."""
