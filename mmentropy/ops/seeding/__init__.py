# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From class maps to seeds, and what seeds are worth at every threshold."""
