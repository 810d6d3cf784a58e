"""Checkpoints: one clear line without the extra; with it, a tiny random one works end to end."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from conrec.config import ItemsConfig
from conrec.errors import ConrecError
from conrec.items.encoders import JointEncoder
from conrec.items.pretrained import PretrainedEncoder
from tests.conftest import TOLD
from tests.items.test_encoders import shop
from tests.items.test_pictures import bomb, encoded, noisy

HAS_EXTRA = importlib.util.find_spec("sentence_transformers") is not None


@pytest.mark.skipif(HAS_EXTRA, reason="the extra `encoders` is installed")
def test_without_the_extra_the_error_says_what_to_install() -> None:
    with pytest.raises(ConrecError, match=r"items\.text = 'some/model'.*pip install"):
        PretrainedEncoder("some/model", "items.text").encode_texts(["a"])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP of random weights, in a folder."""
    pytest.importorskip("sentence_transformers", reason="needs the extra `encoders`")
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import CLIPModel
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPProcessor, CLIPTokenizerFast
    from transformers import CLIPModel as ClipWeights

    folder = tmp_path_factory.mktemp("clip")
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"{c}</w>" for c in "abcdefghijklmnop"),
    ]
    bpe = Tokenizer(models.BPE({w: n for n, w in enumerate(words)}, [], unk_token="<|endoftext|>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = CLIPTokenizerFast(tokenizer_object=bpe, model_max_length=16)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=small | {"vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": 1},
        vision_config=small | {"image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ClipWeights(config).save_pretrained(folder / "weights")
    size = {"height": 32, "width": 32}
    images = CLIPImageProcessor(size=size, crop_size=size, do_resize=True)
    CLIPProcessor(image_processor=images, tokenizer=tokens).save_pretrained(folder / "weights")
    SentenceTransformer(modules=[CLIPModel(str(folder / "weights"))]).save(str(folder / "model"))
    TOLD.said.clear()  # it misses torchvision, and the vocabulary of a real CLIP
    return str(folder / "model")


def test_texts_and_pictures_of_a_checkpoint_folder(clip: str) -> None:
    texts = PretrainedEncoder(clip, "items.text").encode_texts(["red boots", "a lamp", "red boots"])
    assert texts.shape == (3, 8)
    np.testing.assert_allclose(texts[0], texts[2], atol=1e-5)
    assert len(PretrainedEncoder(clip, "items.text").encode_texts([])) == 0
    vectors, account = PretrainedEncoder(clip, "items.image").encode_images(
        [noisy(1), None, bomb(60_000), encoded(), b"x"]
    )
    assert account.outcome == ["used", "missing", "too large", "used", "broken"]
    assert vectors.shape == (5, 8)
    assert vectors.any(axis=1).tolist() == [True, False, False, True, False]


def test_a_checkpoint_stands_beside_the_words(clip: str, tmp_path: Path) -> None:
    content, rows = shop(), np.arange(200)
    words, _ = JointEncoder(ItemsConfig(image="none")).fit_encode(content, rows)
    encoder = JointEncoder(ItemsConfig(text=clip, image="none"))
    both, _ = encoder.fit_encode(content, rows)
    assert both.shape[1] == words.shape[1] + 8
    ours = both[:, :-8]  # what words and fields say, in the same proportions
    np.testing.assert_allclose(ours / np.linalg.norm(ours, axis=1, keepdims=True), words, atol=1e-5)
    assert both[:, -8:].any(axis=1).all()
    encoder.save(tmp_path)
    again, _ = JointEncoder.load(ItemsConfig(text=clip, image="none"), tmp_path).encode(content)
    np.testing.assert_array_equal(again, both)


def test_a_wrong_folder_is_one_clear_line(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra `encoders`")
    with pytest.raises(ConrecError, match="could not be loaded"):
        PretrainedEncoder(str(tmp_path), "items.text").encode_texts(["a"])
