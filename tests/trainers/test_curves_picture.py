"""The picture of the curves: one panel for each title, whatever was logged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageStat

COMMAND = [sys.executable, "-m", "curate.adapters.curves"]


@pytest.mark.parametrize("points", [0, 1, 20, 200])
def test_a_picture_is_drawn_for_any_number_of_points(tmp_path: Path, points: int) -> None:
    lines = [json.dumps({"step": step, "loss": 1 / (step + 1), "val": step}) for step in range(points)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    panels = ["CPT=m.jsonl:loss", "GRPO=m.jsonl:loss,val", "Other=m.jsonl:nothing"]
    subprocess.run([*COMMAND, "out/curves.png", *panels], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.width > 2 * picture.height
        assert min(ImageStat.Stat(picture.convert("RGB")).mean) > 200  # a light background
        coloured = ImageStat.Stat(picture.convert("HSV").getchannel("S")).mean[0]
    assert (coloured > 0.05) == (points > 0)


def test_a_missing_file_or_another_form_is_a_sentence(tmp_path: Path) -> None:
    for panel, message in (("CPT=nowhere.jsonl:loss", "nowhere.jsonl"), ("loss", "is no TITLE=metrics.jsonl:KEY")):
        done = subprocess.run([*COMMAND, "out.png", panel], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
