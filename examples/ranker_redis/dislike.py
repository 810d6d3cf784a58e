"""What the "not interested" button calls, in a process of its own: note a dislike, or take one back.

python examples/ranker_redis/dislike.py FOLDER USER ITEM [--undo]
"""

import argparse
from pathlib import Path

from conrec.filter.filter import CoNRecFilter

flags = argparse.ArgumentParser(description=__doc__)
flags.add_argument("folder", type=Path)
flags.add_argument("user")
flags.add_argument("item")
flags.add_argument("--undo", action="store_true")
given = flags.parse_args()
conrec = CoNRecFilter.load(given.folder / "redis")
(conrec.undo_dislike if given.undo else conrec.dislike)(given.user, given.item)
