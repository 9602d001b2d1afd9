"""A tiny, randomly initialised Qwen3-VL: the stand-in that lets the trainers' own loaders run offline on a CPU.

Everything the loaders look at is the real thing, only small or untrained: the configuration and model classes, the
pre-tokenizer and special tokens of Qwen, the processor with Qwen3-VL's own patch size and pixel bounds (so an image
costs exactly as many tokens as it will in training), and a chat template of the same form. The vocabulary is learned
from the few sentences below, so text costs more tokens than under Qwen's own.

    python tiny_qwen3_vl.py DIRECTORY [--seed N]
"""

from __future__ import annotations

import argparse
import os
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
VOCABULARY_SIZE: Final = 800
CONTEXT_LENGTH: Final = 32768


def build_tiny_qwen3_vl(directory: Path, *, seed: int = 0) -> Path:
    """Write a loadable Qwen3-VL checkpoint of about 0.3 million random weights into `directory` and return it.

    The directory holds what `from_pretrained` of the model, the tokenizer and the processor read; nothing is looked up
    on a hub. The same seed gives the same weights. The caller's random state is left as it was.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    processor = _processor(_tokenizer())
    token_ids = {token: processor.tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(_config(len(processor.tokenizer), token_ids)).to(torch.float32)
    model.generation_config.eos_token_id = [token_ids[END_OF_TURN], token_ids[END_OF_TEXT]]
    model.generation_config.pad_token_id = token_ids[END_OF_TEXT]

    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def _tokenizer() -> Any:
    """Qwen's tokenizer class over a byte-level BPE vocabulary learned from `VOCABULARY_TEXT`."""
    import json

    from tokenizers import pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    learner = Qwen2Tokenizer().backend_tokenizer  # Qwen's normalizer and pre-tokenizer around an empty vocabulary
    learner.train_from_iterator(
        VOCABULARY_TEXT,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY_SIZE,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # any text is representable
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=CONTEXT_LENGTH,
        chat_template=CHAT_TEMPLATE,
    )


def _processor(tokenizer: Any) -> Any:
    """Qwen3-VL's processor with the patch size, normalisation and pixel bounds of the released Instruct models."""
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
            size={"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}, **patches
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(
            size={"shortest_edge": 4096, "longest_edge": 24 * 1024 * 1024}, **patches
        ),
        chat_template=CHAT_TEMPLATE,
    )


def _config(tokens: int, token_ids: dict[str, int]) -> Any:
    """Two text layers and two vision layers, with one deepstack level so that path runs too."""
    from transformers import Qwen3VLConfig

    hidden_size = 64
    return Qwen3VLConfig(
        text_config={
            "vocab_size": -(-tokens // 64) * 64,
            "hidden_size": hidden_size,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
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
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": hidden_size,
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a tiny random Qwen3-VL checkpoint.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(build_tiny_qwen3_vl(arguments.directory, seed=arguments.seed))
