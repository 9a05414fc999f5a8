r"""Fit laws to the measures of a study."""
