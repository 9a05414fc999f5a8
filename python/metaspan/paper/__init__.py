r"""The figures of the paper, and the error floor of finite samples."""
