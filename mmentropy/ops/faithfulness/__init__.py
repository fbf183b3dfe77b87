# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Is a map faithful to its model? Figures that need no boxes, and two that do."""
