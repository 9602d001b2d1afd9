"""A rollout engine for a CPU: transformers' ``generate`` over requests that have arrived together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from curate.adapters.verl.overrides import CPU_SMOKE_ROLLOUT

GATHER_SECONDS: Final = 0.03
"""How long a batch waits for more requests."""
LARGEST_BATCH: Final = 64
_SERVER: Final = "curate_cpu_smoke_server"
_NEVER_SAMPLED: Final = (
    "image_token_id",
    "video_token_id",
    "audio_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
)


@dataclass(frozen=True)
class Sampling:
    """What requests must have in common to be answered in one batch."""

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    with_images: bool


@dataclass(frozen=True)
class _Request:
    sampling: Sampling
    prompt: list[int]
    images: list[Any]
    answer: asyncio.Future[Any]


class Server:
    """A Ray actor that holds the model and answers verl's agent loop."""

    def __init__(self, path: str, response_length: int, seed: int) -> None:
        import torch
        from transformers import (
            AutoConfig,
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            AutoProcessor,
            AutoTokenizer,
            GenerationConfig,
        )

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        sees = hasattr(AutoConfig.from_pretrained(path), "vision_config")
        classes = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        self._model = classes.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()
        self._processor: Any = AutoProcessor.from_pretrained(path) if sees else None
        tokenizer = AutoTokenizer.from_pretrained(path)
        config, ends = self._model.config, self._model.generation_config.eos_token_id
        self._ends = sorted({tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None})
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._ends[0]
        # verl works out positions from the tokens: a placeholder that was sampled has no image, and stops it.
        self._never = [token for token in {getattr(config, name, None) for name in _NEVER_SAMPLED} if token is not None]
        config.use_cache = True  # LLaMA-Factory saves models with the cache off
        self._model.generation_config = GenerationConfig(
            eos_token_id=self._ends, pad_token_id=self._pad, use_cache=True
        )
        self._response_length = response_length
        self._queue: list[_Request] = []
        self._lock = asyncio.Lock()
        self._draining: asyncio.Task[None] | None = None
        self._steps: int | None = None

    async def generate(
        self,
        request_id: str,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        image_data: list[Any] | None = None,
        video_data: list[Any] | None = None,
        **_: Any,
    ) -> Any:
        """Answer one prompt with verl's TokenOutput; ``image_data`` are its pictures in order."""
        if video_data:
            raise ValueError("smoke runs on a CPU know text and images, no video")
        wanted = sampling_params.get("max_tokens") or sampling_params.get("max_new_tokens") or self._response_length
        sampling = Sampling(
            temperature=float(sampling_params.get("temperature", 1.0)),
            top_p=float(sampling_params.get("top_p") or 1.0),
            top_k=max(0, int(sampling_params.get("top_k") or 0)),
            max_new_tokens=int(wanted),
            with_images=bool(image_data),
        )
        answer = asyncio.get_running_loop().create_future()
        self._queue.append(_Request(sampling, [int(token) for token in prompt_ids], list(image_data or []), answer))
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        return await answer

    async def _drain(self) -> None:
        while self._queue:
            await asyncio.sleep(GATHER_SECONDS)
            sampling = self._queue[0].sampling
            batch = [request for request in self._queue if request.sampling == sampling][:LARGEST_BATCH]
            taken = {id(request) for request in batch}
            self._queue = [request for request in self._queue if id(request) not in taken]
            async with self._lock:
                try:
                    outputs = await asyncio.to_thread(self._generate, sampling, batch)
                except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must learn of it
                    for request in batch:
                        request.answer.set_exception(error)
                    continue
            for request, output in zip(batch, outputs, strict=True):
                if not request.answer.done():
                    request.answer.set_result(output)

    def _generate(self, sampling: Sampling, batch: list[_Request]) -> list[Any]:
        import torch
        from transformers import LogitsProcessorList, SuppressTokensLogitsProcessor
        from verl.workers.rollout.replica import TokenOutput

        width = max(len(request.prompt) for request in batch)
        tokens = torch.full((len(batch), width), self._pad)
        for row, request in enumerate(batch):
            tokens[row, width - len(request.prompt) :] = torch.tensor(request.prompt)
        lengths = torch.tensor([len(request.prompt) for request in batch])
        inputs: dict[str, Any] = {
            "input_ids": tokens,
            "attention_mask": (torch.arange(width) >= width - lengths[:, None]).long(),
        }
        if sampling.with_images:
            images = [image for request in batch for image in request.images]
            inputs |= dict(self._processor.image_processor(images=images, return_tensors="pt"))
            inputs["mm_token_type_ids"] = (tokens == self._model.config.image_token_id).long()
        if sampling.temperature > 0:
            inputs |= {"do_sample": True, "temperature": sampling.temperature}
            inputs |= {"top_p": sampling.top_p, "top_k": sampling.top_k}
        else:
            inputs["do_sample"] = False
        never = LogitsProcessorList([SuppressTokensLogitsProcessor(self._never)] if self._never else [])
        with torch.no_grad():
            generated = self._model.generate(
                **inputs,
                max_new_tokens=sampling.max_new_tokens,
                logits_processor=never,
                return_dict_in_generate=True,
                output_scores=True,
            )
        responses = generated.sequences[:, width:]
        probabilities = torch.stack([step.float().log_softmax(-1) for step in generated.scores], 1)
        chosen = probabilities.gather(-1, responses[..., None])[..., 0]
        outputs = []
        for response, logarithms in zip(responses.tolist(), chosen.tolist(), strict=True):
            length = next((place + 1 for place, token in enumerate(response) if token in self._ends), len(response))
            outputs.append(
                TokenOutput(
                    token_ids=response[:length],
                    log_probs=logarithms[:length],
                    stop_reason="completed",
                    extra_fields={"global_steps": self._steps},
                )
            )
        return outputs

    async def load(self, weights: dict[str, Any], steps: int | None) -> None:
        """Take the weights of the trained model: numpy arrays by name. Raises RuntimeError when they do not fit."""
        import torch

        state = {name: torch.from_numpy(array) for name, array in weights.items()}
        async with self._lock:
            result = self._model.load_state_dict(state, strict=False)
        missing = set(result.missing_keys) - set(self._model._tied_weights_keys or ())
        if missing or result.unexpected_keys:
            raise RuntimeError(f"the weights do not fit: missing {missing}, unexpected {result.unexpected_keys}")
        self._steps = steps

    async def nothing(self, *_: Any, **__: Any) -> None:
        """What verl asks of an engine that shares a GPU with the training; here there is nothing to free."""

    wake_up = sleep = abort_all_requests = resume_generation = clear_kv_cache = nothing
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


def register() -> None:
    """Add the engine to verl's registries, under the name that ``overrides.py`` gives it."""
    from verl.workers.rollout import base
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    base._ROLLOUT_REGISTRY[CPU_SMOKE_ROLLOUT, "async"] = f"{__name__}.Adapter"
    RolloutReplicaRegistry.register(CPU_SMOKE_ROLLOUT, _replica)


def _replica() -> Any:
    import ray
    from verl.workers.rollout.replica import RolloutReplica

    class Replica(RolloutReplica):  # type: ignore[misc]
        async def launch_servers(self) -> None:
            name = f"{_SERVER}_{self.replica_rank}"
            actor = ray.remote(Server).options(name=name, num_cpus=1, max_concurrency=256)
            handle = actor.remote(self.model_config.path, self.config.response_length, self.config.seed)
            self.servers, self._server_handle, self._server_address = [handle], handle, name

    return Replica


def __getattr__(name: str) -> Any:
    """``Adapter``, by which verl hands the trained weights over; a class of verl's, so made when verl asks for it."""
    if name != "Adapter":
        raise AttributeError(name)
    import ray
    from verl.workers.rollout.base import BaseRollout

    class Adapter(BaseRollout):  # type: ignore[misc]
        async def resume(self, tags: list[str]) -> None: ...

        async def release(self) -> None: ...

        async def update_weights(self, weights: Any, wire_format: str = "named_tensors", **options: Any) -> None:
            arrays = {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in weights}
            server = ray.get_actor(f"{_SERVER}_0")
            await server.load.remote(arrays, options.get("global_steps"))

    return Adapter
