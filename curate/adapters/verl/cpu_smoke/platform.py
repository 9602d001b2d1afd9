"""A CPU as one of verl's platforms, chosen by ``VERL_PLATFORM=cpu`` and never found by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Device:
    """What verl calls of ``torch.cuda``, where ``torch.cpu`` lacks it: nothing to wait for, to empty or to count."""

    def __getattr__(self, name: str) -> Any:
        import torch

        sixteen_gib = 1 << 34
        answers: dict[str, Any] = {
            "get_rng_state": torch.get_rng_state,
            "set_rng_state": torch.set_rng_state,
            "mem_get_info": lambda *_: (sixteen_gib, sixteen_gib),
            "get_device_name": lambda *_: "CPU",
            "is_available": lambda: True,
        }
        if name in answers:
            return answers[name]
        if name in ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved"):
            return lambda *_: 0
        if name in ("empty_cache", "ipc_collect", "reset_peak_memory_stats", "manual_seed", "manual_seed_all"):
            return lambda *_: None
        return getattr(torch.cpu, name)


def register() -> None:
    """Add the platform to verl's registry."""
    import torch
    from verl.plugin.platform.platform_base import PlatformBase
    from verl.plugin.platform.platform_manager import PlatformRegistry

    device = _Device()

    @PlatformRegistry.register(platform="cpu")
    class PlatformCPU(PlatformBase):  # type: ignore[misc]
        device_name = "cpu"
        vendor_name = "cpu"
        device_module = device

        def is_available(self) -> bool:
            return True

        def is_platform_available(self, use_smi_check: bool = False) -> bool:
            return False  # only for who asks for it by name

        def current_device(self) -> Any:
            return torch.device("cpu")

        def device_count(self) -> int:
            return 1

        def set_device(self, device_index: int) -> None: ...

        def synchronize(self, device_index: int | None = None) -> None: ...

        def manual_seed(self, seed: int) -> None:
            torch.manual_seed(seed)

        def manual_seed_all(self, seed: int) -> None:
            torch.manual_seed(seed)

        def set_allocator_settings(self, settings: str) -> None: ...

        def empty_cache(self) -> None: ...

        def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
            return None, None

        def communication_backend_name(self) -> str:
            return "gloo"

        def visible_devices_envvar(self) -> str:
            return "CUDA_VISIBLE_DEVICES"

        @contextmanager
        def nvtx_range(self, msg: str) -> Iterator[None]:
            yield

        def profiler_start(self) -> None: ...

        def profiler_stop(self) -> None: ...

        def ray_resource_name(self) -> str:
            return "GPU"  # verl asks Ray for GPUs; a smoke run declares one that nobody looks at

        def ray_noset_envvars(self) -> list[str]:
            return []

        def is_ipc_supported(self) -> bool:
            return False

        def cudart(self) -> None:
            return None
