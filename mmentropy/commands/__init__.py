# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The command ``mmentropy``: one name for everything under ``tools/``. Nothing heavy is imported here."""

from .dispatch import run_command

__all__ = ['run_command']
