# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Importing this module checks that the host packages are there; host-facing packages import it first of all."""

from mmentropy.hosts import require_hosts

require_hosts()
