"""Training without looking at validation: the same weights, sooner."""

import pyarrow.parquet as pq
from safetensors.torch import load_file

from conrec.stages.utilize import Training
from tests.jobs import job

PARTS = ("warmup", "stage1")


def test_validation_changes_no_weight(live, tmp_path):
    watched = live.run / "utilize" / "seed0"
    training = Training.of(job(live.run, "utilize", live.recipe, out=tmp_path), watched=False)
    training.warm_up()
    training.grpo()
    for part in PARTS:
        alone, beside = (load_file(folder / part / "weights.safetensors") for folder in (tmp_path, watched))
        assert alone.keys() == beside.keys()
        assert all(alone[name].equal(beside[name]) for name in alone)
        curves, all_curves = (pq.read_table(folder / part / "curves.parquet") for folder in (tmp_path, watched))
        splits = all_curves["split"].to_pylist()
        assert "validation" in splits
        assert curves.equals(all_curves.filter([split == "train" for split in splits]))
