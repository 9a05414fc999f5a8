r"""What theory predicts."""
