"""Signals against a bare decode of the same files, and against Data-Juicer's filters and imagededup's hashes.

python benchmarks/signals/run.py [--rounds 5] [--pictures 2400] [decode] [data-juicer] [imagededup]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import pydicom  # noqa: E402
from measure import Timing, by_peer, in_turn, median, ratio, table, timed, write_results  # noqa: E402
from peers import PeerError, peer_python  # noqa: E402
from pictures import make_pictures  # noqa: E402
from PIL import Image  # noqa: E402

from curate.corpus import Corpus  # noqa: E402
from curate.engine import usable_cores  # noqa: E402
from curate.signals import measure_corpus  # noqa: E402
from curate.sources.ingest import IngestOptions, ingest  # noqa: E402

_TEXT = "Number {}: a photograph of the retina shows the optic disc, the vessels and a macula without exudates."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["decode", "data-juicer", "imagededup"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=2400)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-signals")
    options = parser.parse_args()
    make_pictures(options.work)
    run = {"decode": _decode, "data-juicer": _data_juicer, "imagededup": _imagededup}
    for part in options.parts:
        text = run[part](options)
        write_results(f"signals-{part}", f"python benchmarks/signals/run.py {part}", text)


def _corpus(work: Path, name: str, limit: int) -> tuple[Corpus, int]:
    """A corpus of the pictures in one folder, each with a caption, and how many there are."""
    raw, path = work / f"raw-{name}", work / f"corpus-{name}"
    for folder in (raw, path):
        shutil.rmtree(folder, ignore_errors=True)
    raw.mkdir()
    files = sorted((work / name).iterdir())[:limit]
    with (raw / "captions.jsonl").open("w") as records:
        for number, file in enumerate(files):
            (raw / file.name).hardlink_to(file)
            record = {"image": file.name, "text": _TEXT.format(number), "source": "made"}
            records.write(json.dumps(record) + "\n")
    corpus = Corpus.create(path)
    ingest([raw], corpus, IngestOptions(), lambda rows, samples: None)
    return corpus, len(files)


def _signals(corpus: Corpus) -> Timing:
    """All signals of a corpus, measured anew."""
    shutil.rmtree(corpus.path / "signals", ignore_errors=True)
    return timed(lambda: measure_corpus(corpus))


def _decode(options: argparse.Namespace) -> str:
    rows = []
    with multiprocessing.get_context("fork").Pool(usable_cores()) as pool:
        for name in ("jpeg", "png", "dicom"):
            corpus, count = _corpus(options.work, name, options.pictures)
            given = sorted((options.work / name).iterdir())[:count]
            if name == "dicom":
                root = Path(corpus.info.roots[0])
                contestants = {
                    "signals": lambda r=root: _ingest_and_signals(r),
                    "bare": _bare(pool, _load_dicom, given),
                }
            else:
                contestants = {"signals": lambda c=corpus: _signals(c), "bare": _bare(pool, _load, given)}
            title = "dicom, with ingest" if name == "dicom" else name
            rows.append(_row(title, count, *in_turn(contestants, options.rounds).values()))
    head = ["files", "number", "signals, images/s", "bare decode, images/s", "of bare (wall)", "of bare (cpu)"]
    return (
        "# Signals against a bare decode\n\nAll signals of images, texts and pairs, files read and hashed and "
        "the table "
        "written, against Pillow's `Image.load` (pydicom's `pixel_array`) of the same files in a process for "
        "each core. "
        "JPEG 1024 x 1024, PNG 512 x 512. DICOM is rendered to PNG by ingest, once: the row is the whole way "
        "against the raw pixels, the files being uncompressed. Medians of "
        f"{options.rounds} rounds in turn.\n\n{table(head, rows)}"
    )


def _row(name: str, count: int, ours: list[Timing], bare: list[Timing]) -> list[str]:
    rates = [f"{count / median(runs):,.0f}" for runs in (ours, bare)]
    return [name, str(count), *rates, *(f"{1 / ratio(ours, bare, field):.2f}" for field in ("wall", "cpu"))]


def _bare(pool: Pool, load: Callable[[Path], float], files: list[Path]) -> Callable[[], Timing]:
    def run() -> Timing:
        spent: list[float] = []
        wall = timed(lambda: spent.extend(pool.map(load, files, chunksize=16))).wall
        return Timing(wall, sum(spent))

    return run


def _load(path: Path) -> float:
    return timed(lambda: _opened(path)).cpu


def _opened(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()


def _load_dicom(path: Path) -> float:
    return timed(lambda: pydicom.dcmread(path).pixel_array).cpu


def _ingest_and_signals(raw: Path) -> Timing:
    """The whole way of a folder, into a corpus that is new each time."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.create(Path(folder) / "corpus")

        def run() -> None:
            ingest([raw], corpus, IngestOptions(), lambda rows, samples: None)
            measure_corpus(corpus)

        return timed(run)


def _data_juicer(options: argparse.Namespace) -> str:
    try:
        python = peer_python("data-juicer", HERE / "data-juicer.txt")
    except PeerError as error:
        return f"# Data-Juicer\n\nIt could not be installed:\n\n    {error}\n"
    corpus, count = _corpus(options.work, "jpeg", options.pictures)
    pairs = options.work / "pairs.jsonl"
    with pairs.open("w") as file:
        for number, path in enumerate(sorted((options.work / "jpeg").iterdir())[:count]):
            row = {"text": f"<__dj__image> {_TEXT.format(number)} <|__dj__eoc|>", "images": [str(path)]}
            file.write(json.dumps(row) + "\n")

    def peer(how: str) -> Callable[[], Timing]:
        return lambda: by_peer(python, HERE / "data_juicer_filters.py", pairs, str(count), how)

    contestants = {"curate": lambda: _signals(corpus), "filters": peer("apart"), "fused": peer("fused")}
    timings = in_turn(contestants, max(1, options.rounds // 2))
    ours = timings.pop("curate")
    names = {"filters": "Data-Juicer 1.6.1", "fused": "Data-Juicer 1.6.1, op_fusion"}
    rows = [["curate, all signals", f"{count / median(ours):,.0f}", "", ""]]
    for name, runs in timings.items():
        times = [f"{ratio(runs, ours, field):.1f}" for field in ("wall", "cpu")]
        rows.append([names[name], f"{count / median(runs):,.0f}", *times])
    head = ["", "pairs/s", "curate is faster (wall), times", "curate is faster (cpu), times"]
    return (
        f"# Signals against Data-Juicer's filters\n\n{count:,} pairs of a caption and a JPEG of 1024 x 1024. "
        "Data-Juicer: shape, "
        "aspect ratio, file size, text length, words, character repetition, special characters, without the "
        "time it takes "
        f"to start. curate: all signals, those among them.\n\n{table(head, rows)}"
    )


def _imagededup(options: argparse.Namespace) -> str:
    try:
        python = peer_python("imagededup", HERE / "imagededup.txt")
    except PeerError as error:
        return f"# imagededup\n\nIt could not be installed:\n\n    {error}\n"
    corpus, count = _corpus(options.work, "jpeg", options.pictures)

    def peer() -> Timing:
        folder = options.work / "for-imagededup"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in sorted((options.work / "jpeg").iterdir())[:count]:
            (folder / path.name).hardlink_to(path)
        return by_peer(python, HERE / "imagededup_hashes.py", folder, str(count))

    timings = in_turn({"curate": lambda: _signals(corpus), "imagededup": peer}, max(1, options.rounds // 2))
    ours, theirs = timings["curate"], timings["imagededup"]
    times = [f"{ratio(theirs, ours, field):.1f}" for field in ("wall", "cpu")]
    rows = [
        ["curate, all signals", f"{count / median(ours):,.0f}", "", ""],
        ["imagededup 0.3.3.post2, PHash", f"{count / median(theirs):,.0f}", *times],
    ]
    head = ["", "images/s", "curate is faster (wall), times", "curate is faster (cpu), times"]
    return (
        f"# Perceptual hashes against imagededup\n\n{count:,} JPEG files of 1024 x 1024. curate: all signals, "
        "the perceptual "
        f"hash being one of them.\n\n{table(head, rows)}"
    )


if __name__ == "__main__":
    main()
