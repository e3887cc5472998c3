// Colours and fonts of the page around the view, read from CSS so that JupyterLab's themes and dark mode apply.

export function readTheme(root) {
  const style = getComputedStyle(root); // live: follows data-dark, which is set first
  const color = (name) => style.getPropertyValue(name).trim();
  const dark = luminance(root, color("--xm-page")) < 0.4;
  root.dataset.dark = dark ? "yes" : "no";
  root.style.colorScheme = dark ? "dark" : "light";
  return {
    dark,
    ink: color("--xm-ink"),
    muted: color("--xm-muted"),
    faint: color("--xm-faint"),
    page: color("--xm-page"),
    line: color("--xm-line"),
    accent: color("--xm-accent"),
    font: style.fontFamily || "sans-serif",
  };
}

// Any CSS colour -> brightness 0..1, by letting the browser resolve it.
function luminance(root, color) {
  const probe = document.createElement("span");
  probe.style.color = color;
  root.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

// Calls back when JupyterLab switches its theme or the system switches to dark.
export function watchTheme(changed) {
  const observer = new MutationObserver(changed);
  const attributes = { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class", "style"] };
  observer.observe(document.body, attributes);
  observer.observe(document.documentElement, attributes);
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", changed);
  };
}
