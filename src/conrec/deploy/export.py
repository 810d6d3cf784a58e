"""The trained policy as an ordinary Hugging Face folder, which needs nothing of ours to be used."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import Template

from conrec import __version__
from conrec.config import Recipe
from conrec.decode.decoder import contexts
from conrec.errors import ConrecError
from conrec.evaluate.results import Metrics, read
from conrec.lm.model import build_policy, load_trained_policy
from conrec.lm.prompts import WORDING, Context
from conrec.lm.vocabulary import Vocabulary, sid_token
from conrec.sid.catalog import Catalog
from conrec.toml import to_toml


def export(run: Path, recipe: Recipe, out: Path, push_to_hub: str | None = None) -> Path:
    """Write merged weights (float32, safetensors), tokenizer, card, and catalogue to `out`.

    push_to_hub: a repository of Hugging Face's hub (`name/of-it`), which becomes private where it is new. ConrecError
    for a run that trained no policy, a folder that holds something, and a hub that refuses.
    """
    if out.exists() and any(out.iterdir()):
        raise ConrecError(f"{out}: holds files already; choose a new folder, or remove it")
    if recipe.lm.text_tokens:
        raise ConrecError(f"{run}: its prompts hold texts (lm.text_tokens), which no plain tokenizer cuts as they were")
    catalog = Catalog.load(run / "compress")
    utilized, (last, context) = run / "utilize" / f"seed{recipe.seeds[0]}", list(contexts(recipe).items())[-1]
    if not (utilized / "manifest.json").is_file():
        raise ConrecError(f"{utilized}: this run trained no policy to its end; conrec run RECIPE --policy does")
    vocabulary = Vocabulary.load(utilized / "tokenizer")
    policy = build_policy(recipe.lm, vocabulary, catalog.codewords, recipe.seeds[0])
    load_trained_policy(policy, utilized / last)
    lm: Any = policy.lm.float().eval()
    lm = lm.merge_and_unload() if recipe.lm.lora_rank else lm
    lm.generation_config.update(eos_token_id=vocabulary.end, pad_token_id=vocabulary.pad, max_new_tokens=catalog.levels)
    lm.save_pretrained(out)
    vocabulary.tokenizer.save_pretrained(out)
    spelled = ["".join(sid_token(t, code) for t, code in enumerate(codes)) for codes in catalog.codes.tolist()]
    table = {"item_id": catalog.item_ids, "title": catalog.titles, "semantic_id": spelled}
    pq.write_table(pa.table(table), out / "catalogue.parquet")
    (out / "README.md").write_text(_card(run, recipe, catalog, last, context), encoding="utf-8")
    if push_to_hub is not None:
        import huggingface_hub

        try:
            huggingface_hub.create_repo(push_to_hub, private=True, exist_ok=True)
            huggingface_hub.upload_folder(repo_id=push_to_hub, folder_path=out, commit_message=f"conrec: {recipe.name}")
        except Exception as error:  # the hub's own, and those of what it asks through
            raise ConrecError(f"--push-to-hub {push_to_hub}: {' '.join(str(error).split())[:300]}") from None
    return out


def _card(run: Path, recipe: Recipe, catalog: Catalog, last: str, context: Context) -> str:
    shown = {"recent": ["recent"], "dislikes": ["dislikes"], "full": ["dislikes", "positives"]}[context]
    named = zip(shown, ("disliked", "liked"))
    parts = [f'{WORDING[text]!r} + "".join(ids[item] for item in {name})' for text, name in named]
    return Template((Path(__file__).parent / "card.md.j2").read_text(encoding="utf-8")).render(
        recipe=recipe,
        catalog=catalog,
        version=__version__,
        toml=to_toml(recipe),
        events=pq.read_metadata(run / "prepare" / "events.parquet").num_rows,
        prompt=" + ".join([*parts, repr(WORDING["next"])]),
        figures=read(run / "metrics.json", Metrics).stages[last].figures if (run / "metrics.json").is_file() else {},
    )
