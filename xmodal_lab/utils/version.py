"""The version, in one place: pyproject.toml and results read it here."""

__version__ = "0.1.0.dev0"
