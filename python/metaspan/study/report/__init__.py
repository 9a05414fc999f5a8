r"""Make the tables and the report of a study."""
