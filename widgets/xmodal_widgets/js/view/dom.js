// Elements of the page.

// What can have the focus keeps its keys from JupyterLab's shortcuts, where arrows move between cells.
const FOCUSABLE = ["input", "select", "button", "canvas", "summary"];

// A text node that is set anew is laid out anew, with all that stands in its line: only where the words are others.
export function write(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export function mark(element, attribute, words) {
  if (element.getAttribute(attribute) !== words) element.setAttribute(attribute, words);
}

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (FOCUSABLE.includes(tag)) element.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
