r"""What a study is: constants, grid, expressions, cells and measures."""
