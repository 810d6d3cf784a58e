"""The benchmark of new items: what content says of them counts there, and hardly where people have judged."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.new_items import main
from conrec.config import DataConfig, ItemsConfig, Recipe, SidConfig, SplitConfig
from conrec.errors import ConrecError
from conrec.run import run_stages, stages_of

pytestmark = pytest.mark.slow

WORDS = ("leather boots", "plastic lamp")


def run_of(folder: Path, told: bool) -> Path:
    """A run up to compress: half of the users dislike one kind of items, half the other. told: titles say which kind an
    item is; otherwise they say it of items at random."""
    rng = random.Random(0)
    data = folder / "log"
    data.mkdir(parents=True)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with (data / "events.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "time", "kind"])
        for user in range(120):
            for n, item in enumerate(rng.sample(range(60), 30)):
                unlike = (item % 2 == user % 2) != (rng.random() < 0.1)
                time = start + timedelta(days=user % 40, hours=n)
                rows.writerow([f"u{user}", f"i{item}", time.isoformat(), "dislike" if unlike else "favorite"])
    kinds = [item % 2 for item in range(60)]
    if not told:
        rng.shuffle(kinds)
    with (data / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title"])
        rows.writerows([f"i{item}", f"{WORDS[kind]} {rng.choice('abcdef')}"] for item, kind in enumerate(kinds))
    recipe = Recipe(
        name="camps",
        data=DataConfig("generic"),
        split=SplitConfig(mode="users", cutoffs="per_user"),
        items=ItemsConfig(image="none"),
        sid=SidConfig(method="kmeans"),
    )
    run_stages(stages_of(recipe), recipe, folder / "run", data, last="compress", begin=True)
    return folder / "run"


def test_content_tells_new_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run_of(tmp_path / name, told) for name, told in (("without", False), ("with", True))]
    capsys.readouterr()
    main(runs)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    gains = {row[0]: float(row[3].split()[0]) for row in lines if "less" in row[1]}
    levels = {(row[0], row[1]): float(row[3]) for row in lines if "less" not in row[1]}
    assert gains["new"] > 0.2 > gains["known"]
    assert levels["new", str(runs[0])] < 0.65 < 0.8 < levels["new", str(runs[1])]
    assert levels["known", str(runs[0])] > 0.8
    counts = [int(row[2].replace(",", "")) for row in lines if row[2]]
    assert counts[0] == counts[1] < counts[2] == counts[3]


def test_a_log_split_by_time_is_refused(tmp_path: Path) -> None:
    run_stages((), Recipe(), tmp_path / "run", begin=True)
    with pytest.raises(ConrecError, match="split by time"):
        main([tmp_path / "run"])
