# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From maps to boxes, hits and errors: the protocols."""
