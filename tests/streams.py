"""Substitutes for `sys.stderr` that are not terminals, some of them closed or broken."""

import io

import pytest


class Logger:
    """A stream with the method `write` alone."""

    def write(self, text):
        return len(text)


class Broken(Logger):
    """A stream whose methods all fail."""

    isatty = False

    def write(self, text):
        raise OSError("the disk is full")

    def fileno(self):
        raise io.UnsupportedOperation("fileno")


def no_terminals():
    """Return the substitutes for `sys.stderr` as parameters of a test."""
    closed = io.StringIO()
    closed.close()
    found = {"none": None, "closed": closed, "logger": Logger(), "broken": Broken()}
    return [pytest.param(stream, id=name) for name, stream in found.items()]
