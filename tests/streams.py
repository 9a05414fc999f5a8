"""Substitutes for `sys.stderr` that are not terminals, some of them closed or broken."""

import io

import pytest


class Logger:
    """Takes lines, and has nothing else of a stream."""

    def write(self, text):
        return len(text)


class Broken(Logger):
    """Has all of a stream, none of which works."""

    isatty = False

    def write(self, text):
        raise OSError("the disk is full")

    def fileno(self):
        raise io.UnsupportedOperation("fileno")


def no_terminals():
    """Standard errors that are none, as parameters of a test."""
    closed = io.StringIO()
    closed.close()
    found = {"none": None, "closed": closed, "logger": Logger(), "broken": Broken()}
    return [pytest.param(stream, id=name) for name, stream in found.items()]
