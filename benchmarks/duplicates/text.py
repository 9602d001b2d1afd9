"""Near-duplicate captions against rensa, datasketch and datatrove, and a million captions.

python benchmarks/duplicates/text.py [--captions 50000] [--rounds 3] [--peers rensa datasketch datatrove] [--million]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import polars as pl  # noqa: E402
from captions import Planted, captions, edited, missed, possible_misses  # noqa: E402
from measure import Timing, by_peer, in_turn, median, ratio, table, timed, write_results  # noqa: E402
from peers import PeerError, peer_python  # noqa: E402

from curate.corpus import Corpus, CorpusInfo, Origin, Sample, Turn, to_table, write_shard  # noqa: E402
from curate.engine import usable_cores  # noqa: E402
from curate.select.duplicates.text import text_pairs  # noqa: E402
from curate.select.policy_sections import TextDuplicates  # noqa: E402
from curate.select.pool import Pool  # noqa: E402

_PEERS = ("rensa", "datasketch", "datatrove")
_PER_SHARD = 8192
_NORMAL = "Normal chest X-ray."
_KINDS = ["image_caption"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--captions", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=list(_PEERS), choices=_PEERS)
    parser.add_argument("--million", action="store_true", help="only the time and memory that a million captions take")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-duplicates-text")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(options.measure)))
    elif options.million:
        write_results("duplicates-text-million", "python benchmarks/duplicates/text.py --million", _million(options))
    else:
        write_results("duplicates-text", "python benchmarks/duplicates/text.py", _contest(options))


def _contest(options: argparse.Namespace) -> str:
    texts, planted = _planted(options.captions)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    given = options.work / "captions.jsonl"
    with given.open("w") as file:
        file.writelines(json.dumps({"text": text, "id": str(number)}) + "\n" for number, text in enumerate(texts))
    corpus = _corpus(options.work / "corpus", texts)
    found: dict[str, list[Sequence[int]]] = {}

    def ours() -> Timing:
        return timed(lambda: found.update(curate=_pairs(corpus)))

    contestants: dict[str, Callable[[], Timing]] = {"curate": ours}
    slow: dict[str, Callable[[], Timing]] = {}
    failed = []
    labels = {"rensa": (("rensa, bare", "0"), ("rensa, estimate >= 0.75", "0.75"))}
    for name in options.peers:
        try:
            python = peer_python(name, HERE / "peers" / f"{name}.txt")
        except PeerError as error:
            failed.append(f"{name} could not be installed: {error}")
            continue
        for label, least in labels.get(name, ((name, "0.75"),)):
            run = _peer(python, name, given, options.work / f"{label}.json", least, found, label)
            (contestants if name == "rensa" else slow)[label] = run
    timings = in_turn(contestants, options.rounds) | {name: [run()] for name, run in slow.items()}
    ours_runs = timings["curate"]
    rows = []
    for name, runs in timings.items():
        times = ["", ""]
        if name != "curate":
            times = [f"{ratio(runs, ours_runs[: len(runs)], field):.1f}" for field in ("wall", "cpu")]
        took = [f"{median(runs, field):.1f}" for field in ("wall", "cpu")]
        rows.append([name, *took, *times, *_quality(planted, found[name])])
    misses = Counter(entry.how for entry in planted if entry.how != "edit")
    head = [
        "",
        "seconds",
        "cpu",
        "times curate's (wall)",
        "(cpu)",
        "edits found",
        "recall",
        "precision",
        "near-misses merged",
    ]
    return (
        f"# Near-duplicate captions\n\n{options.captions:,} made-up captions of 34 to 80 words, "
        f"{sum(entry.how == 'edit' for entry in planted):,} copies with one word changed to one that says the same "
        "(nearly all 0.8 alike or more by their runs of three words; words that belong to a negation or a side are not "
        f"changed), and {misses.total():,} copies with one word changed that turns the finding into another: "
        f"{', '.join(f'{how} {count:,}' for how, count in sorted(misses.items()))}. A copy counts as found, or a "
        "near-miss as merged, when it is in one cluster with its original; precision is the share of right ones among "
        "all that are in a cluster with another. All contestants: runs of three words, 128 permutations (datatrove: "
        "112), threshold 0.8; rensa and datasketch with 16 bands of 8, datatrove with 14 of 8 and its normalisation, "
        "which are its defaults. Seconds from reading the captions (curate: a corpus in Parquet; the peers: JSON "
        "lines) to pairs of duplicates at hand, without the start of Python and imports. "
        f"{options.rounds} rounds in turn for curate and rensa, one for the others. curate compares the runs of each "
        "candidate pair; bare rensa takes what its index finds, or drops pairs that its signatures call less than 0.75 "
        f"alike, as datasketch does here.\n\n{table(head, rows)}" + "".join(f"\n{failure}\n" for failure in failed)
    )


def _planted(count: int) -> tuple[list[str], list[Planted]]:
    """Captions, a tenth as many edits, and as many near-misses, in a seeded random order; bases by their new number."""
    draw = random.Random(1)
    made = list(captions(count))
    tenth = count // 10
    bases = draw.sample(range(count), 2 * tenth)
    planted = [edited(made[base], base, draw) for base in bases[:tenth]]
    planted += [missed(made[base], base, draw.choice(possible_misses(made[base]))) for base in bases[tenth:]]
    order = list(range(count + len(planted)))
    draw.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    texts = [made[old].text if old < count else planted[old - count].text for old in order]
    moved = [entry._replace(base=place[entry.base], text=str(place[count + nth])) for nth, entry in enumerate(planted)]
    return texts, moved


def _quality(planted: Iterable[Planted], pairs: Iterable[Sequence[int]]) -> list[str]:
    """Edits found, recall, precision, near-misses merged, by the clusters that pairs make."""
    leader: dict[int, int] = {}

    def root(number: int) -> int:
        while leader.setdefault(number, number) != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    for left, right in pairs:
        leader[root(right)] = root(left)
    together = Counter(entry.how for entry in planted if root(entry.base) == root(int(entry.text)))
    merged = len(leader) - len({root(number) for number in leader})
    edits = sum(entry.how == "edit" for entry in planted)
    misses = together.total() - together["edit"]
    return [
        f"{together['edit']:,} of {edits:,}",
        f"{together['edit'] / edits:.4f}",
        f"{together['edit'] / max(1, merged):.4f}",
        f"{misses:,}",
    ]


def _pairs(corpus: Corpus) -> list[Sequence[int]]:
    pairs = text_pairs(Pool.of(corpus), TextDuplicates(), _KINDS)
    return list(zip(pairs["left"].to_pylist(), pairs["right"].to_pylist(), strict=True))


def _peer(
    python: Path, name: str, given: Path, out: Path, least: str, found: dict[str, list[Sequence[int]]], label: str
) -> Callable[[], Timing]:
    def run() -> Timing:
        timing = by_peer(python, HERE / "peers" / f"{name}_pairs.py", given, out, least)
        found[label] = json.loads(out.read_text())
        return timing

    return run


def _corpus(path: Path, texts: Iterable[str]) -> Corpus:
    """A corpus of captions without pictures."""
    shutil.rmtree(path, ignore_errors=True)
    corpus = Corpus(path, CorpusInfo(complete=True))
    corpus.save()
    samples: list[Sample] = []
    shards = 0
    for row, text in enumerate(texts, 1):
        samples.append(
            Sample(
                kind="image_caption",
                source="made",
                license=None,
                images=(),
                turns=(Turn("document", (text,)),),
                origin=Origin("captions.jsonl", row),
                id=hashlib.sha256(f"{row} {text}".encode()).hexdigest(),
            )
        )
        if len(samples) == _PER_SHARD:
            write_shard(path / "samples" / f"part-{shards:05}.parquet", to_table(samples), str(shards))
            samples, shards = [], shards + 1
    if samples:
        write_shard(path / "samples" / f"part-{shards:05}.parquet", to_table(samples), str(shards))
    return corpus


def _million(options: argparse.Namespace) -> str:
    count = 20 * options.captions
    path = options.work / "million"
    draw = random.Random(2)

    def texts() -> Iterable[str]:
        for number, caption in enumerate(captions(int(count * 0.9), seed=3)):
            yield caption.text
            if number % 18 == 0:
                yield edited(caption, number, draw).text
                yield _NORMAL

    corpus = _corpus(path, texts())
    del corpus
    done = subprocess.run(
        [sys.executable, __file__, "--measure", path], check=True, capture_output=True, text=True
    ).stdout
    seen = json.loads(done)
    cores = usable_cores()
    figures = [seen["wall"], seen["cpu"], seen["own"], seen["own"] + seen["worker"] * cores]
    return (
        f"# A million captions\n\n{seen['samples']:,} captions of the same making, one in twenty with a one-word edit, "
        f"and one text {seen['same'] + 1:,} times: {seen['pairs']:,} near pairs. `text_pairs` in a process of its own; "
        f"of its workers the largest is counted {cores} times.\n\n"
        + table(
            ["seconds", "processor seconds", "peak MB, process", "peak MB, with workers"],
            [[f"{figure:,.0f}" for figure in figures]],
        )
    )


def _measured(path: Path) -> dict[str, float]:
    """Pairs of a corpus, and what they took of time and memory."""
    pool = Pool.of(Corpus.open(path))
    start = time.perf_counter()
    pairs = text_pairs(pool, TextDuplicates(), _KINDS)
    wall = time.perf_counter() - start
    similarity = pl.Series(pairs["similarity"])
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "samples": pool.count,
        "pairs": int((similarity < 1).sum()),
        "same": int((similarity == 1).sum()),
        "wall": wall,
        "cpu": own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime,
        "own": own.ru_maxrss / 1024,
        "worker": workers.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
