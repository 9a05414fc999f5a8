r"""The cost of a run: the machine's rates, the cost of each route, and the estimate."""
