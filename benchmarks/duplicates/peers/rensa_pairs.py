"""Run by rensa's environment: candidates of its LSH over the word 3-grams of captions."""

import json
import os
import sys
import time
from pathlib import Path

from rensa import RMinHash, RMinHashLSH


def main() -> None:
    before, start = os.times(), time.perf_counter()
    with Path(sys.argv[1]).open() as file:
        texts = [json.loads(line)["text"] for line in file]
    shingles = []
    for text in texts:
        words = text.lower().split()
        shingles.append([" ".join(words[at : at + 3]) for at in range(len(words) - 2)])
    sketches = RMinHash.from_token_sets(shingles, 128, 42)
    index = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    index.insert_many(sketches)
    found = index.query_all(sketches)
    pairs = [
        (number, other)
        for number, others in enumerate(found)
        for other in others
        if other > number and sketches[number].jaccard(sketches[other]) >= float(sys.argv[3])
    ]
    wall, after = time.perf_counter() - start, os.times()
    Path(sys.argv[2]).write_text(json.dumps(pairs))
    print(json.dumps({"wall": wall, "cpu": sum(after[:4]) - sum(before[:4])}))


if __name__ == "__main__":
    main()
