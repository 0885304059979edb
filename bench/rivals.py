"""Other gateways and plain hops before the benchmark's upstream: how each is set up, and what it is asked.

A rival is a program on PATH, or where `BENCH_NAME` says (`BENCH_FERROGW=/opt/ferrogw`). Each has the settings
that it comes with, one worker, and of what it can switch off only the limits that would refuse the load.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.servers import KEY, Server, free_port, spawn

_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
{user}
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 64m; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream up {{ server {address}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
_ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: up}}}}]}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: up
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream_port}}}}}}}
"""  # noqa: E501
_FERROGW = """
strategy: {{mode: fallback}}
targets: [{{virtual_key: gemini, models: {models}}}]
"""
_LITELLM = """
model_list:
- model_name: "*"
  litellm_params: {{model: "gemini/*", api_base: "{base}", api_key: any}}
general_settings: {{master_key: {key}}}
"""


@dataclass(frozen=True)
class Start:
    """A command without its program, and what its environment has."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class At:
    """A rival's place: a folder of its own, the upstream, its port, the models it is asked for."""

    folder: Path
    upstream_port: int
    port: int
    models: list[str]

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"

    def write(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(text)
        return str(file)


def _nginx(at: At) -> Start:
    user = "user root;" if os.geteuid() == 0 else ""  # its worker must reach our folder
    address = f"127.0.0.1:{at.upstream_port}"
    config = _NGINX.format(folder=at.folder, port=at.port, address=address, user=user)
    return Start(["-p", str(at.folder), "-c", at.write("nginx.conf", config)])


def _envoy(at: At) -> Start:
    config = at.write("envoy.yaml", _ENVOY.format(port=at.port, upstream_port=at.upstream_port))
    return Start(["-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"])


def _ferrogw(at: At) -> Start:
    environment = {
        "PORT": str(at.port),
        "GATEWAY_CONFIG": at.write("ferrogw.yaml", _FERROGW.format(models=at.models)),
        "MASTER_KEY": KEY,
        "GEMINI_API_KEY": "any",
        "GEMINI_BASE_URL": at.base,
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
    }
    return Start(["serve"], environment)


def _litellm(at: At) -> Start:
    config = at.write("litellm.yaml", _LITELLM.format(base=at.base, key=KEY))
    arguments = ["--config", config, "--port", str(at.port), "--num_workers", "1"]
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "REPEATED_STREAMING_CHUNK_LIMIT": "1000000",  # else it ends our stream, whose chunks are alike
    }
    return Start(arguments, environment)


def _portkey(at: At) -> Start:
    return Start([f"--port={at.port}", "--headless"])


def _to_portkey(at: At) -> dict[str, str]:
    return {"x-portkey-provider": "google", "x-portkey-custom-host": at.base}


@dataclass(frozen=True)
class Rival:
    """`is_hop`: passes Gemini's own bytes through, and translates nothing."""

    name: str
    program: str
    start: Callable[[At], Start]
    headers: Callable[[At], dict[str, str]] = lambda _: {}
    is_hop: bool = False


RIVALS = {
    rival.name: rival
    for rival in (
        Rival("nginx", "nginx", _nginx, is_hop=True),
        Rival("envoy", "envoy", _envoy, is_hop=True),
        Rival("ferrogw", "ferrogw", _ferrogw),
        Rival("portkey", "gateway", _portkey, _to_portkey),
        Rival("litellm", "litellm", _litellm),
    )
}


def variable(rival: Rival) -> str:
    return f"BENCH_{rival.name.upper()}"


def program_of(rival: Rival) -> str | None:
    return os.environ.get(variable(rival)) or shutil.which(rival.program)


def started(rival: Rival, program: str, folder: Path, upstream_port: int, models: list[str]) -> Server:
    own = folder / rival.name
    own.mkdir()
    at = At(own, upstream_port, free_port(), models)
    start = rival.start(at)
    process = spawn([program, *start.arguments], 0, **start.environment)
    return Server(rival.name, "", process, at.port, rival.is_hop, rival.headers(at))
