"""Run by datasketch's environment: candidates of its LSH over the word 3-grams of captions."""

import json
import os
import sys
import time
from pathlib import Path

from datasketch import MinHash, MinHashLSH


def main() -> None:
    before, start = os.times(), time.perf_counter()
    with Path(sys.argv[1]).open() as file:
        texts = [json.loads(line)["text"] for line in file]
    shingles = []
    for text in texts:
        words = text.lower().split()
        shingles.append([" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)])
    sketches = MinHash.bulk(shingles, num_perm=128, seed=42)
    index = MinHashLSH(threshold=0.8, num_perm=128, params=(16, 8))
    pairs = []
    for number, sketch in enumerate(sketches):
        for other in index.query(sketch):
            if sketch.jaccard(sketches[other]) >= float(sys.argv[3]):
                pairs.append((other, number))
        index.insert(number, sketch, check_duplication=False)
    wall, after = time.perf_counter() - start, os.times()
    Path(sys.argv[2]).write_text(json.dumps(pairs))
    print(json.dumps({"wall": wall, "cpu": sum(after[:4]) - sum(before[:4])}))


if __name__ == "__main__":
    main()
