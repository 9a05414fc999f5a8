r"""Runs studies: plans and does jobs, stores rows in files, and shows progress and status."""
