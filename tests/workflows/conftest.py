"""The program, as the command-line tests run it."""

from tests.cli.conftest import edgekit

__all__ = ["edgekit"]
