# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Many runs: comparison, sweep, methods grid, analysis, tables, evaluation of folders of maps."""
