"""The output directory is whole or absent, and a broken picture costs its sample only."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.measured import NO_SCORE, caption, conversation, make_corpus, query, stored, write_signals, write_verdicts
from support.pictures import distinct, retina

import curate.exports.run
from curate.corpus import Corpus, Image, Sample, UserError, exclusive, stored_image_path
from curate.exports import FORMATS, ExportOptions, export
from curate.exports.directory import write_marker


def corpus_with(tmp_path: Path, pictures: int = 3) -> tuple[Corpus, list[Sample]]:
    """Queries and conversations, one of each for every picture."""
    images = [stored(tmp_path / "curated", distinct(number)) for number in range(pictures)]
    samples = [query(f"Q{n}?", "a", images=[image], row=n) for n, image in enumerate(images)]
    samples += [conversation(f"C{n}?", "a", images=[image], row=100 + n) for n, image in enumerate(images)]
    corpus = make_corpus(tmp_path / "curated", samples)
    write_signals(corpus)
    return corpus, samples


def image_file(corpus: Corpus, image: Image) -> Path:
    return stored_image_path(corpus.path, image.sha256, image.format)


def listing(directory: Path) -> dict[str, bytes]:
    """All files of an export without the time in export.json."""
    files = {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    return {name: re.sub(rb'"at": "[^"]*"', b"", data) for name, data in files.items()}


class TestTarget:
    def test_an_earlier_export_is_replaced_whole(self, tmp_path: Path) -> None:
        corpus, samples = corpus_with(tmp_path)
        export(corpus, "llamafactory-sft", tmp_path / "out")
        export(corpus, "verl", tmp_path / "out", ExportOptions(where=f"id <> '{samples[0].id}'"))
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "README.md",
            "export.json",
            "train.parquet",
            "val.parquet",
        ]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["curated", "out"]

    @pytest.mark.parametrize("content", ["notes.txt", "export.json"])
    def test_something_else_is_left_alone(self, tmp_path: Path, content: str) -> None:
        corpus, _ = corpus_with(tmp_path)
        target = tmp_path / "out"
        target.mkdir()
        (target / content).write_text('{"mine": 1}')
        with pytest.raises(UserError, match="holds something that is no export"):
            export(corpus, "verl", target)
        assert listing(target) == {content: b'{"mine": 1}'}
        assert not (corpus.path / "decisions").exists()

    def test_what_was_added_to_an_earlier_export_is_not_deleted(self, tmp_path: Path) -> None:
        corpus, _ = corpus_with(tmp_path)
        target = tmp_path / "out"
        export(corpus, "llamafactory-sft", target)
        for name in ("saves", "output"):
            (target / name / "checkpoint-500").mkdir(parents=True)
            (target / name / "checkpoint-500" / "model.safetensors").write_bytes(b"trained")
        before = listing(target)
        with pytest.raises(UserError, match=r"did not write output, saves in it.*; move that elsewhere, or .*-o"):
            export(corpus, "llamafactory-sft", target)
        assert listing(target) == before

    def test_what_is_added_while_it_is_replaced_is_not_deleted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus, _ = corpus_with(tmp_path)
        target = tmp_path / "out"
        export(corpus, "verl", target)

        def train_meanwhile(directory: Path, description: dict[str, Any]) -> None:
            write_marker(directory, description)
            (target / "output").mkdir()

        monkeypatch.setattr(curate.exports.run, "write_marker", train_meanwhile)
        with pytest.raises(UserError, match="did not write output in it"):
            export(corpus, "verl", target)
        assert (target / "output").is_dir()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["curated", "out"]

    def test_everything_an_export_writes_may_be_replaced(self, tmp_path: Path) -> None:
        corpus, samples = corpus_with(tmp_path, pictures=6)
        image_file(corpus, samples[0].images[0]).unlink()
        for name in FORMATS:
            if name in ("image-caption", "interleaved", "llamafactory-cpt"):
                continue  # there are no captions in this corpus
            for _ in range(2):
                summary = export(corpus, name, tmp_path / "out", ExportOptions(images="path", val_fraction=0.4))
                assert {path.name for path in (tmp_path / "out").iterdir()} >= {"images", "skipped.jsonl"}
                assert len(summary.files) == 2

    def test_a_file_a_corpus_and_the_current_directory_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus, _ = corpus_with(tmp_path)
        (tmp_path / "file").write_text("x")
        with pytest.raises(UserError, match="is a file"):
            export(corpus, "verl", tmp_path / "file")
        with pytest.raises(UserError, match="is inside the corpus"):
            export(corpus, "verl", corpus.path / "exports")
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        with pytest.raises(UserError, match="the directory you are in"):
            export(corpus, "verl", Path())

    def test_missing_parents_are_made(self, tmp_path: Path) -> None:
        corpus, _ = corpus_with(tmp_path)
        export(corpus, "verl", tmp_path / "a" / "b" / "out")
        assert (tmp_path / "a" / "b" / "out" / "train.parquet").exists()

    def test_two_at_once(self, tmp_path: Path) -> None:
        corpus, _ = corpus_with(tmp_path)
        with exclusive(tmp_path / ".out.partial"), pytest.raises(UserError, match="is in use by process"):
            export(corpus, "verl", tmp_path / "out")
        with corpus.lock(), pytest.raises(UserError, match="is in use by process"):
            export(Corpus.open(corpus.path), "verl", tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestInterruption:
    def test_what_a_killed_run_left_is_cleared(self, tmp_path: Path) -> None:
        corpus, _ = corpus_with(tmp_path)
        export(corpus, "llamafactory-sft", tmp_path / "whole" / "out")
        left = tmp_path / ".out.partial"
        (left / "images" / "ab").mkdir(parents=True)
        (left / "images" / "ab" / "half.png").write_bytes(b"half")
        (left / "train.parquet").write_bytes(b"half")
        (tmp_path / ".out.old").mkdir()
        (tmp_path / ".out.old" / "train.parquet").write_bytes(b"old")
        export(corpus, "llamafactory-sft", tmp_path / "out")
        assert listing(tmp_path / "out") == listing(tmp_path / "whole" / "out")
        assert not left.exists()

    def test_a_failure_leaves_the_earlier_export_as_it_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus, _ = corpus_with(tmp_path)
        export(corpus, "verl", tmp_path / "out")
        before = listing(tmp_path / "out")

        def fail(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(curate.exports.run, "write_marker", fail)
        with pytest.raises(KeyboardInterrupt):
            export(corpus, "verl", tmp_path / "out", ExportOptions(images="path"))
        assert listing(tmp_path / "out") == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["curated", "out"]

    def test_an_export_that_cannot_be_put_in_place_leaves_the_earlier_one_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus, _ = corpus_with(tmp_path)
        export(corpus, "verl", tmp_path / "out")
        before = listing(tmp_path / "out")
        rename = Path.rename

        def fail_for_the_new_one(self: Path, target: Path) -> Path:
            if self.name == ".out.partial":
                raise OSError(errno.EIO, "Input/output error", str(self))
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
        with pytest.raises(OSError, match="Input/output error"):
            export(corpus, "verl", tmp_path / "out", ExportOptions(images="path"))
        assert listing(tmp_path / "out") == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["curated", "out"]

    @pytest.mark.parametrize("name", ["verl", "llamafactory-sft", "jsonl"])
    def test_a_full_disk_is_a_sentence_and_leaves_nothing(self, tmp_path: Path, name: str) -> None:
        """A limit on file size fails writes half-way, as a full disk does."""
        image = stored(tmp_path / "curated", retina(900, "PNG"))
        samples = [query("Q?", "a", images=[image]), conversation("Q?", "a", images=[image])]
        write_signals(make_corpus(tmp_path / "curated", samples))
        done = subprocess.run(
            [sys.executable, "-c", "from curate.cli.main import main; main()", "export", "--format", name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert "File too large" in done.stderr
        assert list((tmp_path / "exports").iterdir()) == []


class TestPictures:
    @pytest.mark.parametrize(
        ("name", "images"),
        [(name, way) for name in ("verl", "jsonl", "llamafactory-sft") for way in FORMATS[name].images],
    )
    def test_a_missing_and_a_changed_picture_cost_their_samples_only(
        self, tmp_path: Path, name: str, images: str
    ) -> None:
        corpus, samples = corpus_with(tmp_path, pictures=4)
        image_file(corpus, samples[0].images[0]).unlink()
        image_file(corpus, samples[1].images[0]).write_bytes(retina(64))
        summary = export(corpus, name, tmp_path / "out", ExportOptions(images=images, val_fraction=0))
        of_each_picture = {"verl": 1, "llamafactory-sft": 1, "jsonl": 2}[name]
        assert summary.skipped == {"picture missing or changed": 2 * of_each_picture}
        assert summary.files[0].rows == 2 * of_each_picture
        assert summary.status == 1
        reasons = [json.loads(line)["reason"] for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
        assert any("No such file" in reason for reason in reasons)
        assert any("has changed since it was ingested" in reason for reason in reasons)
        assert summary.skipped_examples[0].startswith("made.jsonl:")

    def test_another_copy_of_a_lost_picture_will_do(self, tmp_path: Path) -> None:
        data, root = distinct(1), tmp_path / "raw"
        root.mkdir()
        kept = stored(tmp_path / "curated", data)
        places = [
            Image(kept.sha256, "png", 48, 48, len(data), False, 0, name, 1, name) for name in ("gone.png", "here.png")
        ]
        (root / "here.png").write_bytes(data)
        samples = [caption("One.", places[0]), caption("Two.", places[1])]
        corpus = make_corpus(tmp_path / "curated", samples)
        corpus.info.roots = [str(root)]
        corpus.save()
        write_signals(corpus)
        for images in ("path", "base64"):
            summary = export(corpus, "image-caption", tmp_path / "out", ExportOptions(images=images))
            assert (summary.files[0].rows, summary.skipped) == (2, {})

    def test_a_lost_picture_leaves_no_empty_folder(self, tmp_path: Path) -> None:
        corpus, samples = corpus_with(tmp_path)
        image_file(corpus, samples[0].images[0]).unlink()
        export(corpus, "llamafactory-sft", tmp_path / "out")
        folders = [path for path in (tmp_path / "out").rglob("*") if path.is_dir()]
        assert len(folders) > 1
        assert all(any(folder.iterdir()) for folder in folders)

    def test_a_lost_picture_is_missed_in_every_shard(self, tmp_path: Path) -> None:
        image, other = (stored(tmp_path / "curated", distinct(number)) for number in range(2))
        samples = [conversation(f"{n}?", "a", images=[shown], row=n) for n, shown in enumerate([image, other] * 3)]
        corpus = make_corpus(tmp_path / "curated", samples, per_shard=2)
        write_signals(corpus)
        image_file(corpus, image).unlink()
        summary = export(corpus, "llamafactory-sft", tmp_path / "out")
        assert (summary.files[0].rows, summary.images) == (3, 1)
        assert summary.skipped == {"picture missing or changed": 3}

    def test_when_no_picture_is_left_nothing_is_written(self, tmp_path: Path) -> None:
        corpus, samples = corpus_with(tmp_path, pictures=1)
        image_file(corpus, samples[0].images[0]).unlink()
        with pytest.raises(UserError, match=r"none of the 1 selected.*picture missing or changed \(1\)"):
            export(corpus, "verl", tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestCounts:
    def test_they_add_up_and_are_on_record(self, tmp_path: Path) -> None:
        corpus, samples = corpus_with(tmp_path, pictures=6)
        write_signals(corpus, {samples[0].id: {"image_entropy": 0.0}, samples[7].id: {"text_cut_off": True}})
        write_verdicts(corpus, {samples[1].id: NO_SCORE | {"judge_status": "failed"}})
        image_file(corpus, samples[2].images[0]).unlink()
        summary = export(corpus, "verl", tmp_path / "out")
        written = sum(file.rows for file in summary.files)
        dropped, others, skipped = (sum(c.values()) for c in (summary.dropped, summary.other_kinds, summary.skipped))
        assert summary.total == 12 == dropped + others + skipped + written
        assert (summary.kept, dropped, others, skipped, written) == (10, 2, 5, 1, 4)
        assert summary.unjudged == {"failed": 1}
        described = json.loads((tmp_path / "out" / "export.json").read_text())
        assert described["counts"]["dropped"] == {"near_blank": 1, "cut_off_text": 1}
        assert described["options"]["min_score"] == 3.0
        assert sum(file["rows"] for file in described["files"]) == written
        step = Corpus.open(corpus.path).info.steps[-1]
        assert (step.name, step.counts["rows"], step.parameters["format"]) == ("export", written, "verl")

    def test_nothing_to_export_says_why(self, tmp_path: Path) -> None:
        corpus, samples = corpus_with(tmp_path, pictures=2)
        write_signals(corpus, {samples[0].id: {"image_entropy": 0.0}, samples[1].id: {"image_min_side": 5}})
        with pytest.raises(UserError) as caught:
            export(corpus, "verl", tmp_path / "out")
        assert str(caught.value) == (
            "there is nothing to export: of 4 sample(s) 2 were dropped (near_blank 1, too_small 1) and 2 are of other "
            "kinds (conversation 2); verl takes query"
        )
        assert not (tmp_path / "out").exists()

    def test_an_interrupted_ingest_is_not_exported(self, tmp_path: Path) -> None:
        corpus, _ = corpus_with(tmp_path)
        corpus.info.complete = False
        with pytest.raises(UserError, match="was interrupted"):
            export(corpus, "verl", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("alpaca", {}, "no export format 'alpaca'; there are: image-caption"),
        ("verl", {"images": "base64"}, "--images base64 is not possible with verl; it has: embed, path"),
        ("jsonl", {"images": "embed"}, "it has: path, base64"),
        ("verl", {"val_fraction": 1.0}, "at least 0 and below 1"),
        ("verl", {"val_fraction": float("nan")}, "at least 0 and below 1"),
        ("jsonl", {"max_tokens": 4096}, "does not cut its rows"),
        ("llamafactory-cpt", {"max_tokens": 5}, "at least 1024"),
        ("jsonl", {"system_prompt": "x"}, "--system-prompt is for verl"),
        ("verl", {"seed": 2**70}, "must fit into 64 bits"),
        ("verl", {"min_score": 9.0}, "scores go from 0 to 5"),
    ],
)
def test_options_that_do_not_fit_fail_before_any_work(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    corpus, _ = corpus_with(tmp_path)
    with pytest.raises(UserError) as caught:
        export(corpus, name, tmp_path / "out", ExportOptions(**options))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not (corpus.path / "decisions").exists()
