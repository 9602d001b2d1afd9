"""The main job from the command line, on the examples and the demo judge, which is a real server."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from support.cli import COMMAND, curate
from support.pictures import histology, retina

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"
DEMO = ("--judge", "--judge-url", "demo")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    shutil.copytree(EXAMPLES, folder / "raw")
    ran = curate("score", "raw", *DEMO, "--declare-deidentified", "dicom", cwd=folder)
    assert ran.status == 0, ran.err
    assert "no medical judge" in ran.err
    return folder


def verdicts(folder: Path) -> pl.DataFrame:
    samples = pl.read_parquet(folder / "curated/samples/*.parquet", columns=["id", "file", "row", "source"])
    return samples.join(pl.read_parquet(folder / "curated/verdicts/*.parquet"), on="id", validate="1:1")


def test_score_then_export_as_the_readme_has_it(scored: Path) -> None:
    ran = curate("export", "--format", "verl", "--json", cwd=scored)
    assert ran.status == 0, ran.err
    assert pl.read_parquet(scored / "exports/verl/train.parquet").height > 0
    assert curate("validate", "exports/verl", cwd=scored).status == 0


def test_the_bad_examples_are_dropped_for_the_reason_they_were_made_for(scored: Path) -> None:
    assert curate("export", "--format", "jsonl", cwd=scored).status == 0
    samples = pl.read_parquet(scored / "curated/samples/*.parquet", columns=["id", "file", "row"])
    dropped = samples.join(pl.read_parquet(scored / "curated/decisions/*.parquet"), on="id").filter(~pl.col("kept"))
    rules = {(file, row): rule for file, row, rule in dropped.select("file", "row", "rule").iter_rows()}
    expected = {
        ("dicom/nm-whole-body.dcm", 1): "modality_conflict",
        ("radiology/slice-blank.png", 1): "near_blank",
        ("radiology/us-aorta.png", 1): "wrong_extension",
        ("radiology/ankle-detail.jpg", 1): "boilerplate",
        ("pathology-captions/captions.jsonl", 9): "cut_off_text",
        ("pathology-captions/captions.jsonl", 10): "near_blank",
    }
    assert rules == expected


def test_a_second_run_measures_and_asks_nothing(scored: Path) -> None:
    ran = curate("score", "raw", *DEMO, "--declare-deidentified", "dicom", "--json", cwd=scored)
    counts = ran.json()
    assert ran.status == 0
    assert counts["ingest"]["unchanged"]
    assert counts["signals"]["measured"] == 0
    assert (counts["judge"]["requests"], counts["judge"]["scored"]) == (0, counts["ingest"]["samples"])


def test_every_scored_sample_has_five_scores_and_a_rubric(scored: Path) -> None:
    table = verdicts(scored).filter(pl.col("judge_status") == "scored")
    dimensions = ["medical_correctness", "fluency", "completeness", "practicality"]
    for name in dimensions:
        assert table[f"judge_{name}"].is_between(0, 5).all()
    assert table["judge_rubric"].str.len_chars().eq(64).all()
    assert set(table["judge_model"]) == {"curate-demo-judge"}


def test_dicom_that_nobody_declared_safe_is_refused_and_stays_unscored(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "dicom", tmp_path / "raw" / "dicom")
    ran = curate("score", "raw", *DEMO, "--json", cwd=tmp_path)
    assert ran.status == 1
    assert "--declare-deidentified" in ran.err
    judged = ran.json()["judge"]
    assert judged["refused"] == {"not_deidentified": 4}
    refused = verdicts(tmp_path).filter(pl.col("judge_status") == "refused")
    assert (refused.height, refused["judge_score"].null_count()) == (4, 4)


def test_without_an_endpoint_it_says_how_to_get_one_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    ran = curate("score", "raw", "--judge", cwd=tmp_path)
    assert ran.status == 2
    for way in ("OPENAI_API_KEY", "vllm serve", "--judge-url demo"):
        assert way in ran.err
    assert not (tmp_path / "curated").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--dry-run",), "--judge"),
        ((*DEMO, "--sample", "0"), "--sample"),
        ((*DEMO, "--concurrency", "0"), "--concurrency"),
        ((*DEMO, "--price", "cheap"), "--price"),
        ((*DEMO, "--rubric", "nothing.yaml"), "nothing.yaml"),
        (("--judge", "--judge-url", "ftp://x", "--judge-model", "m"), "http"),
        (("--map", "txt=caption"), "txt"),
        (("--budget", "5", "--judge", "--judge-url", "https://judge.example/v1", "--judge-model", "m"), "--price"),
    ],
)
def test_wrong_flags_fail_before_any_work(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    (tmp_path / "raw").mkdir()
    ran = curate("score", "raw", *flags, cwd=tmp_path)
    assert ran.status == 2
    assert said in ran.err
    assert not (tmp_path / "curated").exists()


def test_an_unknown_declared_source_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "raw" / "fundus").mkdir(parents=True)
    (tmp_path / "raw/fundus/a.png").write_bytes(retina())
    (tmp_path / "raw/fundus/a.txt").write_text("A fundus photograph with a visible optic disc and vessels.")
    ran = curate("score", "raw", *DEMO, "--declare-deidentified", "fundos", cwd=tmp_path)
    assert ran.status == 2
    assert "fundus" in ran.err


def test_dry_run_counts_and_sends_nothing(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "vqa", tmp_path / "raw" / "vqa")
    flags = ("--judge", "--judge-url", "http://127.0.0.1:9/v1", "--judge-model", "m", "--price", "1,2")
    ran = curate("score", "raw", *flags, "--dry-run", "--json", cwd=tmp_path)
    assert ran.status == 0
    estimate = ran.json()["judge"]
    assert estimate["requests"] == ran.json()["ingest"]["samples"] > 0
    assert estimate["cost_usd"] == pytest.approx((estimate["tokens_in"] + 2 * estimate["tokens_out"]) / 1e6)
    assert not list((tmp_path / "curated").glob("verdicts/*"))


def test_an_endpoint_that_is_down_leaves_everything_unscored_and_status_3(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.png").write_bytes(retina())
    (tmp_path / "raw/a.txt").write_text("A fundus photograph with a visible optic disc and vessels.")
    ran = curate("score", "raw", "--judge", "--judge-url", "http://127.0.0.1:9/v1", "--judge-model", "m", cwd=tmp_path)
    assert ran.status == 3
    assert "same command" in ran.err
    assert verdicts(tmp_path)["judge_score"].null_count() == 1
    assert curate("score", "raw", *DEMO, cwd=tmp_path).status == 0


def test_a_changed_caption_asks_once_and_a_moved_folder_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "set"
    folder.mkdir(parents=True)
    for name, data in (("a", retina()), ("b", histology())):
        (folder / f"{name}.png").write_bytes(data)
        (folder / f"{name}.txt").write_text(f"Photograph {name} shows tissue in colour with fine detail throughout.")

    def requests() -> int:
        ran = curate("score", "raw", *DEMO, "--json", cwd=tmp_path)
        assert ran.status == 0, ran.err
        return int(ran.json()["judge"]["requests"])

    assert requests() == 2
    (folder / "a.txt").write_text("Photograph a shows the retina with vessels and the optic disc.")
    assert requests() == 1
    (tmp_path / "raw" / "set").rename(tmp_path / "raw" / "moved")
    assert requests() == 0
    (tmp_path / "raw/moved/a.png").write_bytes(retina(96))
    assert requests() == 1


def test_keys_are_nowhere_on_disk_or_screen(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.png").write_bytes(retina())
    (tmp_path / "raw/a.txt").write_text("A fundus photograph with a visible optic disc and vessels.")
    secret = "sk-very-secret-0123456789"
    flags = ("--judge", "--judge-url", "http://127.0.0.1:9/v1", "--judge-model", "m")
    ran = curate("score", "raw", *flags, cwd=tmp_path, env={"OPENAI_API_KEY": secret})
    assert secret not in ran.err + ran.out
    for path in (tmp_path / "curated").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = "polars pyarrow numpy PIL openai pydantic pydicom rich torch datasets"
    code = (
        "import sys\nfrom curate.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_escapes_in_data_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]x[/]"
    (tmp_path / "raw/r.jsonl").write_text(json.dumps({"image": f"{hostile}.png", "text": "x", "source": hostile}))
    (tmp_path / "raw/a.png").write_bytes(retina())
    line = json.dumps({"image": "a.png", "text": "A fundus photograph of an eye.", "source": hostile})
    (tmp_path / "raw/s.jsonl").write_text(line)
    ran = curate("ingest", "raw", cwd=tmp_path, env={"FORCE_COLOR": "1"})
    assert "\x1b[2J" not in ran.err
    assert "\x1b]0" not in ran.err
    assert "[bold red]x[/]" in ran.err


def test_a_reader_that_leaves_is_no_crash(tmp_path: Path) -> None:
    process = subprocess.Popen([*COMMAND, "schema", "query"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert "Traceback" not in err


def test_a_folder_that_holds_our_own_output_does_not_feed_on_it(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "vqa", tmp_path / "vqa")
    counts = []
    for run in range(3):
        (tmp_path / "notes.md").write_text(f"Run {run}.")  # so that the folder is read again
        ran = curate("score", ".", *DEMO, "--json", cwd=tmp_path)
        assert ran.status == 0, ran.err
        counts.append((ran.json()["ingest"]["samples"], ran.json()["judge"]["scored"]))
        assert curate("export", "--format", "interleaved", cwd=tmp_path).status == 2
        assert curate("export", "--format", "verl", cwd=tmp_path).status == 0
    assert len(set(counts)) == 1
    rejected = [json.loads(line) for part in (tmp_path / "curated/rejects").iterdir() for line in part.open()]
    own = {reject["file"] for reject in rejected if reject["reason"] == "own_output"}
    assert own == {"curated", "exports/verl"}


def test_another_input_into_the_same_corpus_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(retina())
        (tmp_path / name / "x.txt").write_text(f"Retina {name}, with vessels and the optic disc.")
    assert "instead" not in curate("score", "a", cwd=tmp_path).err
    assert "instead" not in curate("score", "a", cwd=tmp_path).err
    assert "instead" in curate("score", "b", cwd=tmp_path).err


def test_an_endpoint_that_is_down_does_not_take_earlier_scores_away(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.png").write_bytes(retina())
    (tmp_path / "raw/a.txt").write_text("A fundus photograph with a visible optic disc and vessels.")
    assert curate("score", "raw", *DEMO, cwd=tmp_path).status == 0
    before = verdicts(tmp_path)
    down = ("--judge", "--judge-url", "http://127.0.0.1:9/v1", "--judge-model", "m")
    assert curate("score", "raw", *down, cwd=tmp_path).status == 3
    assert verdicts(tmp_path).equals(before)


@pytest.mark.parametrize("flag", [("--judge-url", "demo"), ("--sample", "5"), ("--budget", "1"), ("--dry-run",)])
def test_flags_about_the_judge_need_the_judge(tmp_path: Path, flag: tuple[str, ...]) -> None:
    (tmp_path / "raw").mkdir()
    ran = curate("score", "raw", *flag, cwd=tmp_path)
    assert (ran.status, "add --judge" in ran.err) == (2, True)


def test_identified_dicom_leaves_in_no_export_unless_its_source_is_declared(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "dicom", tmp_path / "raw" / "dicom")
    assert curate("score", "raw", cwd=tmp_path).status == 0
    guarded = curate("export", "--format", "image-caption", "--json", cwd=tmp_path)
    assert guarded.json()["dropped"]["not_deidentified"] == 4
    again = curate("score", "exports/image-caption", "-o", "second", *DEMO, "--json", cwd=tmp_path)
    assert again.json()["judge"]["scored"] <= 1
    flags = ("--declare-deidentified", "dicom")
    declared = curate("export", "--format", "image-caption", "--json", *flags, cwd=tmp_path)
    assert "not_deidentified" not in declared.json()["dropped"]
