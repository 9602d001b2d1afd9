"""How fast curate's judge is, side by side with other tools and with no tool at all, on the same 1,000 samples.

    python benchmarks/judge/run.py                          # everything; about half an hour
    python benchmarks/judge/run.py --scenario zero          # curate against a bare loop alone; two minutes
    python benchmarks/judge/run.py --scenario cap32 --peers inspect-ai

Run it with the interpreter of curate's development environment, on a machine that does nothing else. The peers are
installed on first use below ``benchmarks/.envs``. Contestants take turns, round by round, so that a drift of the
machine meets all alike; the tables show medians. What is measured replaces the scenario's part of
``benchmarks/results/judge.json``, and ``benchmarks/results/judge.md`` is written anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contest import HERE, Contestant, Outcome, run
from table import render

sys.path.insert(0, str(HERE.parent))
from peers import PeerError, peer_python

RESULTS = HERE.parent / "results"
CONCURRENCY = 64
LATENCY = 0.5
SCENARIOS: dict[str, dict[str, float]] = {
    "clean": {"latency": LATENCY},
    "cap32": {"latency": LATENCY, "cap": 32},
    "faults": {"latency": LATENCY, "rejected": 0.05, "failing": 0.05},
    "zero": {},
    "zero-images": {},
    "transports": {},
}
CURATE = Contestant("curate", "curate_judge.py")
BARE = [
    Contestant("bare loop, create", "bare_loop.py"),
    Contestant("bare loop, post", "bare_loop.py", ("post",)),
]
TRANSPORTS = [
    Contestant("openai, create", "bare_loop.py", (), "transports"),
    Contestant("openai, post", "transport.py", ("openai",), "transports"),
    Contestant("openai, post, its aiohttp transport", "transport.py", ("openai-aiohttp",), "transports"),
    Contestant("httpx2, pools of eight", "transport.py", ("httpx",), "transports"),
    Contestant("aiohttp", "transport.py", ("aiohttp",), "transports"),
]
PEERS = [
    Contestant("inspect_ai, fixed", "inspect_ai_eval.py", (), "inspect-ai"),
    Contestant("inspect_ai, adaptive", "inspect_ai_eval.py", ("adaptive",), "inspect-ai"),
    Contestant("NeMo Data Designer", "data_designer_column.py", (), "data-designer"),
    Contestant("bespokelabs-curator", "curator_llm.py", (), "curator"),
]


def ideal(scenario: str, count: int) -> float | None:
    """Seconds when all places at the endpoint are taken all the time and nothing else costs any."""
    behaviour = SCENARIOS[scenario]
    if "latency" not in behaviour:
        return None
    return count * LATENCY / min(CONCURRENCY, behaviour.get("cap", CONCURRENCY))


def measure(
    scenario: str, contestants: Sequence[tuple[Contestant, Path]], folder: Path, rounds: int, limit: float
) -> dict[str, list[Outcome]]:
    """The outcomes by contestant, one a round."""
    outcomes: dict[str, list[Outcome]] = {contestant.name: [] for contestant, _ in contestants}
    for _ in range(rounds):
        for contestant, python in contestants:
            outcome = run(contestant, python, folder, SCENARIOS[scenario], CONCURRENCY, limit)
            took = "no end" if outcome.seconds is None else f"{outcome.seconds:.2f} s"
            print(
                f"{scenario}: {contestant.name}: {took}, cpu {outcome.cpu_seconds:.2f} s, {outcome.scored} scored, "
                f"{outcome.rejected} rejected, load {outcome.load:.1f} {outcome.problem or ''}",
                file=sys.stderr,
            )
            outcomes[contestant.name].append(outcome)
    return outcomes


def contestants_of(scenario: str, peers: Sequence[str]) -> list[tuple[Contestant, Path]]:
    """Who takes part, with an interpreter each; peers that cannot be installed are named and left out."""
    here = Path(sys.executable)
    if scenario.startswith("zero"):
        return [(contestant, here) for contestant in (CURATE, *BARE)]
    ways = scenario == "transports"
    found = [] if ways else [(CURATE, here)]
    for contestant in TRANSPORTS if ways else PEERS:
        if contestant.peer is not None and (ways or contestant.peer in peers):
            try:
                python = peer_python(contestant.peer, HERE / "peers" / f"{contestant.peer}.txt")
                found.append((contestant, python))
            except PeerError as error:
                print(f"{contestant.name} cannot be installed: {error}", file=sys.stderr)
    return found


def keep(scenario: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Put a scenario's outcomes in the place of the ones before; all that is known."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "judge.json"
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    known[scenario] = entry
    known = {name: known[name] for name in SCENARIOS if name in known}
    file.write_text(json.dumps(known, indent=1) + "\n")
    (RESULTS / "judge.md").write_text(render(known))
    return known


def main() -> None:
    """Measure what is asked for, print JSON and tables, and keep both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="repeatable; all by default")
    parser.add_argument("--peers", default="inspect-ai,data-designer,curator", help="comma-separated; empty for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=1000, help="samples")
    parser.add_argument("--limit", type=float, default=150.0, help="seconds after which a contestant is stopped")
    options = parser.parse_args()
    scenarios = options.scenario or list(SCENARIOS)
    peers = [name for name in options.peers.split(",") if name]
    known: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="judge-benchmark-") as scratch:
        for scenario in scenarios:
            kind = "images" if scenario == "zero-images" else "text"
            folder = Path(scratch) / kind
            contestants = contestants_of(scenario, peers)
            if not folder.exists():
                make = [sys.executable, str(HERE / "samples.py"), str(folder), f"--count={options.count}"]
                subprocess.run([*make, *(["--images"] if kind == "images" else [])], check=True, stdout=sys.stderr)
            outcomes = measure(scenario, contestants, folder, options.rounds, options.limit)
            entry = {
                "samples": options.count,
                "ideal_seconds": ideal(scenario, options.count),
                "processors": os.cpu_count(),
                "outcomes": {name: [outcome.as_dict() for outcome in runs] for name, runs in outcomes.items()},
            }
            known = keep(scenario, entry)
    print(json.dumps({name: known[name] for name in scenarios}))
    print(render(known))


if __name__ == "__main__":
    main()
