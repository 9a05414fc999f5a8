r"""Run a study: plan, jobs, rows in files, progress and status."""
