r"""Estimators of the representation: algorithms that see the samples as products with X alone."""
