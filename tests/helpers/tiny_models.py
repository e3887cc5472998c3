"""Tiny random models of every family, written by ``save_pretrained`` with their tokenizers and processors."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = "a the red blue square circle on left dog rain seven is there of and two".split()  # noqa: SIM905
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def tokenizer(folder: Path, *, pad: bool = True, frame: bool = True, limit: int = 24) -> int:
    """A word tokenizer; returns the size of its vocabulary."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL.values(), "[EOS]", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if frame:
        pairs = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
        inner.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, pairs)
    special = SPECIAL if pad else {"unk_token": "[UNK]", "eos_token": "[EOS]"}
    tf.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=limit, **special).save_pretrained(folder)
    return len(vocabulary)


def save(family: str, folder: Path) -> Path:
    """A random model of this family in ``folder``."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    text = {"max_position_embeddings": 32, "pad_token_id": 0}
    if family in ("bert", "minilm"):
        model = tf.BertModel(tf.BertConfig(vocab_size=tokenizer(folder), **SMALL, **text))
    elif family == "roberta":
        model = tf.RobertaModel(tf.RobertaConfig(vocab_size=tokenizer(folder), **SMALL, **text))
    elif family == "gpt2":
        size = tokenizer(folder, pad=False, frame=False)
        model = tf.GPT2Model(tf.GPT2Config(vocab_size=size, n_positions=32, n_embd=16, n_layer=2, n_head=2))
    elif family == "llama":
        size = tokenizer(folder, pad=False, frame=False)
        model = tf.LlamaModel(tf.LlamaConfig(vocab_size=size, num_key_value_heads=2, **SMALL, **text))
    elif family in ("vit", "dinov2"):
        kind, config = (tf.ViTModel, tf.ViTConfig) if family == "vit" else (tf.Dinov2Model, tf.Dinov2Config)
        model = kind(config(image_size=16, patch_size=8, mlp_ratio=2, **SMALL))
        pil("ViTImageProcessor")(size={"height": 16, "width": 16}).save_pretrained(folder)
    elif family == "clip":
        size = tokenizer(folder)
        one = {**SMALL, "projection_dim": 12}
        words = {**one, **text, "vocab_size": size, "eos_token_id": 3, "bos_token_id": 2}
        model = tf.CLIPModel(
            tf.CLIPConfig(
                text_config=words, vision_config={**one, "image_size": 16, "patch_size": 8}, projection_dim=12
            )
        )
        crop = {"height": 16, "width": 16}
        pil("CLIPImageProcessor")(size={"shortest_edge": 16}, crop_size=crop).save_pretrained(folder)
    elif family in ("wav2vec2", "wav2vec2-base"):
        # base as facebook/wav2vec2-base-960h: GroupNorm, and no mask that says what is padding
        base = family == "wav2vec2-base"
        convolutions = {"conv_dim": (8, 8), "conv_stride": (5, 4), "conv_kernel": (10, 4)}
        model = tf.Wav2Vec2Model(
            tf.Wav2Vec2Config(
                **SMALL, **convolutions, num_feat_extract_layers=2, num_conv_pos_embeddings=4,
                num_conv_pos_embedding_groups=2, feat_extract_norm="group" if base else "layer", vocab_size=8,
            )
        )  # fmt: skip
        tf.Wav2Vec2FeatureExtractor(return_attention_mask=not base).save_pretrained(folder)
    elif family in ("xlm-roberta", "mpnet"):
        kind, config = (tf.XLMRobertaModel, tf.XLMRobertaConfig) if family == "xlm-roberta" else (
            tf.MPNetModel, tf.MPNetConfig)  # fmt: skip
        model = kind(config(vocab_size=tokenizer(folder, limit=1000), **SMALL, **{**text, "pad_token_id": 1}))
    elif family == "vilt":
        size = tokenizer(folder)
        model = tf.ViltModel(tf.ViltConfig(vocab_size=size, image_size=32, patch_size=8, **SMALL, **text))
        pil("ViltImageProcessor")(size={"shortest_edge": 32}, size_divisor=8).save_pretrained(folder)
    else:
        raise ValueError(family)
    model.eval().save_pretrained(folder)
    return folder


def pil(name: str):
    """The image processor that needs no torchvision, under the name that this version has for it."""
    return getattr(tf, f"{name}Pil", None) or getattr(tf, name)
