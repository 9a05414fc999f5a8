r"""Fits laws to the measures of a study."""
