r"""Configurations of training runs: arguments, checked and resolved before anything starts."""
