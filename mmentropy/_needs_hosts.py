# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Checks, when imported, that the hosts are there, and quiets them; host-facing packages import it first of all."""

from mmentropy.hosts import quiet_hosts, require_hosts, stand_in_for_operators

require_hosts()
quiet_hosts()
stand_in_for_operators()
