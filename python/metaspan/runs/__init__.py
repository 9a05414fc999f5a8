r"""Training runs: the loop, checkpoints, results and their files."""
