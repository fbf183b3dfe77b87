# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps in the browser: ``mmentropy explore``. Needs the extra ``explore``."""
