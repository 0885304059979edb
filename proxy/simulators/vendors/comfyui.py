"""ComfyUI behind a door that wants a key: pictures are uploaded, an order is a graph of nodes, and has the id
that its client gave it."""

from __future__ import annotations

import re
import uuid
from typing import Any

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import fields, forms, references
from proxy.simulators.vendors.drawings import MIMES, Drawing, draw
from proxy.simulators.vendors.house import House, Job, Json, Refused, Route, route

# What a node of a class must have; a list of an id and a number is the output of another node.
_NODES: dict[str, dict[str, str]] = {
    "CheckpointLoaderSimple": {"ckpt_name": "text"},
    "CLIPTextEncode": {"text": "text", "clip": "link"},
    "EmptyLatentImage": {"width": "side", "height": "side", "batch_size": "whole"},
    "LoadImage": {"image": "text"},
    "VAEEncode": {"pixels": "link", "vae": "link"},
    "KSampler": {
        "model": "link",
        "positive": "link",
        "negative": "link",
        "latent_image": "link",
        "seed": "whole",
        "steps": "whole",
        "cfg": "number",
        "sampler_name": "text",
        "scheduler": "text",
        "denoise": "number",
    },
    "VAEDecode": {"samples": "link", "vae": "link"},
    "SaveImage": {"images": "link", "filename_prefix": "text"},
}
_SORTS: dict[str, fields.Rule] = {
    "text": fields.text(least=0),
    "whole": fields.whole(0, 2**64),
    "number": fields.number(0, 1000),
    "side": fields.whole(16, 16384),
}


class ComfyUI(House):
    name = "comfyui"

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._inputs: dict[str, Json] = {}
        self._outputs: dict[str, Drawing] = {}

    def routes(self) -> list[Route]:
        return [
            route("POST", "/upload/image", self._upload),
            route("POST", "/prompt", self._prompt),
            route("GET", "/history/{task}", self._history),
            route("GET", "/api/jobs/{task}", self._job),
            route("POST", "/queue", self._queue),
            route("GET", "/view", self._view),
        ]

    def refusal(self, refused: Refused) -> Json:
        error = {"type": refused.code, "message": refused.message, "details": "", "extra_info": {}}
        return {"error": error, "node_errors": {}}

    def _upload(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        try:
            values, files = forms.read(exchange.raw, exchange.headers.get("content-type", ""))
            ((name, data),) = files
            described = references.describe_bytes(data)
        except ValueError as error:
            raise Refused(400, str(error), "invalid_image") from error
        if name != "image" or not values.keys() <= {"overwrite", "type", "subfolder"}:
            raise Refused(400, "unknown field", "invalid_image")
        stored = f"{described['sha256'][:12]}.png"
        self._inputs[stored] = described
        self.log.counts["comfyui.uploads"] += 1
        return json_reply({"name": stored, "subfolder": "", "type": values.get("type", "input")})

    def _prompt(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        rules = {
            "prompt": fields.record,
            "client_id": fields.text(),
            "prompt_id": fields.text(),
            "extra_data": fields.record,
        }
        body = self.body(exchange, rules, ("prompt",))
        graph, own_id = body["prompt"], body.get("prompt_id")
        if own_id is not None and not _is_canonical(own_id):
            raise Refused(400, "prompt_id must be a valid UUID", "invalid_prompt_id")
        for name, node in graph.items():
            self._check_node(name, node, graph)
        nodes: dict[str, Json] = {node["class_type"]: node["inputs"] for node in graph.values()}
        if "SaveImage" not in nodes or "KSampler" not in nodes:
            raise Refused(400, "Prompt has no outputs", "prompt_no_outputs")
        text = graph[nodes["KSampler"]["positive"][0]]["inputs"]["text"]
        orders = self.orders(text)
        given = [self._inputs[nodes["LoadImage"]["image"]]] if "LoadImage" in nodes else []
        size = (given[0]["width"], given[0]["height"]) if given else self._size(nodes)
        count = nodes.get("EmptyLatentImage", {}).get("batch_size", 1)
        job = self.submit(exchange, text, orders, draw(orders.said, orders, size, count))
        if given:
            exchange.notes["references"] = given
        job.extra["id"] = own_id or job.id
        self.jobs[job.extra["id"]] = job
        return self.accepted(job, {"prompt_id": job.extra["id"], "number": 1, "node_errors": {}})

    def _size(self, nodes: dict[str, Json]) -> tuple[int, int]:
        latent = nodes["EmptyLatentImage"]
        return latent["width"], latent["height"]

    def _check_node(self, name: str, node: Any, graph: Json) -> None:
        at = f"prompt.{name}"
        self.check(node, {"class_type": fields.one_of(*_NODES), "inputs": fields.record}, ("class_type",), at)
        sorts = _NODES[node["class_type"]]
        rules = {key: _SORTS.get(sort) or _link(graph) for key, sort in sorts.items()}
        self.check(node.get("inputs"), rules, tuple(rules), f"{at}.inputs")
        if node["class_type"] == "LoadImage" and node["inputs"]["image"] not in self._inputs:
            raise Refused(400, f"{at}: there is no such image", "custom_validation_failed")

    def _history(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.poll(exchange, found["task"])
        if job is None or not job.done:
            return json_reply({})
        return json_reply({found["task"]: self._shown(job)})

    def _job(self, exchange: Exchange, found: re.Match[str]) -> Reply:
        job = self.poll(exchange, found["task"])
        if job is None:
            return json_reply({"error": "Job not found"}, 404)
        head = {"id": job.extra["id"], "priority": 1, "create_time": 1795219200000}
        if job.cancelled or not job.done:
            words = "cancelled" if job.cancelled else "pending" if job.queued else "in_progress"
            return json_reply({**head, "status": words, "outputs_count": 0})
        shown = self._shown(job)
        told = [one for name, one in shown["status"]["messages"] if name == "execution_error"]
        error = {"execution_error": told[0]} if told else {}
        status = "failed" if told else "completed"
        return json_reply({**head, "status": status, "outputs": shown["outputs"], **error})

    def _shown(self, job: Job) -> Json:
        if job.outcome in ("failed", "moderated"):
            told = {"node_type": "KSampler", "exception_message": job.code or "out of memory"}
            status: Json = {
                "status_str": "error",
                "completed": False,
                "messages": [["execution_error", told]],
            }
            return {"prompt": [], "outputs": {}, "status": status}
        images = []
        for index, drawing in enumerate(job.good):
            filename = f"Dragoman {job.id[:8]}_{index:05}_.png"
            self._outputs[filename] = drawing
            images.append({"filename": filename, "subfolder": "", "type": "output"})
        status = {"status_str": "success", "completed": True, "messages": []}
        return {"prompt": [], "outputs": {"9": {"images": images}}, "status": status}

    def _queue(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        deleted = self.body(exchange, {"delete": fields.list_of(fields.text(), 100)}, ("delete",))["delete"]
        for job_id in deleted:
            if (job := self.jobs.get(job_id)) is not None:
                self.cancel(job)
        return Reply([b""])

    def _view(self, exchange: Exchange, _: re.Match[str]) -> Reply:
        drawing = self._outputs.get(exchange.query.get("filename", ""))
        if drawing is None or exchange.query.get("type") != "output":
            raise Refused(404, "There is no such file", "not_found")
        self.log.counts["comfyui.downloads"] += 1
        return Reply([drawing.data()], content_type=MIMES[drawing.kind])


def _is_canonical(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value
    except ValueError:
        return False


def _link(graph: Json) -> fields.Rule:
    def rule(value: Any) -> str:
        whole = isinstance(value, list) and len(value) == 2 and type(value[1]) is int
        return "" if whole and isinstance(value[0], str) and value[0] in graph else "must be a link to a node"

    return rule


def make(log: Log) -> Handler:
    return ComfyUI(log).handle
