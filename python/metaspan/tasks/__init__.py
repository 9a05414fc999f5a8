r"""Sources of tasks: laws of heads and features, and batches of the user's own data."""
