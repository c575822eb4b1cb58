/* Shared by all components: elements, server requests, keyboard shortcuts. Text is set as text, never as HTML. */
const FP = (window.FP = { kinds: {} });

FP.mount = (kind, config, element, props, trigger, watch) => {
  const root = element.querySelector(".fp-root");
  const part = FP.kinds[kind](root, {
    config,
    act: (name, more = {}) => trigger("act", { do: name, ...more }),
    /* Sets the value without an event for the server. */
    hold: (value) => {
      props.value = value;
      FP.noteChange(config.field, value);
    },
    set: (value) => {
      props.value = value;
      FP.noteChange(config.field, value);
      trigger("input");
    },
  });
  const draw = () => part.draw(FP.copy(props.value));
  watch("value", draw);
  draw();
};

FP.copy = (value) => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

FP.el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
};

const PATHS = {
  up: "M12 19V5m-6 6 6-6 6 6", down: "M12 5v14m-6-6 6 6 6-6", close: "M6 6l12 12M18 6 6 18", plus: "M12 5v14M5 12h14",
  trash: "M4 7h16M9 7V4h6v3m-9 0 1 13h10l1-13", pause: "M9 5v14M15 5v14", play: "M8 5l11 7-11 7z",
  retry: "M4 12a8 8 0 1 0 3-6.2M4 4v5h5", edit: "M4 20h4L20 8l-4-4L4 16z", star: "M12 3l2.7 5.8 6.3.8-4.6 4.4 1.2 6.3L12 17.2 6.4 20.3l1.2-6.3L3 9.6l6.3-.8z",
  save: "M12 4v11m-5-5 5 5 5-5M4 20h16", picture: "M3 5h18v14H3zM3 16l5-5 5 5 3-3 5 5", camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
  sliders: "M4 7h10m4 0h2M4 17h2m4 0h10M16 4v6M8 14v6", stop: "M7 7h10v10H7z", sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.4 1.4m11.2 11.2L19 19M5 19l1.4-1.4M17.6 6.4 19 5",
  undo: "M8 5 3.5 9.5 8 14M4 9.5h10a5.5 5.5 0 0 1 0 11h-4", redo: "M16 5l4.5 4.5L16 14M20 9.5H10a5.5 5.5 0 0 0 0 11h4",
  seal: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4", brush: "M20 4 10 14M10 14c-3-1-5 1-5 3s-1 3-2 3c3 1 8 1 9-3 .3-1.500-.5-2.500-2-3z",
  left: "M14 6l-6 6 6 6", right: "M10 6l6 6-6 6", turn: "M20 12a8 8 0 1 1-3-6.2M20 4v5h-5", flip: "M12 3v18M9 6v12H2zM15 6v12h7z", fall: "M3 12h18M6 9h12V2zM6 15h12v7z",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zm5-1.5L21 21", film: "M4 5h16v14H4zM8 5v14M16 5v14M4 9h4m8 0h4M4 15h4m8 0h4",
};

FP.icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "fp-icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
};

FP.button = (label, icon, onclick, { quiet = false, kind = "" } = {}) =>
  FP.el(
    "button",
    { type: "button", class: `fp-button ${quiet ? "fp-icon-only" : ""} ${kind}`, title: quiet ? label : null, "aria-label": label, onclick },
    icon ? FP.icon(icon) : null,
    quiet ? null : FP.el("span", {}, label),
  );

/* The server's JSON. An error has the server's message. */
FP.fetchJson = async (address, method = "GET", body = null) => {
  let answer;
  try {
    answer = await fetch(address, body === null ? { method } : { method, body, headers: { "content-type": "application/json" } });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(FP.sentence(found.error));
  return found;
};

FP.sentence = (text) => {
  const whole = text || "The server could not do that.";
  return whole[0].toUpperCase() + whole.slice(1) + (/[.!?]$/.test(whole) ? "" : ".");
};

FP.chooseFiles = (accept, multiple, take) => {
  const input = FP.el("input", { type: "file", accept, multiple });
  input.onchange = () => input.files.length && take([...input.files]);
  input.click();
};

/* Sets a text as if it were typed, so that the browser's own undo works. */
FP.setText = (selector, text) => {
  const field = document.querySelector(selector);
  if (!field) return;
  field.focus();
  field.select();
  if (text && document.execCommand("insertText", false, text)) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

/* Scrolls to what a button changes. */
const TARGETS = { show: "#fp-viewer", retry: "#fp-viewer", edit: "#c-prompt", reuse: "#c-prompt", input: "#c-image", extend: "#c-image", start: "#c-image", end: "#c-end-frame", keyframe: "#c-frames" };
FP.scrollTo = (name) => {
  const target = document.querySelector(TARGETS[name] || "none");
  const at = target && target.getBoundingClientRect();
  if (at && (at.top < 0 || at.top > innerHeight - 240)) target.scrollIntoView({ behavior: "smooth", block: name === "show" ? "start" : "center" });
};

FP.isDark = () => document.body.classList.contains("dark");
FP.setDark = (dark) => {
  document.body.classList.toggle("dark", dark);
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
};
FP.initTheme = () => {
  document.documentElement.lang = "en";
  let chosen = null;
  try { chosen = localStorage.getItem("framepack.dark"); } catch { /* no storage in private mode */ }
  FP.setDark(chosen === null ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "yes");
};

/* A prompt is validated as well when typing pauses. */
let pause = 0;
document.addEventListener("input", ({ target }) => {
  if (target.tagName !== "TEXTAREA") return;
  clearTimeout(pause);
  pause = setTimeout(() => target.dispatchEvent(new FocusEvent("blur")), 700);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  if (event.repeat || document.querySelector("dialog[open]")) return;
  if (document.activeElement) document.activeElement.dispatchEvent(new Event("change", { bubbles: true }));
  setTimeout(FP.generate, 60);
});
document.addEventListener("DOMContentLoaded", FP.initTheme);
