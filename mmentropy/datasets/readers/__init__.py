# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One file a data set, and what readers share."""
