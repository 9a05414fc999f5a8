r"""How rounds are computed: one module per engine, and where the trials stand."""
