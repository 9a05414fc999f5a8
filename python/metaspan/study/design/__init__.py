r"""Specify a study: constants, grid, expressions, cells, measures and TOML files."""
