/* Shared by all parts: making elements, asking the server, the page's own keys. Text is set as text, never as HTML. */
const FP = (window.FP = { kinds: {} });

FP.mount = (kind, config, element, props, trigger, watch) => {
  const root = element.querySelector(".fp-root");
  const part = FP.kinds[kind](root, {
    config,
    act: (name, more = {}) => trigger("act", { do: name, ...more }),
    set: (value) => {
      props.value = value;
      trigger("input");
    },
  });
  const draw = () => part.draw(FP.plain(props.value));
  watch("value", draw);
  draw();
};

FP.plain = (value) => (value === undefined ? null : JSON.parse(JSON.stringify(value)));

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
    { type: "button", class: `fp-button ${quiet ? "fp-quiet" : ""} ${kind}`, title: quiet ? label : null, "aria-label": label, onclick },
    icon ? FP.icon(icon) : null,
    quiet ? null : FP.el("span", {}, label),
  );

/* Hands files in; resolves to what the server says of each, with its own words as `said`: a seed can be more than a
   number of JavaScript's holds. */
FP.upload = (files, progress = () => {}, address = "/api/uploads") =>
  new Promise((resolve, reject) => {
    const form = new FormData();
    for (const file of files) form.append("file", file, file.name || "pasted.png");
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => reject(new Error("The server does not answer. Is it still running?"));
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* not ours: a proxy's page, say */ }
      if (request.status < 300) resolve(answer.map((one) => ({ ...one, said: request.responseText })));
      else reject(new Error(FP.sentence(answer.error)));
    };
    request.send(form);
  });

/* Asks the service; an error is its sentence. */
FP.ask = async (address, method = "GET") => {
  let answer;
  try {
    answer = await fetch(address, { method });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(FP.sentence(said.error));
  return said;
};

FP.sentence = (text) => {
  const said = text || "The server could not do that.";
  return said[0].toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
};

FP.pick = (accept, multiple, take) => {
  const input = FP.el("input", { type: "file", accept, multiple });
  input.onchange = () => input.files.length && take([...input.files]);
  input.click();
};

/* A picture's address: what was just chosen is shown from memory, anything else as the server's small copy. */
FP.local = new Map();
FP.address = (id) => FP.local.get(id) || `/api/uploads/${encodeURIComponent(id)}/picture`;
/* What this browser cannot draw itself (tiff, heic) it draws from the server's copy. */
FP.picture = (id, attributes) => {
  const copy = (event) => {
    if (FP.local.delete(id)) event.target.src = FP.address(id);
  };
  return FP.el("img", { src: FP.address(id), onerror: copy, ...attributes });
};

FP.write = (selector, text) => {
  const field = document.querySelector(selector);
  if (!field) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
};

/* The tab's one piece of state: its job, in the address, so that a reload finds it and another tab has its own. */
FP.recall = () => new URLSearchParams(location.search).get("job") || "";
FP.remember = (job) => {
  const address = new URL(location.href);
  if (job) address.searchParams.set("job", job);
  else address.searchParams.delete("job");
  history.replaceState(null, "", address);
};

/* The form as it last was without mistakes: this tab's own for a reload, this browser's last for a new tab. */
const FORM = "framepack.form";
const told = (storage) => {
  try { return JSON.parse(window[storage].getItem(FORM)); } catch { return null; /* private mode keeps nothing */ }
};
FP.kept = () => JSON.stringify({ here: told("sessionStorage"), before: told("localStorage") });
FP.keep = (form) => {
  for (const storage of form ? ["sessionStorage", "localStorage"] : [])
    try { window[storage].setItem(FORM, form); } catch { /* as above, or no room */ }
};
/* A sentence is looked at, and kept, also where someone stops in the middle of it. */
let pause = 0;
document.addEventListener("input", ({ target }) => {
  if (target.tagName !== "TEXTAREA") return;
  clearTimeout(pause);
  pause = setTimeout(() => target.dispatchEvent(new FocusEvent("blur")), 700);
});

FP.dark = () => document.body.classList.contains("dark");
FP.paint = (dark) => {
  document.body.classList.toggle("dark", dark);
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
};
FP.begin = () => {
  document.documentElement.lang = "en";
  let chosen = null;
  try { chosen = localStorage.getItem("framepack.dark"); } catch { /* private mode keeps nothing */ }
  FP.paint(chosen === null ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "yes");
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (document.activeElement) document.activeElement.dispatchEvent(new Event("change", { bubbles: true }));
    const button = document.querySelector("#fp-generate");
    setTimeout(() => (button.matches("button") ? button : button.querySelector("button")).click(), 60);
  }
});
document.addEventListener("DOMContentLoaded", FP.begin);
