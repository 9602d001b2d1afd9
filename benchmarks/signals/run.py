"""Signals against a bare decode of the same files, and against Data-Juicer's filters and imagededup's hashes.

python benchmarks/signals/run.py [--rounds 5] [--pictures 2400] [decode] [data-juicer] [imagededup]
"""

from __future__ import annotations

import argparse
import io
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

import numpy as np  # noqa: E402
import pydicom  # noqa: E402
from measure import Timing, by_peer, in_turn, median, ratio, table, timed, write_results  # noqa: E402
from peers import PeerError, peer_python  # noqa: E402
from pictures import make_pictures  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_voi_lut  # noqa: E402

from curate.corpus import Corpus  # noqa: E402
from curate.engine import usable_cores  # noqa: E402
from curate.signals import measure_corpus  # noqa: E402
from curate.sources.ingest import IngestOptions, ingest  # noqa: E402

_MANY = 7
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


def _corpus(work: Path, name: str, limit: int, times: int = 1) -> tuple[Corpus, int]:
    """A corpus of the pictures in one folder, each ``times`` under other names with a caption; how many there are."""
    raw, path = work / f"raw-{name}", work / f"corpus-{name}"
    for folder in (raw, path):
        shutil.rmtree(folder, ignore_errors=True)
    raw.mkdir()
    files = _link(work / name, raw, limit, times)
    with (raw / "captions.jsonl").open("w") as records:
        for number, file in enumerate(files):
            record = {"image": file, "text": _TEXT.format(number), "source": "made"}
            records.write(json.dumps(record) + "\n")
    corpus = Corpus.create(path)
    ingest([raw], corpus, IngestOptions(), lambda rows, samples: None)
    return corpus, len(files)


def _link(pictures: Path, folder: Path, limit: int, times: int) -> list[str]:
    """Link each picture ``times`` into a folder; the names."""
    names = []
    for time in range(times):
        for file in sorted(pictures.iterdir())[:limit]:
            names.append(f"{time}-{file.name}")
            (folder / names[-1]).hardlink_to(file)
    return names


def _signals(corpus: Corpus) -> Timing:
    """All signals of a corpus, measured anew."""
    shutil.rmtree(corpus.path / "signals", ignore_errors=True)
    return timed(lambda: measure_corpus(corpus))


def _decode(options: argparse.Namespace) -> str:
    measured, rendered = [], []
    with multiprocessing.get_context("fork").Pool(usable_cores()) as pool:
        for name in ("jpeg", "png", "dicom", "dicom-jpeg2000"):
            corpus, count = _corpus(options.work, name, options.pictures)
            given = sorted((options.work / name).iterdir())[:count]
            load = _load_dicom if name.startswith("dicom") else _load
            contestants = {"signals": lambda c=corpus: _signals(c), "bare": _bare(pool, load, given)}
            measured.append(_row(name, count, *in_turn(contestants, options.rounds).values()))
            if name.startswith("dicom"):
                raw = Path(corpus.info.roots[0])
                contestants = {"ingest": lambda r=raw: _ingest_anew(r), "bare": _bare(pool, _render_dicom, given)}
                rendered.append(_row(name, count, *in_turn(contestants, options.rounds).values()))
    return (
        "# Signals against a bare decode\n\nAll signals of images, texts and pairs, files read and hashed and the "
        "table written, against Pillow's `Image.load` (pydicom's `pixel_array`) of the same files in a process for "
        "each core. JPEG 1024 x 1024, PNG 512 x 512; DICOM of 0.2 to 3 million pixels, uncompressed and as lossless "
        "JPEG 2000, whose signals are measured on the PNG files that ingest made of them. Medians of "
        f"{options.rounds} rounds in turn.\n\n"
        + table(["files", "number", "signals, images/s", "bare decode, images/s", *_OF_BARE], measured)
        + "\n\n## DICOM to PNG\n\n`curate ingest` (header checks, decode, modality and VOI LUT, PNG, hashes, corpus) "
        "against pydicom's `apply_modality_lut` and `apply_voi_lut` and Pillow's PNG in a process for each core.\n\n"
        + table(["files", "number", "ingest, images/s", "bare loop, images/s", *_OF_BARE], rendered)
    )


_OF_BARE = ("of bare (wall)", "of bare (cpu)")


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


def _render_dicom(path: Path) -> float:
    return timed(lambda: _rendered(path)).cpu


def _rendered(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    if pixels.ndim == 2:
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset)
        pixels = ((values - values.min()) / max(1, np.ptp(values)) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(io.BytesIO(), "PNG")


def _ingest_anew(raw: Path) -> Timing:
    """Ingest of a folder, into a corpus that is new each time."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus.create(Path(folder) / "corpus")
        return timed(lambda: ingest([raw], corpus, IngestOptions(), lambda rows, samples: None))


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
    corpus, count = _corpus(options.work, "jpeg", options.pictures, _MANY)

    def peer() -> Timing:
        folder = options.work / "for-imagededup"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _link(options.work / "jpeg", folder, options.pictures, _MANY)
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
        f"# Perceptual hashes against imagededup\n\n{count:,} JPEG files of 1024 x 1024, each picture {_MANY} times "
        "under other names: several shards, as in a corpus of any size. curate: all signals, "
        "the perceptual "
        f"hash being one of them.\n\n{table(head, rows)}"
    )


if __name__ == "__main__":
    main()
