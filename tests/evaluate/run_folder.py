"""A small finished run folder, written with numpy, for the tests of the report."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from conrec.evaluate.results import (
    AtThreshold,
    Curve,
    Difference,
    Figure,
    FilterFigures,
    FilterMetrics,
    Metrics,
    Protocol,
    Reliability,
    SplitMetrics,
    StageFigures,
    StageManifest,
    Validity,
    write,
)

EVIL = "<script>alert('title')</script>"
EVIL_USER = "u<img src=https://example.org/x onerror=alert(1)>"
START = datetime(2026, 3, 2, tzinfo=UTC)


def write_run(run: Path, seed: int = 0) -> Path:
    """Everything that the stages leave behind, at the size of a toy. Returns `run`."""
    rng = np.random.default_rng(seed)
    run.mkdir(parents=True, exist_ok=True)
    items = _items(run / "prepare", rng)
    _instances(run, items, rng)
    _curves(run, rng)
    write(run / "metrics.json", metrics())
    write_json(
        run / "prepare" / "accounting.json",
        {
            "read": 51_230,
            "kept": 49_874,
            "dropped": {"counterfeit": 402, "bait_price": 331, "seen_or_bought": 598, "no such item": 25},
            "items": {"read": 2_000, "kept": 1_996, "dropped": {"no title": 4}},
            "images": {"read": 1_996, "kept": 1_950, "dropped": {"missing": 40, "broken": 6}},
        },
    )
    write_json(
        run / "prepare" / "split.json",
        {
            "mode": "time",
            "horizon_days": 7,
            "validation_start": "2026-02-12T00:00:00Z",
            "test_start": "2026-02-19T00:00:00Z",
            "log_end": "2026-03-01T23:59:00Z",
            "counts": {"train": 8012, "validation": 640, "test": 1204},
            "dropped": {"embargo": 611, "no history": 57},
        },
    )
    write_json(
        run / "compress" / "quality.json",
        {
            "items": 1996,
            "dimensions": 32,
            "effective_dimensions": 21.4,
            "levels": [
                {"codes": 64, "used": 1.0, "perplexity": 57.3, "perplexity_per_code": 0.895},
                {"codes": 64, "used": 0.984, "perplexity": 51.0, "perplexity_per_code": 0.797},
                {"codes": 64, "used": 0.953, "perplexity": 47.9, "perplexity_per_code": 0.748},
            ],
            "collisions_before": {"items": 325, "share": 0.163, "largest": 7},
            "collisions_after": {"items": 0, "share": 0.0, "largest": 1},
            "cosine_latent_before": 0.958,
            "cosine_latent_after": 0.953,
            "cosine_input_after": 0.871,
        },
    )
    write_json(run / "compress" / "images.json", {"encoded": 1950, "missing": 40, "broken": 6})
    took = {"prepare": (4.2, 410), "compress": (21.9, 620), "evaluate": (18.0, 505)}
    took |= {"understand/seed0": (88.4, 910), "utilize/seed0": (305.7, 1480), "predict/seed0": (41.3, 890)}
    for name, (seconds, memory) in took.items():
        manifest = StageManifest(
            stage=name.split("/")[0],
            seed=0 if "/" in name else None,
            key="0" * 64,
            outputs="0" * 64,
            versions={"conrec": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
            seconds=seconds,
            peak_memory_mb=memory,
        )
        (run / name).mkdir(parents=True, exist_ok=True)
        write(run / name / "manifest.json", manifest)
    (run / "recipe.toml").write_text('name = "demo"\nseeds = [0]\n\n[simulate]\nusers = 2000 # <b>\n')
    return run


def write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def figure(mean: float | None, half: float = 0.02) -> Figure:
    """A figure of one seed with an even interval; None: nothing counted."""
    if mean is None:
        return Figure(None, (None, None), [None], 0)
    return Figure(mean, (mean - half, mean + half), [mean], 1204)


def difference(value: float, half: float = 0.018) -> Difference:
    low, high = value - half, value + half
    return Difference(value, (low, high), "better" if low > 0 else "worse" if high < 0 else "not significant", 1204)


def filter_figures(power: float, chosen: AtThreshold | None = None) -> FilterFigures:
    """A filter that avoids lost ** power of the dislikes."""
    lost = np.linspace(0, 1, 201)
    avoided = lost**power
    return FilterFigures(
        exposures=9354,
        dislikes=3087,
        likes=4000,
        rate_before=0.33,
        auc=float(np.trapezoid(avoided, lost)),
        avoided_at={budget: float(budget) ** power for budget in ("0.01", "0.02", "0.05")},
        curve=Curve(lost.tolist(), avoided.tolist(), lost.tolist(), lost.tolist(), lost.tolist()),
        chosen=chosen,
    )


def metrics() -> Metrics:
    """metrics.json as the evaluation writes it."""
    means = {
        "conrec": (0.345, 0.288, 0.351, 0.062, 0.322, 0.211),
        "popularity_7d": (0.266, 0.225, 0.270, 0.001, 0.281, 0.092),
        "popularity_14d": (0.304, 0.265, 0.314, 0.001, 0.333, 0.101),
        "popularity_all": (0.225, 0.188, 0.214, 0.000, 0.207, 0.080),
        "category_rule": (0.181, 0.133, 0.190, 0.021, None, 0.122),
        "content_neighbours": (0.127, 0.098, 0.120, 0.034, None, 0.143),
        "oracle": (0.612, 0.518, 0.633, 0.401, 0.590, None),
    }
    names = ("FHR@20", "HR@20", "LUF@20", "LIF@20", "ZUF@20", "CandAcc")
    known = {system: {n: v for n, v in zip(names, values) if v is not None} for system, values in means.items()}
    stages = {
        stage: StageFigures({"FHR@20": figure(0.301 + 0.013 * n), "HR@20": figure(0.24 + 0.01 * n)}, {})
        for n, stage in enumerate(("warmup", "stage1", "stage2", "stage3"))
    }
    stages["stage3"].differences["warmup"] = {"FHR@20": difference(0.039, 0.015), "HR@20": difference(0.03, 0.04)}
    split = SplitMetrics(
        systems={system: {n: figure(v) for n, v in values.items()} for system, values in known.items()},
        comparisons={
            system: {n: difference(known["conrec"][n] - v) for n, v in values.items()}
            for system, values in known.items()
            if system != "conrec"
        },
        stages=stages,
        instances=dict.fromkeys(names, 1204),
        validity=Validity(1.0, 1.0, 0.998),
    )
    chosen = AtThreshold(
        rate_before=0.33, threshold=0.83, dislikes_avoided=0.309, likes_lost=0.02, dropped=0.07, rate_after=0.25
    )
    powers = {"bias": 0.2, "category_rule": 0.7, "content_neighbours": 0.8}
    return Metrics(
        **msgspec.structs.asdict(split),
        dataset="demo",
        split_mode="time",
        fold=None,
        protocol=Protocol(horizon_days=7, k=20, seeds=[0], bootstrap=1000),
        validation=split,
        prior_weights={},
        filter=FilterMetrics(
            instances=500,
            coverage=1.0,
            systems={"conrec": filter_figures(0.3, chosen)} | {n: filter_figures(p) for n, p in powers.items()},
            suppression=None,
            reliability=Reliability(0.0123, [0.1, 0.3, 0.9], [0.12, 0.3, 0.86], [0.1, 0.28, 0.8], [0.14, 0.32, 0.9]),
            likes_lost_budget=0.02,
            seeds=[],
        ),
    )


def _items(folder: Path, rng: np.random.Generator, count: int = 60) -> list[str]:
    """Items with drawn pictures; some have none, a broken one, or a title that is an attack."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    titles = [f"Canvas sneaker no. {n}, low, white sole, for everyday wear" for n in range(count)]
    titles[:6] = [
        EVIL,
        "</title><style>body{display:none}</style>",
        "夏季凉鞋 女 平底",
        "Ünïcode \u202eevil",
        "",
        "{{ 7 * 7 }}",
    ]
    paths: list[str | None] = []
    for n in range(count):
        size = (128, 90) if n % 3 else (85, 128)
        image = Image.new("RGB", size, tuple(int(c) for c in rng.integers(90, 240, 3)))
        drawing = ImageDraw.Draw(image)
        drawing.ellipse((20, 20, 70, 70), fill=tuple(int(c) for c in rng.integers(0, 200, 3)))
        image.save(folder / "images" / f"{n}.jpg")
        paths.append(f"images/{n}.jpg")
    paths[1], paths[7] = None, "images/gone.jpg"
    (folder / "images" / "2.jpg").write_bytes(b"\xff\xd8 not a picture")
    ids = [f"i{n}" for n in range(count)]
    pq.write_table(
        pa.table({"item_id": ids, "title": titles, "image": pa.array(paths, pa.string())}), folder / "items.parquet"
    )
    return ids


def _instances(run: Path, items: list[str], rng: np.random.Generator, count: int = 40) -> None:
    """Test instances and predictions of which about half have a hit; every sixth user has no past dislikes."""

    def some(low: int, high: int, first: int = 0) -> list[str]:
        return rng.choice(items[first:], rng.integers(low, high + 1), replace=False).tolist()

    rows, predicted = [], []
    for n in range(count):
        dislikes = [] if n % 6 == 5 else some(1, 12)
        future = some(1, 4)
        rows.append(
            {
                "instance_id": n,
                "split": "test",
                "user_id": EVIL_USER if n < 20 else f"u{n}",
                "cutoff": START + timedelta(days=7 * (n % 3)),
                "n_dislikes": len(dislikes),
                "n_positives": 30,
                "dislikes": dislikes,
                "positives": some(5, 20),
                "future": future,
            }
        )
        others = [i for i in items if i not in future]
        guesses = others[:19] + ([future[0]] if n % 2 else [others[19]])
        predicted.append(
            {
                "instance_id": n,
                "split": "test",
                "user_id": rows[-1]["user_id"],
                "cutoff": rows[-1]["cutoff"],
                "items": guesses,
                "scores": np.linspace(-3, -9, 20).tolist(),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), run / "prepare" / "instances.parquet")
    folder = run / "predict" / "seed0"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(predicted), folder / "predictions.parquet")


def write_curves(file: Path, rows: list[tuple[int, str, str, float]]) -> None:
    """rows: (step, split, name, value)."""
    steps, splits, names, values = zip(*rows)
    file.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "step": pa.array(steps, pa.int64()),
        "split": splits,
        "name": names,
        "value": pa.array(values, pa.float64()),
    }
    pq.write_table(pa.table(table), file)


def _curves(run: Path, rng: np.random.Generator) -> None:
    def noisy(start: float, end: float, name: str, steps: int, every: int, noise: float) -> list:
        rows = []
        for split, stride in (("train", 1), ("validation", every)):
            for step in range(0, steps + 1, stride):
                level = end + (start - end) * np.exp(-3 * step / steps)
                shaky = noise * (1 if split == "train" else 0.3)
                rows.append((step, split, name, float(level + shaky * rng.normal())))
        return rows

    understand = noisy(6, 1.2, "translation_loss", 400, 50, 0.1) + noisy(1.5, 0.7, "alignment_loss", 300, 50, 0.05)
    understand += noisy(0.25, 0.55, "alignment_accuracy", 300, 50, 0.03)
    write_curves(run / "understand" / "seed0" / "curves.parquet", understand)
    warmup = noisy(6.5, 3.9, "loss", 500, 50, 0.15)
    warmup += [(s, "validation", n, 0.2 + 0.0002 * s) for s in range(0, 501, 100) for n in ("FHR@20", "reward")]
    write_curves(run / "utilize" / "seed0" / "warmup" / "curves.parquet", warmup)
    for n in range(3):
        rows = []
        for name, start, end, noise in (
            ("reward", 0.40 + 0.03 * n, 0.43 + 0.03 * n, 0.02),
            ("similarity", 0.55 + 0.03 * n, 0.58 + 0.03 * n, 0.02),
            ("penalty", 0.30, 0.29, 0.01),
            ("kl", 0.0, 0.05, 0.004),
            ("clip_share", 0.0, 0.08, 0.01),
            ("zero_variance_share", 0.02, 0.05, 0.01),
            ("unique_items", 15.5, 13.9, 0.3),
        ):
            rows += noisy(start, end, name, 125, 25, noise)
        rows += [(s, "validation", "FHR@20", 0.30 + 0.013 * n + 0.0001 * s) for s in range(0, 126, 25)]
        write_curves(run / "utilize" / "seed0" / f"stage{n + 1}" / "curves.parquet", rows)


def png(width: int = 200, height: int = 100) -> bytes:
    """A half transparent picture as bytes."""
    file = io.BytesIO()
    Image.new("RGBA", (width, height), (200, 30, 30, 128)).save(file, "PNG")
    return file.getvalue()
