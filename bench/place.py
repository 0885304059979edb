"""The benchmark's upstream, and the least translation and Dragoman before it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from bench.measures import DIALECTS, chat, cpu_per_request, image, in_dialect
from bench.servers import KEY, Server, free_port, python, spawn, wait_for

# A vendor of jobs, whose providers say where it is.
JOBS = """profiles:
  jobs:
    base_url: "{base}"
    surfaces:
      image:
        submit: {{request: POST /jobs, body: {{model: $model, prompt: $prompt}}}}
        task: {{id: id}}
        poll: {{request: "GET /jobs/{{task.id}}", every: 10ms}}
        state: {{path: state, pending: [new], success: [done]}}
        result: {{images: picture}}
"""
_CONFIG = """
version: 1
keys: [{{name: bench, key: env:BENCH_KEY}}]
server: {{in_flight: {{requests: {at_once}}}}}
{jobs}providers:
  up: {{wire: gemini, base_url: "{base}", keys: [env:BENCH_KEY], private: true}}
  jobs: {{profile: jobs, base_url: "{base}/base64-8192", keys: [env:BENCH_KEY], private: true}}
  jobs-address: {{profile: jobs, base_url: "{base}/address-8192", keys: [env:BENCH_KEY], private: true}}
models:
  base64: {{targets: [jobs/base64], price: unpriced}}
  address: {{targets: [jobs-address/address], price: unpriced}}
"""


class Place:
    """One upstream, and the servers before it. Dragoman answers so many `at_once`."""

    def __init__(self, folder: Path, certificate: Path | None = None, *, at_once: int = 1000) -> None:
        self.port = free_port()
        scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
        self.base = f"{scheme}://{host}:{self.port}"
        self._environment = {"SSL_CERT_FILE": str(certificate)} if certificate else {}
        arguments = ["-m", "bench.upstream", str(self.port), *([str(certificate)] if certificate else [])]
        self.upstream = spawn(python(*arguments), 1)
        self._started: list[Server] = []
        self._config = folder / f"{scheme}.yaml"
        self._config.write_text(
            _CONFIG.format(base=self.base, jobs=JOBS.format(base=self.base), at_once=at_once)
        )

    def least(self) -> Server:
        port = free_port()
        command = python("-m", "bench.least", str(port))
        return Server("least", "", spawn(command, 0, BENCH_UPSTREAM=self.base, **self._environment), port)

    def dragoman(self) -> Server:
        port = free_port()
        command = python("-m", "proxy", "serve", "--config", str(self._config), "--port", str(port))
        return Server("dragoman", "up/", spawn(command, 0, BENCH_KEY=KEY, **self._environment), port)

    async def both(self) -> list[Server]:
        """Running, and past their first requests: what is loaded by then is no request's cost."""
        servers = [self.has(self.least()), self.has(self.dragoman())]
        for server in servers:
            await wait_for(server.port)
            for ask in (chat(), image("base64"), *(in_dialect(*one) for one in DIALECTS.values())):
                await cpu_per_request(server, ask, 32)
        await asyncio.sleep(2)
        return servers

    def has(self, server: Server) -> Server:
        """It ends with the place, whatever happens."""
        self._started.append(server)
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for server in self._started:
            server.stop()
        self.upstream.kill()


def certificate(folder: Path) -> Path:
    """For localhost, with its key, in one file; trusted by whoever is told to."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "localhost.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(pem))
    return file
