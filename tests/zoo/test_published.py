"""Our encoders have the sizes of what is published, and names that we leave out are known ones."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from adgauge.errors import ConfigurationError
from adgauge.models.published import LAYOUTS, Match, check_config, match_names
from adgauge.models.registry import SYSTEMS
from tests.zoo.test_pretrained import CASES, CLIP, DEBERTA, EFFICIENTNET, MINILM_BERT, SMOLVLM, SWIN, config

PUBLISHED: Mapping[str, Mapping[str, object]] = {
    EFFICIENTNET: {
        "model_type": "efficientnet",
        "batch_norm_eps": 0.001,
        "expand_ratios": [1, 6, 6, 6, 6, 6, 6],
        "hidden_act": "swish",
        "hidden_dim": 1280,
        "in_channels": [32, 16, 24, 40, 80, 112, 192],
        "kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
        "num_block_repeats": [1, 2, 2, 3, 3, 4, 1],
        "out_channels": [16, 24, 40, 80, 112, 192, 320],
        "squeeze_expansion_ratio": 0.25,
        "strides": [1, 2, 2, 2, 1, 2, 1],
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
    },
    MINILM_BERT: {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    },
    CLIP: {
        "model_type": "clip",
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "image_size": 224,
            "patch_size": 32,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
        "text_config": {
            "model_type": "clip_text_model",
            "hidden_size": 512,
            "intermediate_size": 2048,
            "num_attention_heads": 8,
            "num_hidden_layers": 12,
            "max_position_embeddings": 77,
            "vocab_size": 49408,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "eos_token_id": 2,
        },
    },
    "FacebookAI/roberta-base": {
        "model_type": "roberta",
        "hidden_act": "gelu",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 514,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "type_vocab_size": 1,
        "vocab_size": 50265,
    },
    SMOLVLM: {
        "model_type": "smolvlm",
        "scale_factor": 4,
        "vision_config": {  # the number of layers and their width are transformers' defaults
            "model_type": "smolvlm_vision",
            "hidden_size": 768,
            "image_size": 512,
            "num_attention_heads": 12,
            "patch_size": 16,
        },
        "text_config": {
            "model_type": "llama",
            "hidden_size": 576,
            "intermediate_size": 1536,
            "max_position_embeddings": 8192,
            "num_attention_heads": 9,
            "num_hidden_layers": 30,
            "num_key_value_heads": 3,
            "rms_norm_eps": 1e-5,
            "rope_theta": 100000,
            "vocab_size": 49280,
        },
    },
    "facebook/dinov2-base": {
        "model_type": "dinov2",
        "hidden_act": "gelu",
        "hidden_size": 768,
        "image_size": 518,
        "layer_norm_eps": 1e-6,
        "mlp_ratio": 4,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "patch_size": 14,
        "qkv_bias": True,
        "use_swiglu_ffn": False,
    },
    "distilbert/distilbert-base-uncased": {
        "model_type": "distilbert",
        "activation": "gelu",
        "dim": 768,
        "hidden_dim": 3072,
        "max_position_embeddings": 512,
        "n_heads": 12,
        "n_layers": 6,
        "vocab_size": 30522,
    },
    SWIN: {
        "model_type": "swinv2",
        "depths": [2, 2, 6, 2],
        "embed_dim": 96,
        "hidden_act": "gelu",
        "image_size": 256,
        "layer_norm_eps": 1e-5,
        "mlp_ratio": 4.0,
        "num_heads": [3, 6, 12, 24],
        "patch_size": 4,
        "pretrained_window_sizes": [0, 0, 0, 0],
        "qkv_bias": True,
        "use_absolute_embeddings": False,
        "window_size": 8,
    },
    DEBERTA: {
        "model_type": "deberta-v2",
        "hidden_act": "gelu",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-7,
        "max_position_embeddings": 512,
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
        "position_buckets": 256,
        "relative_attention": True,
        "share_att_key": True,
        "type_vocab_size": 0,
        "vocab_size": 128100,
    },
}
"""What `config.json` on the hub says of their sizes, as published: not made by transformers of today."""


@pytest.mark.parametrize("name", CASES)
def test_each_full_size_encoder_has_the_sizes_of_what_is_published(name: str) -> None:
    with torch.device("meta"):
        model = SYSTEMS[name].build()
    for encoder, hub_id in SYSTEMS[name].encoders.items():
        ours = getattr(model.get_submodule(encoder), "config", None)
        layout = check_config(PUBLISHED[hub_id], ours)
        assert layout is LAYOUTS[str(PUBLISHED[hub_id]["model_type"])]


def test_kinds_of_attention_have_no_order() -> None:
    with torch.device("meta"):
        ours = config(SYSTEMS["pinco"].build(), "text_encoder.backbone")
    published = {**PUBLISHED[DEBERTA], "pos_att_type": ["c2p", "p2c"]}
    assert check_config(published, ours) is LAYOUTS["deberta-v2"]
    with pytest.raises(ConfigurationError, match="pos_att_type"):
        check_config({**published, "pos_att_type": ["c2p"]}, ours)


LEFT_OUT = {
    "cls.predictions.bias": "bert",
    "mask_predictions.classifier.weight": "deberta-v2",
    "lm_predictions.lm_head.LayerNorm.bias": "deberta-v2",
    "deberta.embeddings.position_embeddings.weight": "deberta-v2",
    "text_model.embeddings.position_ids": "clip",
    "logit_scale": "clip",
    "model.text_model.layers.0.self_attn.rotary_emb.inv_freq": "smolvlm",
    "lm_head.weight": "smolvlm",
    "vocab_projector.bias": "distilbert",
    "classifier.weight": "swinv2",
    "swinv2.encoder.layers.0.blocks.0.attention.self.relative_position_index": "swinv2",
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_published_checkpoints_hold_besides_is_left_out(name: str) -> None:
    layout = LAYOUTS[LEFT_OUT[name]]
    part = layout.parts[0]
    match = match_names(layout, ["weight"], [f"{part}weight", name])
    assert match == Match({"weight": f"{part}weight"}, (), ())


@pytest.mark.parametrize("kind", LAYOUTS)
def test_what_nobody_has_heard_of_is_not_left_out(kind: str) -> None:
    part = LAYOUTS[kind].parts[0]
    match = match_names(LAYOUTS[kind], ["weight"], [f"{part}weight", f"{part}gate", "adapter.weight"])
    assert match == Match({"weight": f"{part}weight"}, (), ("adapter.weight", f"{part}gate"))
