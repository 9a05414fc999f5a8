r"""What a run takes: the machine's rates, the routes of a round, and the estimate."""
