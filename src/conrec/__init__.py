"""CoNRec: learn what each user will dislike, and keep it out of what a recommender shows."""

__version__ = "0.1.0.dev0"
