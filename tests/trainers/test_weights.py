"""What a comparison of checkpoints says, on tensors made by hand and on real models."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate.adapters.tiny_qwen3_vl import build_tiny_qwen3_vl
from curate.adapters.weights import WeightChange, compare_weights, part_of

torch = pytest.importorskip("torch")


def checkpoint(directory: Path, tensors: dict[str, Any], *, tied: bool = False, shards: int = 1) -> Path:
    from safetensors.torch import save_file

    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"text_config": {"tie_word_embeddings": tied}}))
    names = list(tensors)
    for shard in range(shards):
        save_file({name: tensors[name] for name in names[shard::shards]}, directory / f"model-{shard}.safetensors")
    return directory


VISION, MERGER = "model.visual.blocks.0.attn.qkv.weight", "model.visual.merger.linear_fc1.weight"
DEEPSTACK = "model.visual.deepstack_merger_list.0.norm.weight"
LAYER = "model.language_model.layers.0.mlp.up_proj.weight"
EMBEDDINGS, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"


def weights() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(6, 4, generator=generator) for name in (VISION, MERGER, DEEPSTACK, LAYER, EMBEDDINGS)}


def by_part(change: WeightChange) -> dict[str, tuple[int, int]]:
    return {part.part: (part.changed, part.tensors) for part in change.parts}


def test_parts_are_those_that_llamafactory_freezes() -> None:
    assert [part_of(name) for name in (VISION, DEEPSTACK, MERGER)] == ["vision_encoder", "vision_encoder", "projector"]
    assert {part_of(name) for name in (LAYER, EMBEDDINGS, HEAD)} == {"language_model"}
    assert part_of("visual.patch_embed.proj.weight") == "vision_encoder"
    assert part_of("multi_modal_projector.linear_1.weight") == "projector"
    assert part_of("model.layers.3.self_attn.q_proj.weight") == "language_model"


def test_changes_are_counted_by_part_and_measured(tmp_path: Path) -> None:
    before, after = weights(), weights()
    after[MERGER] = after[MERGER] * 1.5
    after[EMBEDDINGS][2, 1] += 0.25
    change = compare_weights(checkpoint(tmp_path / "before", before), checkpoint(tmp_path / "after", after, shards=3))
    assert by_part(change) == {"vision_encoder": (0, 2), "projector": (1, 1), "language_model": (1, 2)}
    vision, projector, language = change.parts
    assert vision.relative == vision.largest == 0
    assert projector.relative == pytest.approx(0.5)
    assert projector.largest == pytest.approx(0.5 * float(before[MERGER].abs().max()))
    assert (language.parameters, language.largest) == (48, 0.25)
    deepstack, embeddings = change.within
    assert (deepstack.changed, deepstack.tensors, deepstack.parameters) == (0, 1, 24)
    assert (embeddings.changed, embeddings.tensors, embeddings.largest) == (1, 1, 0.25)
    norm = math.sqrt(sum(float(before[name].double().square().sum()) for name in (LAYER, EMBEDDINGS)))
    assert language.relative == pytest.approx(0.25 / norm)
    assert not change.missing
    assert not change.added
    assert not change.reshaped


def test_tensors_larger_than_a_piece_are_compared_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.adapters.weights._PIECE", 5)
    before, after = weights(), weights()
    after[VISION][5, 3] += 1
    whole = compare_weights(checkpoint(tmp_path / "before", before), checkpoint(tmp_path / "after", after))
    assert by_part(whole)["vision_encoder"] == (1, 2)
    assert whole.parts[0].largest == pytest.approx(1)
    norm = math.sqrt(sum(float(before[name].double().square().sum()) for name in (VISION, DEEPSTACK)))
    assert whole.parts[0].relative == pytest.approx(1 / norm)


def test_what_is_only_rounded_has_not_changed(tmp_path: Path) -> None:
    before = weights()
    after = {name: tensor.to(torch.bfloat16) for name, tensor in before.items()}
    after[LAYER] = (before[LAYER] * 1.1).to(torch.bfloat16)
    first, second = checkpoint(tmp_path / "before", before), checkpoint(tmp_path / "after", after)
    for change in (compare_weights(first, second), compare_weights(second, first)):
        assert by_part(change) == {"vision_encoder": (0, 2), "projector": (0, 1), "language_model": (1, 2)}
    assert compare_weights(first, second).parts[2].relative > 0.01


def test_tensors_on_one_side_only_are_told_but_not_a_tied_output_layer(tmp_path: Path) -> None:
    with_head = weights() | {HEAD: torch.ones(6, 4)}
    other = {name.removeprefix("model."): tensor for name, tensor in weights().items() if name != DEEPSTACK}
    other["language_model.layers.1.weight"] = torch.ones(2)
    other["language_model.layers.0.mlp.up_proj.weight"] = torch.ones(7, 4)
    for tied in (True, False):
        before = checkpoint(tmp_path / f"before-{tied}", with_head, tied=tied)
        change = compare_weights(before, checkpoint(tmp_path / f"after-{tied}", other, tied=tied))
        head = [] if tied else [HEAD]
        assert change.missing == [*head, "visual.deepstack_merger_list.0.norm.weight"]
        assert change.added == ["layers.1.weight"]
        assert change.reshaped == ["layers.0.mlp.up_proj.weight"]
        assert by_part(change)["language_model"] == (1, 2)


def test_weights_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    after = weights()
    after[LAYER][0, 0], after[LAYER][0, 1] = math.nan, math.inf
    change = compare_weights(checkpoint(tmp_path / "before", weights()), checkpoint(tmp_path / "after", after))
    assert (change.parts[2].not_finite, change.parts[2].changed, change.parts[2].relative) == (2, 1, 0.0)
    json.dumps(change.as_dict(), allow_nan=False)


def test_the_command_writes_json_and_prints_parts(tmp_path: Path) -> None:
    models = [build_tiny_qwen3_vl(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    command = [sys.executable, "-m", "curate.adapters.weights"]
    target = tmp_path / "out" / "weights.json"
    done = subprocess.run([*command, *models, "--json", target], capture_output=True, text=True, check=True)
    written = json.loads(target.read_text())
    assert [part["part"] for part in written["parts"]] == ["vision_encoder", "projector", "language_model"]
    assert all(part["relative"] > 0.01 and part["changed"] > 0 for part in written["parts"])
    assert written["missing"] == written["added"] == []
    assert "projector" in done.stdout
    nothing = subprocess.run([*command, models[0], tmp_path / "out"], capture_output=True, text=True, check=False)
    assert nothing.returncode != 0
    assert "holds no safetensors" in nothing.stderr
    assert "Traceback" not in nothing.stderr
