r"""Specifies studies: constants, grids, expressions, cells, measures and TOML files."""
