r"""Laws fitted to the tables of studies."""
