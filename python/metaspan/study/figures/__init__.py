r"""Figures of studies."""
