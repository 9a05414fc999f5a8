r"""What a training run is: its arguments, checked and resolved before anything starts."""
