"""What a CPU needs changed inside verl 0.9.1."""

from __future__ import annotations

import functools
from typing import Any, Final

from curate.adapters.verl.mends import replace_everywhere

POLL_SECONDS: Final = 0.1


def use_gloo() -> None:
    """Make the process group of gloo alone; verl asks for one backend for the CPU and another for the device."""
    from verl.utils import distributed

    original = distributed.initialize_global_process_group_ray

    @functools.wraps(original)
    def on_cpu(timeout_second: int | None = None, backend: str | None = None) -> None:
        original(timeout_second, backend or "cpu:gloo")

    replace_everywhere(original, on_cpu)


def leave_reference_model_in_place() -> None:
    """Keep the reference model where it is.

    verl offloads it with ``CPUOffloadPolicy(pin_memory=True)``, whatever the configuration says; pinning memory needs
    an NVIDIA driver, and on a CPU there is nowhere to offload to. A test fails when verl doesn't do this any more.
    """
    import verl.utils.fsdp_utils as fsdp
    from torch.distributed.fsdp import OffloadPolicy

    class NoOffload(OffloadPolicy):  # type: ignore[misc]
        def __init__(self, pin_memory: bool = True) -> None:
            super().__init__()

    replace_everywhere(fsdp.CPUOffloadPolicy, NoOffload)


def poll_often() -> None:
    """Ask for finished rollouts ten times a second: verl's two seconds would be most of a tiny model's step."""
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    original = ReplayBuffer.__init__

    @functools.wraps(original)
    def quick(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.poll_interval = POLL_SECONDS

    ReplayBuffer.__init__ = quick
