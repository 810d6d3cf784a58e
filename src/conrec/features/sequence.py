"""A sequence model as an item feature: what the order of a user's dislikes and likes says of the next dislike.

SASRec (`features.attention`), trained with cross-entropy over all items that training met (docs/decoding.md). The
feature is the log of the probability that it gives each item.
"""

import numpy as np
import torch
import torch.nn.functional as F

from conrec.data.instances import Events, Instances
from conrec.features.attention import SelfAttention, next_item_logits
from conrec.features.item_features import ItemFeature
from conrec.features.log_view import LogView
from conrec.features.sequences import Batch, Tokens, UserEvents, histories, shuffled, training_windows
from conrec.features.sizes import Inputs, Sizes
from conrec.progress import track

READS: Inputs = "dislikes+likes"
SIZES = Sizes(heads=1, dropout=0.5, epochs=20, learning_rate=3e-3)
LENGTH = 50
"""Events of a history that are read."""
CELLS = 1024
"""Places of a training batch."""
WEEKS = 4
"""In a split by time a model is trained on everything before each period of so many weeks in which it is asked."""
SHOWN = 200_000
"""Windows that training shows at most, over all epochs."""
ITEMS = 20_000
"""Items that are read and predicted, at most: those of the most dislikes and likes."""


class SequenceModel:
    """A trained network with its items."""

    @torch.inference_mode(False)  # also where a decoder asks for it
    def __init__(self, events: Events, items: int) -> None:
        """Train on all of these events, if a user disliked something after another one. items: of the catalogue."""
        counts = np.bincount(events.items[events.is_dislike | events.is_positive], minlength=items)
        often = np.argsort(-counts, kind="stable")[:ITEMS]
        known, _ = UserEvents.of_log(events.take(np.isin(events.items, often)), READS)
        self.tokens, self.trained = Tokens.of(known, items), False
        try:
            windows = training_windows(known, self.tokens, LENGTH)
        except ValueError:  # nobody disliked anything after another event
            return
        generator = torch.Generator().manual_seed(0)
        if len(windows) > SHOWN:
            windows = windows.take(torch.randperm(len(windows), generator=generator)[:SHOWN])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = SelfAttention(self.tokens, LENGTH, SIZES, signed=True).to(self.device)
            self._train(windows, generator)
        self.trained = True

    def _train(self, windows: Batch, generator: torch.Generator) -> None:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=SIZES.learning_rate, betas=(0.9, 0.98))
        self.network.train()
        epochs = min(int(SIZES.epochs), max(1, SHOWN // len(windows)))
        for _ in track(range(epochs), "sequence model"):
            for batch in shuffled(windows, CELLS, generator):
                batch = batch.to(self.device)
                optimizer.zero_grad(set_to_none=True)
                states = self.network(batch.tokens[:, :-1], batch.marks[:, :-1])
                asked = batch.wanted[:, 1:]
                targets = self.network.items.weight[1 : self.tokens.targets + 1]
                loss = F.cross_entropy(states[asked] @ targets.T, batch.tokens[:, 1:][asked] - 1)
                loss.backward()
                optimizer.step()
        self.network.eval()

    @torch.inference_mode()
    def log_probabilities(self, instances: Instances) -> np.ndarray:
        """float32 [B, T], T the items of `tokens` that it predicts."""
        events = UserEvents.of_instances(instances, READS)
        batch = histories(events, len(instances), self.tokens, LENGTH, np.zeros(len(instances), np.int64))
        logits = next_item_logits(self.network, batch.to(self.device), self.tokens.targets)
        return logits.log_softmax(1).cpu().numpy()


class Sequence(ItemFeature):
    """The log-probabilities of a model of what came before; in `users` mode of the known users' whole log."""

    name = "sequence"

    def __init__(self, log_view: LogView) -> None:
        self._log_view = log_view
        self._models: dict[int, SequenceModel] = {}

    def log_weight(self, instances: Instances) -> np.ndarray:
        """float32 [B, items]; an item that the model does not predict is as likely as the average of the others."""
        view, known_users = self._log_view, self._log_view.train_users
        out = np.zeros((len(instances), len(view.items)), np.float32)
        periods = instances.cutoffs.astype("datetime64[W]").astype(np.int64) // WEEKS
        if known_users is not None:
            periods[:] = 0
        for period in np.unique(periods).tolist():
            if period not in self._models:
                start = np.datetime64(period * WEEKS, "W").astype("datetime64[us]")
                known = view.events.times < start if known_users is None else view.events.of_users(known_users)
                self._models[period] = SequenceModel(view.events.take(known), len(view.items))
            model, found = self._models[period], np.flatnonzero(periods == period)
            if model.trained:
                own = model.log_probabilities(instances.take(found))
                out[found] = -np.log(own.shape[1])
                out[np.ix_(found, model.tokens.rows[: model.tokens.targets])] = own
        return out
