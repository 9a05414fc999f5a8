r"""Where tasks come from: laws of heads and features, and data of the user's own."""
