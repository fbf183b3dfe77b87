# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The package's one style of progress bar."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar(console: Console | None = None) -> Progress:
    """Description, bar, count, elapsed and remaining time, on stderr unless a console is given."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn('left'), TimeRemainingColumn(), console=console or Console(stderr=True))
