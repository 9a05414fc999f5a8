r"""Makes the tables and the report of a study."""
