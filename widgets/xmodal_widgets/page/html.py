"""One self-contained HTML page: the view's module, the cube gzipped in base64, a model with no kernel behind it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import assets

# What anywidget's model offers, kept in the page. The state goes into the address, so a link restores the view.
MODEL = """
function pageModel(traits) {
  const listeners = new Map();
  let saving = 0;
  const fromAddress = () => {
    try { return JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { return {}; }
  };
  traits.state = { ...traits.state, ...fromAddress() };
  return {
    get: (name) => traits[name],
    set: (name, value) => { traits[name] = value; (listeners.get(`change:${name}`) || []).forEach((call) => call()); },
    on: (event, call) => listeners.set(event, [...(listeners.get(event) || []), call]),
    off: (event, call) => listeners.set(event, (listeners.get(event) || []).filter((other) => other !== call)),
    save_changes: () => {
      clearTimeout(saving); // when the reader rests: a change of address takes several milliseconds
      saving = setTimeout(() => {
        history.replaceState(null, "", "#" + encodeURIComponent(JSON.stringify(traits.state)));
      }, 150);
    },
    send: () => {},
  };
}
const traits = JSON.parse(document.getElementById("traits").textContent);
// In slabs, so that a large cube does not freeze the page while it opens.
async function unpack(text, slab = 1 << 20) {
  const bytes = new Uint8Array((text.length / 4) * 3 - (text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0));
  for (let from = 0, at = 0; from < text.length; from += slab) {
    const raw = atob(text.slice(from, from + slab));
    for (let i = 0; i < raw.length; i++) bytes[at++] = raw.charCodeAt(i);
    if (from + slab < text.length) await new Promise((go) => setTimeout(go));
  }
  // Inflated off the page's thread; a Response of a stream asks nobody for anything.
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new DataView(await new Response(stream).arrayBuffer());
}
traits._payload = await unpack(document.getElementById("payload").textContent);
document.getElementById("payload").remove();
render({ model: pageModel(traits), el: document.getElementById("view") });
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src {script_hashes}; \
style-src {style_hash}; img-src data:; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>{style}</style>
</head>
<body data-alone>
{above}<main id="view"></main>
<noscript><img alt="{title}" src="data:image/png;base64,{picture}"></noscript>
{below}<script type="application/json" id="traits">{traits}</script>
<script type="text/plain" id="payload">{payload}</script>
{own}<script type="module">{script}</script>
</body>
</html>
"""

FOLLOWS = """
:root { color-scheme: light dark; }
body { background: #ffffff; }
@media (prefers-color-scheme: dark) { body { background: #141414; } }
"""
FIXED = """
:root {{ color-scheme: {theme}; }}
body {{ background: {page}; }}
.xm-root {{ --xm-page: {page}; --xm-raised: {raised}; --xm-ink: {ink}; --xm-muted: {muted}; }}
"""
STYLE = """
body { margin: 0 auto; padding: 16px; max-width: 1880px; }
noscript img { max-width: 100%; }
.words { max-width: 46em; margin: 0 auto 1.2em; font: 16px/1.55 system-ui, sans-serif; color: #1f2328; }
.words + noscript, main + .words { margin-top: 1.6em; }
.words h1 { font-size: 1.6em; line-height: 1.25; margin: 0.4em 0; }
.words h2, .words h3 { font-size: 1.2em; margin: 1em 0 0.3em; }
.words a { color: #0b57d0; }
.words code, .words pre { font: 0.9em ui-monospace, monospace; background: #f3f4f6; border-radius: 3px; }
.words code { padding: 0.1em 0.3em; }
.words pre { padding: 0.6em 0.8em; overflow-x: auto; }
.words pre code { padding: 0; }
.words table { border-collapse: collapse; }
.words th, .words td { border-bottom: 1px solid #d0d7de; padding: 0.25em 0.7em; text-align: left; }
"""
DARK_WORDS = """
.words { color: #e6e6e6; }
.words a { color: #8ab4f8; }
.words code, .words pre { background: #262626; }
.words th, .words td { border-color: #444444; }
"""
RAISED = {False: "#ffffff", True: "#1f1f1f"}


def page(
    traits: Mapping[str, Any],
    payload: bytes,
    picture: bytes,
    theme: str | None = None,
    text: str = "",
    below: str = "",
) -> str:
    """The page's source. Its policy lets its own scripts run and nothing be fetched or sent, whatever the cube says.

    ``theme`` is "light" or "dark", or None for the reader's; ``text`` and ``below`` are Markdown, above and below the
    view.
    """
    script, style = assets.script() + MODEL, STYLE + assets.style() + _colors(theme)
    views, own = _apart(traits["_views"])
    packed = gzip.compress(payload, compresslevel=6, mtime=0)  # without a time, the same view writes the same bytes
    everything = {**traits, "_views": views, "error": "", "_job": {"possible": False}}
    return PAGE.format(
        above=_words(text),
        below=_words(below),
        title=html.escape(traits["title"] or "xmodal_lab view"),
        script_hashes=" ".join(map(_hash, [*own, script])),
        own="".join(f'<script type="module">{code}</script>\n' for code in own),
        style_hash=_hash(style),
        style=style,
        picture=base64.b64encode(picture).decode("ascii"),
        traits=json.dumps(everything).replace("<", "\\u003c"),  # no text of the cube may end the script
        payload=base64.b64encode(packed).decode("ascii"),
        script=script,
    )


def _words(text: str) -> str:
    """Markdown as a part of the page; HTML in it is shown, not obeyed."""
    if not text.strip():
        return ""
    import mistune  # Jupyter has it; only who writes a page with words needs it

    made = mistune.create_markdown(escape=True, plugins=["table"])(text)
    return f'<section class="words">{made}</section>\n'


def _colors(theme: str | None) -> str:
    from .look import LOOKS

    dark = theme == "dark"
    if theme is None:
        return f"{FOLLOWS}@media (prefers-color-scheme: dark) {{{DARK_WORDS}}}\n"
    return FIXED.format(theme=theme, raised=RAISED[dark], **LOOKS[dark]) + (DARK_WORDS if dark else "")


def _apart(views: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Drawing functions of one's own as scripts beside the page's: an error in one spoils its own panel only."""
    codes = [view.get("code") for view in views]
    own = [f'(globalThis[Symbol.for("xmodal_own")] ||= {{}})[{k}] = {code};' for k, code in enumerate(codes) if code]
    return [{**view, "code": None, "inline": True} if view.get("code") else dict(view) for view in views], own


def _hash(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
