# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Before training: unpack, check, split, export."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
