r"""Estimators of the representation: algorithms that see samples only as products with X."""
