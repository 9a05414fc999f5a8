r"""Tables, pages and commands of studies."""
