"""What the upstream made or ran for a response: pictures, code, searches."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.fronts.openai.items.outgoing import Item, Outgoing
from proxy.pictures import pixels
from proxy.types import CodeRun, Image, Json, PartialImage

Sources = Sequence[tuple[str, str]]  # addresses and titles


class Picture(Item):
    """One that is being drawn, for the client's `tool`."""

    __slots__ = ("_tool",)

    prefix = "ig"

    def __init__(self, out: Outgoing, tool: Json) -> None:
        body: Json = {"type": "image_generation_call", "status": "in_progress", "result": None}
        super().__init__(out, self.prefix, body)
        self._tool = tool
        self.tell("image_generation_call.in_progress")
        self.tell("image_generation_call.generating")

    def sketch(self, image: PartialImage) -> None:
        self.tell(
            "image_generation_call.partial_image",
            partial_image_index=image.index,
            partial_image_b64=image.data,
        )

    def show(self, image: Image) -> None:
        """The end of a picture that came."""
        tool = self._tool
        size = pixels.of(image.data) if image.data is not None else None  # seldom what was asked for
        self.body |= {
            "status": "completed",
            "result": image.data,
            "output_format": image.mime.partition("/")[2] or "png",
            "size": f"{size[0]}x{size[1]}" if size is not None else tool.get("size") or "auto",
            "quality": image.quality or tool.get("quality") or "auto",
            "background": image.background or tool.get("background") or "auto",
            "revised_prompt": image.revised_prompt,
        }
        if image.data is None:
            self.body["url"] = image.url
        self.tell("image_generation_call.completed")
        super().end()

    def end(self, status: str = "completed") -> None:
        """The end of one that never came."""
        self.body["status"] = "failed"
        super().end()


class Code(Item):
    __slots__ = ()

    def __init__(self, out: Outgoing, code: str) -> None:
        body: Json = {"type": "code_interpreter_call", "status": "in_progress", "code": code}
        super().__init__(out, "ci", body | {"container_id": f"cntr_{out.token}", "outputs": None}, code="")
        self.tell("code_interpreter_call.in_progress")
        self.tell("code_interpreter_call_code.delta", delta=code)
        self.tell("code_interpreter_call_code.done", code=code)
        self.tell("code_interpreter_call.interpreting")

    def log(self, run: CodeRun) -> None:
        self.body["outputs"] = [{"type": "logs", "logs": run.output}]

    def end(self, status: str = "completed") -> None:
        self.body["status"] = status
        self.tell("code_interpreter_call.completed")
        super().end()


class Search(Item):
    __slots__ = ()

    def __init__(self, out: Outgoing, queries: Sequence[str]) -> None:
        query = queries[0] if queries else ""
        action: Json = {"type": "search", "query": query, "queries": list(queries)}
        body: Json = {"type": "web_search_call", "status": "completed", "action": action}
        super().__init__(out, "ws", body, status="in_progress")
        self.tell("web_search_call.in_progress")
        self.tell("web_search_call.searching")

    def found(self, sources: Sources) -> None:
        self.body["action"]["sources"] = [{"type": "url", "url": url} for url, _ in sources]

    def end(self, status: str = "completed") -> None:
        self.tell("web_search_call.completed")
        super().end()
