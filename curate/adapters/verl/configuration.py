"""Compose verl's configuration and let its own classes check it. Runs in verl's environment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from curate.adapters.verl.overrides import plain_key
from curate.adapters.verl.refusals import nearest

_NO_SUCH_KEY: Final = re.compile(r"Could not override '([^']+)'|Key '([^']+)' is not in struct")


def compose(overrides: Sequence[str]) -> Any:
    """verl's whole configuration, an OmegaConf DictConfig, as its trainer would compose it.

    Raises hydra's or omegaconf's own exceptions for what does not fit.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module

    with initialize_config_module(config_module="verl.trainer.config", version_base=None):
        return hydra_compose("ppo_trainer", overrides=list(overrides))


def compose_and_check(overrides: Sequence[str]) -> tuple[Any, list[str]]:
    """The configuration, None when it can't be composed, and what is wrong with it as sentences."""
    try:
        configuration = compose(overrides)
    except Exception as error:  # noqa: BLE001 - hydra, its parser and omegaconf raise classes of their own
        wrong = [sentence for line in overrides if (sentence := _problem_of_line(line))]
        return None, wrong or [f"verl's configuration can't be composed: {_on_one_line(error)}"]
    return configuration, _check(configuration)


def _check(configuration: Any) -> list[str]:
    """What verl's own validation and its dataclasses refuse; they would at the start of the training, on the GPUs."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    problems = []
    try:
        validate_config(configuration, need_reference_policy(configuration), need_critic(configuration))
        for part in ("algorithm", "actor_rollout_ref.rollout", "actor_rollout_ref.actor"):
            section = configuration
            for name in part.split("."):
                section = section[name]
            omega_conf_to_dataclass(section)
    except Exception as error:  # noqa: BLE001 - assertions, value errors, omegaconf's validation errors
        problems.append(f"verl refuses the configuration: {_on_one_line(error)}")
    return problems


def _problem_of_line(override: str) -> str | None:
    key, _, value = override.partition("=")
    try:
        compose([override])
    except Exception as error:  # noqa: BLE001 - see compose_and_check
        message = str(error)
    else:
        return None
    if _NO_SUCH_KEY.search(message):
        hint = nearest(plain_key(key), _known_keys())
        return f"verl has no setting {plain_key(key)}{hint} (for one that its defaults lack, write +{plain_key(key)})"
    return f"verl's setting {plain_key(key)} can't be {value}: {_on_one_line(message)}"


def _known_keys() -> list[str]:
    """All of verl's settings, by their dotted names."""
    from omegaconf import OmegaConf

    found: list[str] = []

    def walk(node: Any, path: str) -> None:
        for name, entry in node.items():
            here = f"{path}.{name}" if path else str(name)
            if isinstance(entry, dict) and entry:
                walk(entry, here)
            else:
                found.append(here)

    walk(OmegaConf.to_container(compose([]), resolve=False), "")
    return found


def _on_one_line(error: object) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
