"""CoNRec: learn what each user will dislike, and keep it out of what a recommender shows."""

import os

# Two libraries below report home when they are imported or started; whoever wants that sets these first.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

__version__ = "0.1.0.dev0"
