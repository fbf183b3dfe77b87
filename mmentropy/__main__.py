# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""``python -m mmentropy``, and the command ``mmentropy``."""

from mmentropy.commands import run_command

if __name__ == '__main__':
    run_command()
