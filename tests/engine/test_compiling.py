# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import logging

import pytest
import torch

from mmentropy.engine.compiling import LOGGER, compile_what_goes


@pytest.fixture
def _as_before():
    import torch._dynamo

    yield
    torch._dynamo.reset()
    torch._dynamo.config.suppress_errors = False
    logger = logging.getLogger(LOGGER)
    for known in list(logger.filters):
        logger.removeFilter(known)


@pytest.mark.usefixtures('_as_before')
def test_what_cannot_be_compiled_runs_eagerly_and_is_told_once(capsys):
    def refuse(graph, inputs):
        raise RuntimeError('no such thing')

    compile_what_goes('MyModel')
    double, triple = (torch.compile(lambda x, n=n: n * x, backend=refuse) for n in (2, 3))
    x = torch.arange(3.0)
    assert torch.equal(double(x), 2 * x)
    assert torch.equal(triple(x), 3 * x)
    said = capsys.readouterr().err
    assert said.count('torch.compile cannot compile all of MyModel; the rest runs eagerly') == 1
    assert 'Traceback' not in said
