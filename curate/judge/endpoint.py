"""Which model to ask: address, name and key of an OpenAI-compatible endpoint."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from curate.corpus import UserError

DEMO_URL = "demo"
DEMO_MODEL = "curate-demo-judge"
OPENAI_URL = "https://api.openai.com/v1"

_HOW = """\
--judge needs an OpenAI-compatible endpoint and the name of a model. Three ways to get one:
  a hosted model    export OPENAI_API_KEY=...  and add  --judge-model NAME  (and --judge-url URL unless it is OpenAI's)
  your own machine  vllm serve NAME            and add  --judge-url http://localhost:8000/v1 --judge-model NAME
  no model at all   add  --judge-url demo      to try the whole flow; the demo judge is no medical judge"""


@dataclass(frozen=True)
class Role:
    """What an endpoint is for, in the words of the command line."""

    option: str
    """Option that gives the address."""
    variable: str
    """Environment variable with the model's name."""
    demo_model: str
    """The model of the embedded server."""
    how: str
    """The ways to get an endpoint, shown when there is none."""
    keys: tuple[str, ...] = ("OPENAI_API_KEY",)
    """Environment variables that may hold the key, the first that is set counts."""


JUDGE = Role("--judge-url", "CURATE_JUDGE_MODEL", DEMO_MODEL, _HOW)


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint."""

    url: str
    """Base address, mostly ending in /v1; ``demo`` for the embedded demo judge."""
    model: str
    key: str = field(default="", repr=False)
    option: str = field(default="--judge-url", repr=False, compare=False)
    """The option that gave the address, for what users are told."""

    @property
    def demo(self) -> bool:
        """Whether this is the embedded demo judge."""
        return self.url == DEMO_URL

    @property
    def host(self) -> str:
        """Host and port: the part of the address that may be shown."""
        return urlsplit(self.url).netloc.rpartition("@")[2] or self.url

    @property
    def local(self) -> bool:
        """Whether the endpoint is this machine."""
        name = urlsplit(self.url).hostname or ""
        if self.demo or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def resolve_endpoint(
    url: str | None, model: str | None, environment: Mapping[str, str], role: Role = JUDGE
) -> Endpoint:
    """The endpoint from options and environment (OPENAI_BASE_URL, OPENAI_API_KEY, CURATE_JUDGE_MODEL).

    Raises UserError with the ways to get one when something is missing, or when an address or key can't be right.
    """
    url = (url or environment.get("OPENAI_BASE_URL") or "").strip().rstrip("/")
    name = next((name for name in role.keys if (environment.get(name) or "").strip()), role.keys[-1])
    key = (environment.get(name) or "").strip()
    if url == DEMO_URL:
        return Endpoint(DEMO_URL, role.demo_model, option=role.option)
    model = (model or environment.get(role.variable) or "").strip()
    if not model or not (url or key):
        raise UserError(role.how)
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(f"{name} holds characters that no key has; copy it again")
    url = url or OPENAI_URL
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            f"{role.option} must be an http:// or https:// address such as http://localhost:8000/v1, or demo"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UserError(f"{role.option} must be a plain address; give the key in {name}")
    endpoint = Endpoint(url, model, key, role.option)
    if key and parts.scheme == "http" and not endpoint.local and not _private(parts.hostname):
        raise UserError(f"{endpoint.host} is not this machine: use https://, or others can read the key on its way")
    if not key and url == OPENAI_URL:
        raise UserError(role.how)
    return endpoint


def _private(host: str) -> bool:
    """A host of the local network: by address, or by a name without a domain."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan"))
