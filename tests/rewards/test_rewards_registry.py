"""A team's own query types, and what importing the rewards brings along."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import curate
from curate.rewards import Context, RewardError, compute_score, known_types, reference_problem, register, registry
from curate.rewards.text import exact

ROOT = Path(curate.__file__).parents[1]


@pytest.fixture(autouse=True)
def table_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_TYPES", dict(registry._TYPES))
    monkeypatch.delenv("CURATE_REWARDS", raising=False)
    yield
    sys.modules.pop("team_rewards", None)


def test_a_registered_type_is_scored_like_the_others() -> None:
    @register("prefix")
    def prefix(answer: str, references: Sequence[str], context: Context) -> float | None:
        """Share of the reference that the answer begins with."""
        shared = [len(r) for r in references if r.startswith(answer)]
        return len(answer) / max(shared) if shared else None

    assert known_types()[-1] == "prefix"
    score = compute_score("s", "<answer>liv</answer>", "livers", {"query_type": "prefix"})
    assert (score["score"], score["answer_read"]) == (0.1 + 0.9 * 0.5, 1.0)
    assert compute_score("s", "<answer>lung</answer>", "livers", {"query_type": "prefix"})["answer_read"] == 0.0
    assert reference_problem("livers", {"query_type": "prefix"}) is None


def test_a_name_belongs_to_one_function() -> None:
    with pytest.raises(RewardError, match=r"'exact' is taken by curate\.rewards\.text\.exact"):
        register("exact")(lambda answer, references, context: 1.0)
    assert register("exact")(exact) is exact


@pytest.mark.parametrize("value", [2.0, -0.1, float("nan")])
def test_a_value_that_is_no_reward_is_refused(value: float) -> None:
    register("off")(lambda answer, references, context: value)
    with pytest.raises(RewardError, match="'off' gave"):
        compute_score("s", "<answer>x</answer>", "x", {"query_type": "off"})


@pytest.mark.parametrize(("given", "message"), [("x", "TypeError"), (None, "ZeroDivisionError")])
def test_an_accuracy_that_raises_is_named(given: object, message: str) -> None:
    register("broken")(lambda answer, references, context: given or 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(RewardError, match=f"'broken' raised {message}"):
        compute_score("s", "<answer>x</answer>", "x", {"query_type": "broken"})
    with pytest.raises(RewardError, match="'broken' raised"):
        reference_problem("x", {"query_type": "broken"})


def test_modules_named_in_the_environment_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "team_rewards.py").write_text(
        "from curate.rewards import register\n\n"
        "@register('always')\n"
        "def always(answer, references, context):\n"
        "    return 1.0\n"
    )
    with pytest.raises(RewardError, match="'always'"):
        compute_score("s", "<answer>x</answer>", "y", {"query_type": "always"})
    monkeypatch.setenv("CURATE_REWARDS", " team_rewards ,")
    with pytest.raises(RewardError, match="'team_rewards', which cannot be imported"):
        known_types()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compute_score("s", "<answer>x</answer>", "y", {"query_type": "always"})["score"] == 1.0
    assert "always" in known_types()


def test_the_room_needs_the_standard_library_only() -> None:
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); import curate.rewards, curate.rewards.offline\n"
        "ours = sorted(m for m in sys.modules if m.split('.')[0] == 'curate')\n"
        "print([m for m in ours if m != 'curate' and not m.startswith('curate.rewards')])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_example_of_the_documentation_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "rewards.md").read_text("utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    assert example.startswith("# team_rewards.py\n")
    (tmp_path / "team_rewards.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("CURATE_REWARDS", "team_rewards")
    assert "prefix" in known_types()
    assert compute_score("s", "<answer>li</answer>", "lime", {"query_type": "prefix"})["accuracy"] == 0.5
