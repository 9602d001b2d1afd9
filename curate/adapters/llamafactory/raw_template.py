"""Templates without chat markup, for continual pretraining on documents that mix text and images.

LLaMA-Factory's pretraining stage (`pt`) reads text only: it trains on the literal word `<image>` and says nothing. Its
supervised stage (`sft`) handles images, but every stock template that accepts them wraps the text in chat markup. With
the templates below, the supervised stage pretrains: a document is a sequence of turns in which the user slot holds the
image placeholders and the assistant slot the text that follows them. Loss falls on all of the text, including the
end-of-text token that the exporter puts at its end, and on no image token.
"""

from typing import Final

RAW_TEMPLATES: Final = {"qwen2_vl_cpt": "qwen2_vl", "qwen3_vl_cpt": "qwen3_vl"}
"""Template name -> the LLaMA-Factory plugin that expands image placeholders for that family (Qwen2.5-VL: qwen2_vl)."""


def register_raw_templates() -> None:
    """Make every template of `RAW_TEMPLATES` known to LLaMA-Factory in this process. Calling it again changes nothing.

    Raises ImportError where LLaMA-Factory is not installed.
    """
    from llamafactory.data.formatter import StringFormatter
    from llamafactory.data.mm_plugin import get_mm_plugin
    from llamafactory.data.template import TEMPLATES, register_template

    for name, plugin in RAW_TEMPLATES.items():
        if name not in TEMPLATES:
            # The default assistant slot would close every turn with the end-of-turn token.
            content = StringFormatter(slots=["{{content}}"])
            register_template(
                name=name,
                format_user=content,
                format_assistant=content,
                mm_plugin=get_mm_plugin(name=plugin, image_token="<|image_pad|>", video_token="<|video_pad|>"),
            )
