"""Run by imagededup's environment: perceptual hashes of a folder of pictures."""

import json
import os
import sys
import time

from imagededup.methods import PHash


def main() -> None:
    before, start = os.times(), time.perf_counter()
    hashes = PHash(verbose=False).encode_images(image_dir=sys.argv[1])
    wall, after = time.perf_counter() - start, os.times()
    if len(hashes) != int(sys.argv[2]):
        sys.exit(f"{len(hashes)} hashes of {sys.argv[2]} pictures")
    print(json.dumps({"wall": wall, "cpu": sum(after[:4]) - sum(before[:4])}))


if __name__ == "__main__":
    main()
