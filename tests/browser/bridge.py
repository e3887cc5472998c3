"""A view in a page without Jupyter: what the browser says reaches the view in this process, and back.

The page has the view's own module; the model behind it hands messages over through two functions of the page. What the
view sends is queued by whatever thread it comes from and handed to the page by ``pump``.
"""

from __future__ import annotations

import base64
import json
import queue
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xmodal_widgets import SweepView
from xmodal_widgets.page import assets

TRAITS = ("_layout", "_version", "_views", "_controls", "_job", "title", "state", "error")
MODEL = """
const listeners = new Map();
const fire = (event, ...given) => (listeners.get(event) || []).slice().forEach((call) => call(...given));
const bytes = (text) => { const raw = atob(text); return new DataView(Uint8Array.from({ length: raw.length }, (_, i) => raw.charCodeAt(i)).buffer); };
const traits = JSON.parse(document.getElementById("traits").textContent);
traits._payload = bytes(document.getElementById("payload").textContent);
window.model = {
  get: (name) => traits[name],
  set: (name, value) => { traits[name] = value; fire(`change:${name}`); },
  on: (event, call) => listeners.set(event, [...(listeners.get(event) || []), call]),
  off: (event, call) => listeners.set(event, (listeners.get(event) || []).filter((other) => other !== call)),
  save_changes: () => window.pythonState(JSON.stringify(traits.state)),
  send: (message) => window.pythonMessage(JSON.stringify(message)),
};
window.fromPython = ({ state, custom, buffers }) => {
  const changed = { ...state, ...(buffers._payload ? { _payload: bytes(buffers._payload) } : {}) };
  Object.assign(traits, changed);
  Object.keys(changed).forEach((name) => fire(`change:${name}`));
  if (custom) fire("msg:custom", custom, buffers.custom.map(bytes));
};
window.show = () => render({ model: window.model, el: document.getElementById("view").appendChild(document.createElement("div")) });
window.show();
"""
PAGE = """<!doctype html><html><head><meta charset="utf-8"><style>{style}</style></head><body><main id="view"></main>
<script type="application/json" id="traits">{traits}</script><script type="text/plain" id="payload">{payload}</script>
<script type="module">{script}</script></body></html>"""


class Bridge:
    """One view in one page."""

    def __init__(self, page: Any, view: SweepView, folder: Path) -> None:
        self.page, self.view = page, view
        self.alive = True
        self.sent: list[int] = []  # bytes of each message to the page
        self._queue: queue.Queue[tuple[dict[str, Any], list[Any]]] = queue.Queue()
        object.__setattr__(view, "_send", lambda msg, buffers=None: self._queue.put((msg, list(buffers or ()))))
        traits = {name: getattr(view, name) for name in TRAITS}
        path = folder / "bridge.html"
        text = PAGE.format(
            style=assets.style(),
            traits=json.dumps(traits).replace("<", "\\u003c"),
            payload=base64.b64encode(view._payload).decode(),
            script=assets.script() + MODEL,
        )
        path.write_text(text, encoding="utf-8")
        page.expose_function("pythonState", self._state)
        page.expose_function("pythonMessage", self._message)
        page.goto(path.as_uri())
        page.wait_for_selector(".xm-canvas")

    def _state(self, text: str) -> None:
        if self.alive:
            self.view.set_state({"state": json.loads(text)})

    def _message(self, text: str) -> None:
        if self.alive:
            self.view._hear(self.view, json.loads(text), [])

    def pump(self, until: Callable[[], bool], patience: float = 240.0) -> None:
        """Hand over what the view sends until something holds in this process and all is handed over."""
        deadline = time.monotonic() + patience
        while not (until() and self._queue.empty()):
            assert time.monotonic() < deadline, "it did not come to pass"
            try:
                message, buffers = self._queue.get_nowait()
            except queue.Empty:
                self.page.wait_for_timeout(30)
                continue
            if self.alive:
                self.page.evaluate("(message) => window.fromPython(message)", self._packed(message, buffers))
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def _packed(self, message: dict[str, Any], buffers: list[Any]) -> dict[str, Any]:
        texts = [base64.b64encode(bytes(b)).decode() for b in buffers]
        self.sent.append(sum(len(bytes(b)) for b in buffers))
        if message["method"] == "custom":
            return {"state": {}, "custom": message["content"], "buffers": {"custom": texts}}
        named = {path[0]: text for path, text in zip(message.get("buffer_paths", []), texts, strict=True)}
        return {
            "state": {k: v for k, v in message["state"].items() if k not in named},
            "custom": None,
            "buffers": named,
        }
