# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a progress bar shows."""

from __future__ import annotations

import io

from rich.console import Console

from mmentropy.progress import progress_bar


def test_description_count_and_times():
    file = io.StringIO()
    with progress_bar(Console(file=file, width=120)) as bar:
        bar.update(bar.add_task('evaluate', total=4), completed=3)
    shown = file.getvalue()
    assert 'evaluate' in shown
    assert '3/4' in shown
    assert 'left' in shown
