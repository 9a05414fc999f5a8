r"""Training runs: the loop over rounds, checkpoints, results and their files."""
