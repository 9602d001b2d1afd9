"""Stage files: what they may say, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.adapters.stage import GrpoStage, SftStage, load_stage, parse_stage
from curate.corpus import UserError

SFT = {"stage": "sft", "model": "m", "data": [{"path": "exports/sft"}], "output": "runs/sft", "batch_size": 64}
GRPO = {"stage": "grpo", "model": "m", "data": [{"path": "exports/verl"}], "output": "runs/grpo", "batch_size": 128}


def refused(content: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        parse_stage(content, "stage.yaml")
    return str(caught.value)


def test_the_batch_is_made_of_whole_micro_batches() -> None:
    stage = parse_stage({**SFT, "gpus": 8, "micro_batch_size": 2}, "x")
    assert isinstance(stage, SftStage)
    assert stage.accumulation == 4
    assert "64 is no multiple of micro_batch_size x gpus = 24" in refused({**SFT, "gpus": 8, "micro_batch_size": 3})


def test_an_unknown_setting_is_told_with_the_nearest_one() -> None:
    assert "modle is no setting of this stage; did you mean model?" in refused({**SFT, "modle": "m"})
    assert "belong under arguments" in refused({**SFT, "warmup_ratio": 0.1})
    assert "group_size is no setting of this stage" in refused({**SFT, "group_size": 8})
    assert "max_pixels is no setting of this stage" in refused({**GRPO, "max_pixels": 65536})
    assert "stage must be one of cpt, sft, grpo" in refused({**SFT, "stage": "pt"})
    assert refused({"stage": "sft"}).count("Field required") == 4


@pytest.mark.parametrize("text", ["1e-5", "1.e-5", "+1.0E-5", ".01e-3", "0.1e-4"])
def test_numbers_that_yaml_takes_for_words(text: str) -> None:
    stage = parse_stage({**GRPO, "arguments": {"a": text, "b": {"c": [text]}, "name": f"v{text}"}}, "x")
    assert stage.arguments == {"a": 1e-5, "b": {"c": [1e-5]}, "name": f"v{text}"}


def test_shares_are_for_all_exports_and_sum_to_one() -> None:
    def data(*shares: float | None) -> dict[str, object]:
        return {**SFT, "data": [{"path": f"e{n}", "share": share} for n, share in enumerate(shares)]}

    parse_stage(data(0.25, 0.75), "x")
    assert "sum to 0.9" in refused(data(0.4, 0.5))
    assert "for every export of data, or for none" in refused(data(0.4, None))


def test_grpo_is_on_policy_unless_told_otherwise_and_checks_its_sizes() -> None:
    stage = parse_stage(GRPO, "x")
    assert isinstance(stage, GrpoStage)
    assert (stage.group_size, stage.epsilon, stage.beta) == (8, 0.2, 0.01)
    assert "no multiple of mini_batch_size 100" in refused({**GRPO, "mini_batch_size": 100})
    assert "rollout: cpu_smoke belongs to gpus: 0" in refused({**GRPO, "gpus": 0})
    assert "must sum to 1" in refused({**GRPO, "reward": {"format_weight": 0.5}})
    assert "learning_rate" in refused({**GRPO, "learning_rate": "fast"})


def test_overrides_replace_entries(tmp_path: Path) -> None:
    file = tmp_path / "stage.yaml"
    file.write_text("stage: sft\nmodel: m\ndata:\n  - path: a\noutput: o\nbatch_size: 8\narguments: {max_steps: 3}\n")
    stage = load_stage(
        file,
        ["model=runs/x/model", "data.0.path=b", "lora.rank=4", "arguments.learning_rate=1.0e-4", "arguments.a.b=c"],
    )
    assert isinstance(stage, SftStage)
    assert (stage.model, stage.data[0].path) == ("runs/x/model", Path("b"))
    assert stage.lora is not None
    assert stage.lora.rank == 4
    assert stage.arguments == {"max_steps": 3, "learning_rate": 1e-4, "a.b": "c"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model", "is no KEY=VALUE"),
        ("data.7.path=x", "data.7.path=x"),
        ("model.name=x", "sets an entry of model, which has none"),
        ("data.path=x", "the list before it does not have"),
    ],
)
def test_overrides_that_fit_nowhere(tmp_path: Path, override: str, said: str) -> None:
    file = tmp_path / "stage.yaml"
    file.write_text("stage: sft\nmodel: m\ndata: [{path: a}]\noutput: o\nbatch_size: 8\n")
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        load_stage(file, [override])


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is no stage"), ("- a", "is no stage"), ("a: [", "is no YAML"), ("\x00", "is no YAML")],
)
def test_files_that_are_no_stage(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "stage.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=said):
        load_stage(file)
