"""Tokens: text as data, semantic IDs as special tokens.

A semantic ID (i, j, k) is written `<a_i><b_j><c_k>`. These are special tokens of the tokenizer. Titles and every
other text go through a second tokenizer that knows no added token at all, so a title that contains `<a_3>` or an
end-of-text marker is spelled out letter by letter, or where it cannot be left out, and can never become one.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from conrec.errors import ConrecError
from conrec.fetch import check_fetched

PAD, END = "<|pad|>", "<|end|>"


class Vocabulary:
    """A tokenizer with `sizes[t]` special tokens for level t of a semantic ID.

    The tokens of one level are consecutive: code k of level t is token `starts[t] + k`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, sizes: Sequence[int]) -> None:
        self.tokenizer = tokenizer
        self.sizes = tuple(sizes)
        ids = tokenizer.get_vocab()
        self.starts = tuple(ids[sid_token(t, 0)] for t in range(len(sizes)))
        for t, size in enumerate(sizes):
            if ids[sid_token(t, size - 1)] != self.starts[t] + size - 1:
                raise ConrecError(f"the tokenizer's tokens of level {t} are not consecutive; add them in one go")
        self._ids = 1 + max(ids.values())
        self.end = int(tokenizer.eos_token_id)
        self.pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end)
        # Without its added tokens, so that no text is ever matched as one.
        settings = json.loads(tokenizer.backend_tokenizer.to_str())
        settings |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._plain = Tokenizer.from_str(json.dumps(settings))
        special = {n for n, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._special = special.union(tokenizer.all_special_ids)

    @classmethod
    def train(cls, texts: Iterable[str], size: int, levels: Sequence[int]) -> Self:
        """A byte-level BPE of at most `size` tokens trained on `texts` (for the embedded model)."""
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        backend.train_from_iterator(texts, trainer)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=PAD, eos_token=END)
        return cls._with_sids(tokenizer, levels)

    @classmethod
    def of_checkpoint(cls, checkpoint: str, levels: Sequence[int]) -> Self:
        """The tokenizer of a Hugging Face checkpoint (hub name or folder) with semantic-ID tokens added."""
        folder = Path(checkpoint)
        if folder.suffix == ".gguf" or (any(folder.glob("*.gguf")) and not any(folder.glob("*.safetensors"))):
            what = "GGUF cannot be trained; name the checkpoint that it was made from, as safetensors"
            raise ConrecError(f"lm.checkpoint = {checkpoint!r}: {what}")
        check_fetched("lm.checkpoint", checkpoint)
        try:
            tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        except Exception as error:  # what is damaged raises whatever
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConrecError(f"lm.checkpoint = {checkpoint!r}: no tokenizer could be loaded ({reason})") from None
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise ConrecError(f"lm.checkpoint = {checkpoint!r}: its tokenizer has no fast (tokenizers) form")
        return cls._with_sids(tokenizer, levels)

    @classmethod
    def _with_sids(cls, tokenizer: PreTrainedTokenizerFast, levels: Sequence[int]) -> Self:
        # Where ids have gaps, a new token could get the id of a text token; so the gaps are counted through first.
        gaps = 1 + max(tokenizer.get_vocab().values()) - len(tokenizer)
        tokens = [f"<unused_{n}>" for n in range(gaps)]
        tokens += [sid_token(t, k) for t, size in enumerate(levels) for k in range(size)]
        tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
        return cls(tokenizer, levels)

    @classmethod
    def load(cls, folder: Path) -> Self:
        sizes = json.loads((folder / "sid_sizes.json").read_text())
        return cls(PreTrainedTokenizerFast.from_pretrained(folder), sizes)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        (folder / "sid_sizes.json").write_text(json.dumps(self.sizes))

    def __len__(self) -> int:
        """One more than the largest token id: a tokenizer's ids may have gaps."""
        return self._ids

    def text(self, text: str) -> list[int]:
        """Token ids of a text that is data: never a special token, whatever it says."""
        ids = self._plain.encode(text, add_special_tokens=False).ids
        # Other models than byte-level BPE have them as words of their own, and one for what they do not know.
        return [one for one in ids if one not in self._special]

    def sid(self, codes: np.ndarray) -> list[int]:
        """Token ids of semantic IDs, int [..., levels] -> flat list."""
        return (np.asarray(codes, dtype=np.int64) + np.asarray(self.starts)).reshape(-1).tolist()


def sid_token(level: int, code: int) -> str:
    """`<a_0>`, `<b_17>`, `<c_3>`: the spelling of one code."""
    return f"<{chr(ord('a') + level)}_{code}>"
