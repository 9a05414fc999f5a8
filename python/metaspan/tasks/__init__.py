r"""Sources of tasks: distributions of heads and features, and batches of the user's own data."""
