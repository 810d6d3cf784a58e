"""A model of likes turned upside down: what the paper argues against first (its introduction).

Literally, what the model holds least likely to be liked would come first. That names items nobody ever meets: no like
says nothing, mostly it is indifference. Here an item counts as disliked as far as this user likes it *less than people
in general*,

    score(i) = log q(i) - log p(i | likes of the user)

with p from a softmax over items and q the share of i among all likes in training: minus the model's `Lift`. What is
liked by others but not by the likes of this user ranks high; an item that the model does not know scores 0. For items
seldom liked the ratio is noise, so it is meant to be used with the item prior (`WithPrior`): what people dislike
lately, ordered by how little it is to this user's taste. That is the best use of a model of likes that we know of.
"""

from __future__ import annotations

import numpy as np

from conrec.baselines.sequence_model import Lift, SequenceRecommender
from conrec.data.instances import Instances


class Reversed(Lift):
    """The lift of a model of likes, negated.

    `likes`: a sequence model with the inputs "likes" and a softmax loss, so that its logits are log-probabilities.
    """

    def __init__(self, likes: SequenceRecommender) -> None:
        if likes.inputs != "likes":
            raise ValueError(f'{likes.name} reads {likes.inputs}; a model to be reversed reads "likes"')
        super().__init__(likes)
        self.name = f"reversed_{likes.name}"

    def scores(self, instances: Instances) -> np.ndarray:
        """float32 [B, n_items]."""
        return -super().scores(instances)
