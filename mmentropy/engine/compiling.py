# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""``compile=True`` in a config: what torch cannot compile runs eagerly, and one line says so."""

from __future__ import annotations

import logging
import sys

LOGGER = 'torch._dynamo.convert_frame'


class _SayOnce(logging.Filter):
    """One sentence in place of a stack for every frame."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model, self.said = model, False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING and not self.said:
            self.said = True
            reason = next((line.strip() for line in record.getMessage().splitlines() if 'rror' in line), '')
            print(
                f'torch.compile cannot compile all of {self.model}; the rest runs eagerly {reason}'.strip(),
                file=sys.stderr,
            )
        return False


def compile_what_goes(model: str) -> None:
    """Let ``torch.compile`` fall back to eager execution, frame by frame, instead of ending the run.

    Args:
        model: what the one message calls it.
    """
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True
    logger = logging.getLogger(LOGGER)
    for old in [known for known in logger.filters if isinstance(known, _SayOnce)]:
        logger.removeFilter(old)
    logger.addFilter(_SayOnce(model))
