# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The plan is what a few images took, times their number."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mmentropy.segmentation import Context, ForeignMaps, SeedPipeline
from mmentropy.segmentation.pipeline import print_plan
from mmentropy.segmentation.planning import IMAGES, TrainingLength, _upstream, measured_plan


@pytest.fixture
def pipeline(voc, chain, tmp_path) -> SeedPipeline:
    return SeedPipeline(chain, Context(tmp_path / 'run', voc, quiet=True, device='cpu'))


def test_what_was_measured_times_the_images(pipeline, monkeypatch, capsys):
    asked = []
    real = ForeignMaps.process

    def slow(self, ctx, key):
        asked.append(key)
        time.sleep(0.2)
        real(self, ctx, key)

    monkeypatch.setattr(ForeignMaps, 'process', slow)
    rows = {row['stage']: row for row in measured_plan(pipeline)}
    assert asked == pipeline.ctx.data.ids()[:IMAGES]
    assert rows['maps']['seconds'] >= 10 * 0.2
    assert all(row['measured'] for row in rows.values())
    assert not pipeline.ctx.work_dir.exists()
    monkeypatch.setattr(ForeignMaps, 'process', real)
    pipeline.run()
    sizes = {name: sum(path.stat().st_size for path in (pipeline.ctx.work_dir / name).glob('20*.*')) for name in rows}
    for name, row in rows.items():
        assert row['bytes'] == pytest.approx(sizes[name], rel=0.5), name  # four images stand for ten
    print_plan(list(rows.values()))
    assert 'measuring' in capsys.readouterr().out


def test_what_cannot_be_measured_keeps_the_guess(pipeline, monkeypatch, caplog):
    monkeypatch.setattr(ForeignMaps, 'process', lambda self, ctx, key: Path('nowhere').read_bytes())
    rows = measured_plan(pipeline)
    assert [row['measured'] for row in rows] == [False] * 4
    assert rows[0]['seconds'] == pipeline.plan()[0]['seconds']
    assert 'maps cannot be measured beforehand' in caplog.text


def test_finished_stages_take_no_time(pipeline, monkeypatch):
    pipeline.run()
    monkeypatch.setattr(ForeignMaps, 'process', None)  # and nothing is tried
    assert [row['seconds'] for row in measured_plan(pipeline)] == [0] * 4


def test_lengths_and_sources(pipeline):
    assert TrainingLength(max_epochs=40, batch_size=32).steps(800) == 1000
    assert TrainingLength(max_iters=600, batch_size=16).steps(800) == 600
    assert _upstream(pipeline, {'crf'}) == {'crf', 'seed', 'maps'}
