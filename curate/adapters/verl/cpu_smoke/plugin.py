"""What verl imports in each process of a smoke run beside the mends: importing it makes verl run on a CPU."""

from importlib.metadata import version

from curate.adapters.verl.cpu_smoke import mends, platform, rollout

VERL = "0.9.1"

if version("verl") != VERL:
    raise ImportError(f"smoke runs on a CPU rest on private names of verl {VERL}; this is verl {version('verl')}")

platform.register()
rollout.register()
mends.use_gloo()
mends.leave_reference_model_in_place()
mends.poll_often()
