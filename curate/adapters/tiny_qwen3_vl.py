"""A tiny, randomly initialised Qwen3-VL: the stand-in that lets the trainers run offline on a CPU, for smoke runs only.

Everything the trainers look at is the real thing, only small or untrained: the configuration and model classes, the
pre-tokenizer and special tokens of Qwen, the processor with Qwen3-VL's own patch size and, by default, its pixel bounds
(so an image costs exactly as many tokens as it will in training), and a chat template of the same form. The vocabulary
is learned from a few texts, so other text costs more tokens than under Qwen's own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

END_OF_TEXT: Final = "<|endoftext|>"
END_OF_TURN: Final = "<|im_end|>"
IMAGE_PAD: Final = "<|image_pad|>"

SPECIAL_TOKENS: Final = (
    END_OF_TEXT,
    "<|im_start|>",
    END_OF_TURN,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    IMAGE_PAD,
    "<|video_pad|>",
)

# The form of Qwen3-VL's template without its tool and video branches: no default system prompt, images in place.
CHAT_TEMPLATE: Final = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' -}}"
    "{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- else -%}{{- part.text -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

VOCABULARY_TEXT: Final = (
    "user assistant system You are a careful radiologist. What is shown in this image? Answer with the option letter.",
    "Frontal chest radiograph showing a right lower lobe consolidation with a small pleural effusion.",
    "There is no evidence of pneumothorax. The heart size is within normal limits.",
    "Axial contrast-enhanced computed tomography of the abdomen demonstrates a hypodense lesion in the liver.",
    "Magnetic resonance imaging of the brain reveals a hyperintense area on T2-weighted images, consistent with edema.",
    "A 65-year-old male presents to the emergency department with acute chest pain radiating to the left arm.",
    "Initial vital signs show mild tachycardia and borderline hypotension, with oxygen saturation of 94% on room air.",
    "Histology with immunohistochemistry staining; fundus photograph of the retina; ultrasound of the thyroid gland.",
    "A. Pneumonia B. Fracture C. Normal D. Cardiomegaly. The findings suggest the following differential diagnosis.",
)
CONTEXT_LENGTH: Final = 32768


@dataclass(frozen=True)
class TinySize:
    """How large the stand-in is, and how large it lets pictures be."""

    hidden_size: int = 64
    """Of the language model, a multiple of 16; the vision encoder has half of it."""
    layers: int = 2
    """Of the language model, and of the vision encoder."""
    vocabulary: int = 800
    """Learned tokens at most, beside the special ones."""
    min_pixels: int = 256 * 256
    """Smaller pictures are scaled up. The default is that of the released Instruct models."""
    max_pixels: int = 4096 * 4096
    """Larger pictures are scaled down; the default likewise. 32 x 32 pixels cost one token."""


def build_tiny_qwen3_vl(
    directory: Path,
    *,
    seed: int = 0,
    size: TinySize = TinySize(),
    texts: Sequence[str] = VOCABULARY_TEXT,
    tokens: Sequence[str] = (),
) -> Path:
    """Write a loadable Qwen3-VL checkpoint of random weights, 0.3 million by default, into `directory`; return it.

    The directory holds what `from_pretrained` of the model, the tokenizer and the processor read; nothing is looked up
    on a hub. The vocabulary is learned from `texts`; each of `tokens` is one token that is text all the same, as
    `<think>` is for Qwen3. The same arguments give the same weights. The caller's random state is left as it was.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    processor = _processor(_tokenizer(texts, size.vocabulary, tokens), size)
    token_ids = {token: processor.tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(_config(size, len(processor.tokenizer), token_ids)).to(torch.float32)
    model.generation_config.eos_token_id = [token_ids[END_OF_TURN], token_ids[END_OF_TEXT]]
    model.generation_config.pad_token_id = token_ids[END_OF_TEXT]

    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def _tokenizer(texts: Sequence[str], vocabulary: int, tokens: Sequence[str]) -> Any:
    """Qwen's tokenizer class over a byte-level BPE vocabulary learned from `texts`."""
    import json

    from tokenizers import AddedToken, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    learner = Qwen2Tokenizer().backend_tokenizer  # Qwen's normalizer and pre-tokenizer around an empty vocabulary
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # any text is representable
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=CONTEXT_LENGTH,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])
    return tokenizer


def _processor(tokenizer: Any, size: TinySize) -> Any:
    """Qwen3-VL's processor with the patch size and normalisation of the released Instruct models."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    patches: dict[str, Any] = {
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size={"shortest_edge": size.min_pixels, "longest_edge": size.max_pixels}, **patches
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(
            size={"shortest_edge": 4096, "longest_edge": 24 * 1024 * 1024}, **patches
        ),
        chat_template=CHAT_TEMPLATE,
    )


def _config(size: TinySize, tokens: int, token_ids: dict[str, int]) -> Any:
    """As many text layers as vision layers, with one deepstack level so that path runs too."""
    from transformers import Qwen3VLConfig

    return Qwen3VLConfig(
        text_config={
            "vocab_size": -(-tokens // 64) * 64,
            "hidden_size": size.hidden_size,
            "intermediate_size": 2 * size.hidden_size,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.hidden_size // 16,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": CONTEXT_LENGTH,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "bos_token_id": token_ids[END_OF_TEXT],
            "eos_token_id": token_ids[END_OF_TURN],
            "pad_token_id": token_ids[END_OF_TEXT],
        },
        vision_config={
            "depth": size.layers,
            "hidden_size": size.hidden_size // 2,
            "intermediate_size": size.hidden_size,
            "num_heads": 2,
            "out_hidden_size": size.hidden_size,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 48 * 48,
            "deepstack_visual_indexes": [0],
            "in_channels": 3,
        },
        tie_word_embeddings=True,
        image_token_id=token_ids[IMAGE_PAD],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
    )
