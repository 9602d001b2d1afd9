"""Near-duplicate pictures against imagededup and cleanvision, and the hashes of 200,000 pictures.

python benchmarks/duplicates/images.py [--originals 90] [--rounds 1] [--peers imagededup cleanvision] [--many]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import numpy as np  # noqa: E402
from images_planted import make  # noqa: E402
from measure import Timing, by_peer, in_turn, median, ratio, table, timed, write_results  # noqa: E402
from peers import PeerError, peer_python  # noqa: E402

from curate.corpus import Corpus  # noqa: E402
from curate.select.duplicates.hamming import near_pairs  # noqa: E402
from curate.select.duplicates.images import image_pairs  # noqa: E402
from curate.select.duplicates.images_search import PictureHashes, Search  # noqa: E402
from curate.select.policy_sections import ImageDuplicates  # noqa: E402
from curate.select.pool import Pool  # noqa: E402
from curate.signals import measure_corpus  # noqa: E402
from curate.sources.ingest import IngestOptions, ingest  # noqa: E402

_PEERS = ("imagededup", "cleanvision")
_COMMAND = "python benchmarks/duplicates/images.py"
Pairs = set[tuple[str, str]]


class Quality(NamedTuple):
    """How well planted copies are found; shares."""

    recall: float
    precision: float
    found: Counter[str]
    """Copies found of each kind, beside their original."""
    wrong: Counter[str]
    """Pairs of different pictures, by the kinds of the two."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--originals", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peers", nargs="*", default=list(_PEERS), choices=_PEERS)
    parser.add_argument("--many", action="store_true", help="only the time and memory that many hashes take")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-duplicates-images")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(options.measure)))
    elif options.many:
        write_results("duplicates-images-many", f"{_COMMAND} --many", _many())
    else:
        write_results("duplicates-images", _COMMAND, _contest(options))


def _contest(options: argparse.Namespace) -> str:
    raw = options.work / "raw"
    shutil.rmtree(options.work, ignore_errors=True)
    shown = make(raw, options.originals)
    records = options.work / "records"
    records.mkdir()
    with (records / "captions.jsonl").open("w") as file:
        for name in sorted(shown):
            file.write(json.dumps({"image": str(raw / name), "text": f"The picture {name}.", "source": "made"}) + "\n")
    results: dict[str, Pairs] = {}
    contestants: dict[str, Callable[[], Timing]] = {"curate": lambda: _ours(options.work, raw, results)}
    failed = []
    for name in options.peers:
        try:
            python = peer_python(name, HERE / "peers" / f"{name}.txt")
        except PeerError as error:
            failed.append(f"{name} could not be installed: {error}")
            continue
        contestants[name] = _peer(name, python, raw, options.work, results)
    timings = in_turn(contestants, options.rounds)
    rows, kinds, wrong = [], [], []
    for name, runs in timings.items():
        quality = _quality(shown, results[name])
        faster = [f"{ratio(runs, timings['curate'], field):.1f}" for field in ("wall", "cpu")]
        told = [f"{quality.recall:.3f}", f"{quality.precision:.3f}"]
        rows.append([name, *told, f"{median(runs):.1f}", f"{median(runs, 'cpu'):.1f}", *faster])
        kinds.append([name, *(str(quality.found[kind]) for kind in _KINDS)])
        wrong.append([name, ", ".join(f"{kind}: {count}" for kind, count in quality.wrong.most_common(6)) or "none"])
    head = ["", "recall", "precision", "s", "cpu s", "curate is faster (wall), times", "(cpu), times"]
    return (
        f"# Near-duplicate pictures\n\n{len(shown):,} files: {options.originals} originals of 640 x 640 cut out of "
        "real pictures, seven copies of each, three near-misses of each (a finding, an arrow, the anatomy bent by 4 "
        "%), neighbouring slices of made volumes and frames of an ultrasound film. Recall: copies found with their "
        "original. Precision: pairs found that show one picture. curate: ingest, all signals, and pairs; "
        f"the peers with their own defaults.\n\n{table(head, rows)}\n"
        f"Copies found, of {options.originals} of each kind:\n\n{table(['', *_KINDS], kinds)}\n"
        f"Pairs of different pictures, by the folders they are in:\n\n{table(['', 'pairs'], wrong)}"
        + "".join(f"\n{line}\n" for line in failed)
    )


_KINDS = ("compressed", "resized", "toned", "mirrored", "framed", "cropped", "several")


def _ours(work: Path, raw: Path, results: dict[str, Pairs]) -> Timing:
    path = work / "corpus"
    shutil.rmtree(path, ignore_errors=True)

    def run() -> None:
        corpus = Corpus.create(path)
        ingest([work / "records"], corpus, IngestOptions(allow_roots=(raw,)), lambda rows, samples: None)
        measure_corpus(corpus)
        pool = Pool.of(corpus)
        pairs = image_pairs(pool, ImageDuplicates(), ["image_caption"])
        rows = zip(pairs["left"].to_pylist(), pairs["right"].to_pylist(), strict=True)
        results["curate"] = _named(pool, raw, rows)

    return timed(run)


def _named(pool: Pool, raw: Path, pairs: Iterable[tuple[int, int]]) -> Pairs:
    """Pairs of rows as pairs of files."""
    images = [row[0] for _, table in pool.samples(["images"]) for row in table["images"].to_pylist()]
    names = [str(Path(image["name"]).relative_to(raw)) for image in images]
    return {(min(names[a], names[b]), max(names[a], names[b])) for a, b in pairs}


def _peer(name: str, python: Path, raw: Path, work: Path, results: dict[str, Pairs]) -> Callable[[], Timing]:
    def run() -> Timing:
        answer = work / f"{name}.json"
        timing = by_peer(python, HERE / "peers" / f"{name}_pairs.py", raw, answer)
        results[name] = {(min(pair), max(pair)) for pair in json.loads(answer.read_text())}
        return timing

    return run


def _quality(shown: dict[str, str], pairs: Pairs) -> Quality:
    files = defaultdict(list)
    for name, picture in shown.items():
        files[picture].append(name)
    found: Counter[str] = Counter()
    planted = 0
    for picture, names in files.items():
        if picture.startswith("original"):
            original = next(name for name in names if name.startswith("original/"))
            for copy in names:
                if copy != original:
                    planted += 1
                    found[copy.partition("/")[0]] += (min(copy, original), max(copy, original)) in pairs
    wrong = [pair for pair in pairs if shown[pair[0]] != shown[pair[1]]]
    kinds = Counter(" and ".join(sorted({name.partition("/")[0] for name in pair})) for pair in wrong)
    return Quality(found.total() / planted, 1 - len(wrong) / max(1, len(pairs)), found, kinds)


def _many() -> str:
    rows = []
    for count in (200_000, 2_000_000):
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(count)], check=True, capture_output=True, text=True
        )
        told = json.loads(done.stdout.splitlines()[-1])
        rows.append(
            [f"{count:,}", *(f"{told[name]:.1f}" for name in ("pairs_4", "pairs_6", "search")), f"{told['mib']:,.0f}"]
        )
    head = ["pictures", "pairs within 4 bits, s", "within 6 bits, s", "all routes, s", "peak memory, MiB"]
    return (
        "# Hashes of many pictures\n\nRandom hashes with 32 of 64 bits set, as perceptual hashes have, a tenth of "
        "them near another. All routes: whole, mirrored, without borders (on three in ten) and 16 crops each, within 4 "
        f"bits; reading the pictures that are candidates comes on top.\n\n{table(head, rows)}"
    )


def _measured(count: int) -> dict[str, float]:
    """Seconds of each search, and the peak memory of this process."""
    chance = np.random.default_rng(0)

    def hashes(number: int) -> np.ndarray:
        parts = []
        for start in range(0, number, 1 << 17):
            order = np.argsort(chance.random((min(1 << 17, number - start), 64)), axis=1)
            parts.append(np.packbits(order < 32, axis=1).view(">u8").ravel().astype(np.uint64))
        return np.concatenate(parts)

    def near(values: np.ndarray) -> np.ndarray:
        return values ^ (np.uint64(1) << chance.integers(0, 64, values.size, dtype=np.uint64))

    whole = hashes(count)
    whole[: count // 10] = near(whole[-(count // 10) :])
    told: dict[str, float] = {}
    for distance in (4, 6):
        start = time.perf_counter()
        near_pairs(np.unique(whole), distance)
        told[f"pairs_{distance}"] = time.perf_counter() - start
    trimmed = np.where(chance.random(count) < 0.3, hashes(count), whole)
    cropped = np.stack([hashes(count) for _ in range(16)], axis=1)
    pictures = PictureHashes(np.ones(count, bool), whole, hashes(count), trimmed, cropped)
    start = time.perf_counter()
    Search(pictures, 4, mirrored=True, cropped=True).weights()
    told["search"] = time.perf_counter() - start
    told["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return told


if __name__ == "__main__":
    main()
