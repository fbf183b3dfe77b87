# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps: where a location is, how a map is read, and how it is drawn at another size."""
