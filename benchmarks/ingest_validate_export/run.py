"""Ingest, validate and export against what does the bare minimum, and against jsonschema and datasets.

python benchmarks/ingest_validate_export/run.py [--rows 50000] [--rounds 5] [validate] [ingest] [export]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import polars as pl  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from ingest_validate_export.records import FORMATS, PICTURES, write_records  # noqa: E402
from measure import Timing, by_peer, in_turn, median, ratio, table, timed, write_results  # noqa: E402
from peers import peer_python  # noqa: E402
from PIL import Image  # noqa: E402

from curate.corpus import Corpus  # noqa: E402
from curate.exports import ExportOptions, export  # noqa: E402
from curate.schemas import FORMATS as RECORDS  # noqa: E402
from curate.signals import measure_corpus  # noqa: E402
from curate.sources.ingest import IngestOptions, ingest  # noqa: E402
from curate.sources.validate import ValidateOptions, validate  # noqa: E402

_PEER_ROWS = 4000
"""Rows for jsonschema, which takes a second for these."""
_INGESTED = ("image-caption", "interleaved", "conversation", "query", "verl")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["validate", "ingest", "export"])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        _write_pictures(folder)
        for part in options.parts:
            text = {"validate": _validate, "ingest": _ingest, "export": _export}[part](folder, options)
            command = f"python benchmarks/ingest_validate_export/run.py --rows {options.rows} {part}"
            write_results(part, command, text)


def _write_pictures(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        picture = Image.linear_gradient("L").convert("RGB")
        picture.putpixel((number, 0), (255, 0, 0))
        picture.save(folder / "pictures" / f"{number:03}.png")


def _validate(folder: Path, options: argparse.Namespace) -> str:
    python = peer_python("jsonschema", HERE / "jsonschema.txt")
    rows = []
    for name in FORMATS:
        data = write_records(folder, name, options.rows)
        few = folder / f"{name}-few.jsonl"
        with data.open("rb") as file:
            few.write_bytes(b"".join(next(file) for _ in range(min(_PEER_ROWS, options.rows))))
        schema = folder / f"{name}-schema.json"
        schema.write_text(json.dumps(RECORDS[name].model_json_schema()))

        def bare(data: Path = data, name: str = name) -> None:
            check = RECORDS[name].model_validate_json
            with data.open("rb") as file:
                for line in file:
                    check(line)

        def curate(data: Path = data, name: str = name) -> None:
            report = validate([data], ValidateOptions(format=name))
            if report.errors or report.rows != options.rows:
                raise RuntimeError(report.findings()[:3])

        def peer(few: Path = few, schema: Path = schema) -> Timing:
            share = min(_PEER_ROWS, options.rows) / options.rows
            return Timing(*(value / share for value in by_peer(python, HERE / "jsonschema_rows.py", schema, few)))

        timings = in_turn(
            {"curate": lambda f=curate: timed(f), "bare": lambda f=bare: timed(f), "peer": peer}, options.rounds
        )
        ours = timings["curate"]
        cells = [f"{options.rows / median(timings[who]):,.0f}" for who in ("curate", "bare", "peer")]
        of_bare = [f"{1 / ratio(ours, timings['bare'], field):.2f}" for field in ("wall", "cpu")]
        rows.append([name, *cells, *of_bare, f"{ratio(timings['peer'], ours, 'cpu'):.1f}"])
    head = ["format", "curate validate, rows/s", "bare Pydantic, rows/s", "jsonschema, rows/s"]
    text = table([*head, "of bare Pydantic (wall)", "of bare Pydantic (cpu)", "times jsonschema (cpu)"], rows)
    return (
        f"# Validate: {options.rows:,} rows of JSON lines\n\n`curate validate` checks everything (types, "
        "duplicate keys, "
        "numbers, placeholders, pictures); bare is Pydantic's `model_validate_json` of each line; jsonschema "
        "is the package "
        f"with orjson, on {_PEER_ROWS:,} of the rows. Medians of {options.rounds} rounds in turn.\n\n{text}"
    )


def _ingest(folder: Path, options: argparse.Namespace) -> str:
    rows = []
    for name in _INGESTED:
        data = write_records(folder, name, options.rows)
        corpus = folder / "corpus"

        def bare(data: Path = data) -> None:
            pl.read_ndjson(data).write_ipc(folder / "bare.arrow")

        def curate(data: Path = data, corpus: Path = corpus) -> Timing:
            shutil.rmtree(corpus, ignore_errors=True)
            made = Corpus.create(corpus)
            timing = timed(lambda: ingest([data], made, IngestOptions(), lambda rows, samples: None))
            if sum(len(pl.read_parquet(shard, columns=["id"])) for shard in made.shards()) != options.rows:
                raise RuntimeError(f"not all rows of {data} became samples")
            return timing

        timings = in_turn({"curate": curate, "bare": lambda f=bare: timed(f)}, options.rounds)
        ours, theirs = timings["curate"], timings["bare"]
        rates = [f"{options.rows / median(runs):,.0f}" for runs in (ours, theirs)]
        rows.append([name, *rates, *(f"{1 / ratio(ours, theirs, field):.3f}" for field in ("wall", "cpu"))])
    head = ["format", "curate ingest, rows/s", "polars + Arrow, rows/s", "of polars (wall)", "of polars (cpu)"]
    return (
        f"# Ingest: {options.rows:,} rows of JSON lines\n\nBare is `polars.read_ndjson` and `write_ipc`. Ingest also "
        "validates, finds duplicate keys, follows every reference, reads and hashes the pictures, gives each "
        "row its content "
        f"hash, merges duplicates and compresses. Medians of {options.rounds} rounds in turn.\n\n{table(head, rows)}"
    )


def _export(folder: Path, options: argparse.Namespace) -> str:
    python = peer_python("datasets", HERE / "datasets.txt")
    rows = []
    with _corpora(folder, options.rows) as corpora:
        for name, corpus in corpora.items():
            target = folder / f"export-{name}"

            def curate(name: str = name, corpus: Corpus = corpus, target: Path = target) -> Timing:
                shutil.rmtree(target, ignore_errors=True)
                return timed(lambda: export(corpus, name, target, ExportOptions(val_fraction=0.0)))

            curate()
            data = pq.read_table(target / "train.parquet")
            size = (target / "train.parquet").stat().st_size / 2**20

            def bare(data: object = data) -> None:
                pq.write_table(data, folder / "bare.parquet")

            def peer(how: str, source: Path = folder / f"{name}.parquet") -> Timing:
                return by_peer(python, HERE / "datasets_rows.py", how, source, folder / "peer.parquet")

            shutil.copy(target / "train.parquet", folder / f"{name}.parquet")
            contestants = {
                "curate": curate,
                "bare": lambda f=bare: timed(f),
                "held": lambda f=peer: f("held"),
                "made": lambda f=peer: f("made"),
            }
            timings = in_turn(contestants, options.rounds)
            ours = timings["curate"]
            rates = [f"{size / median(runs):,.0f}" for runs in timings.values()]
            of_bare = [f"{1 / ratio(ours, timings['bare'], field):.2f}" for field in ("wall", "cpu")]
            times = [f"{ratio(timings[how], ours):.1f}" for how in ("held", "made")]
            rows.append([name, f"{data.num_rows:,}", f"{size:,.0f}", *rates, *of_bare, *times])
    who = ("curate export", "bare Arrow", "datasets, held", "datasets, made")
    of = ("of bare Arrow (wall)", "of bare Arrow (cpu)", "times datasets, held (wall)", "times datasets, made (wall)")
    text = table(["format", "rows", "MB", *(f"{name}, MB/s" for name in who), *of], rows)
    return (
        "# Export\n\n`verl`: queries with embedded pictures of about 100 kB; `llamafactory-sft`: conversations. "
        "The time "
        "of curate is that of the whole export: selecting, reading, checking every picture's hash, writing. "
        "Bare Arrow is "
        "`pyarrow.parquet.write_table` of the finished rows in memory, `datasets` is `Dataset.to_parquet` of "
        "the same: of "
        "a data set that is there already (held), or made by `Dataset.from_list` from the rows as Python values "
        "(made). "
        f"Medians of {options.rounds} rounds in turn.\n\n{text}"
    )


@contextmanager
def _corpora(folder: Path, rows: int) -> Iterator[dict[str, Corpus]]:
    """A measured corpus for each format to export."""
    sys.path.insert(0, str(HERE.parent / "signals"))
    from pictures import make_photographs

    queries = folder / "queries"
    names = make_photographs(queries, rows // 20)
    with (queries / "queries.jsonl").open("w") as file:
        for number, name in enumerate(names):
            asked = {"query": f"<image>\nCase {number}. Which organ is shown?", "images": [name]}
            file.write(json.dumps({**asked, "answer": ["retina"], "query_type": "exact", "source": "made"}) + "\n")
    found = {}
    for name, raw in (("verl", queries), ("llamafactory-sft", write_records(folder, "conversation", rows))):
        found[name] = Corpus.create(folder / f"corpus-{name}")
        ingest([raw], found[name], IngestOptions(), lambda rows, samples: None)
        measure_corpus(found[name])
    yield found


if __name__ == "__main__":
    main()
