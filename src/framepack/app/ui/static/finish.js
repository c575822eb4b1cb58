/* A finished video, or a file of one's own, in another format or with steps done to its frames; and all that are made. */
const SAVED = "framepack.finish";
const EVERY = 1000;
const savedFields = () => {
  try { return JSON.parse(sessionStorage.getItem(SAVED)) || {}; } catch { return {}; /* no storage in private mode */ }
};

/* The finished video that the page shows, as { file, name }. */
let shown = null;
FP.offerToFinish = (view) => {
  const next = view && view.status === "done" && view.save && !view.still ? { file: view.file, name: view.prompt || view.file } : null;
  if (JSON.stringify(next) === JSON.stringify(shown)) return;
  shown = next;
  document.dispatchEvent(new Event("fp-finished-shown"));
};

/* A field's label, input and help: { root, value() }, where an empty value is left out. */
const widgets = {
  choice: (field, id, help) => {
    const options = field.choices.map(([value, label]) => FP.el("option", { value }, label));
    return FP.el("select", { id, "aria-describedby": help }, options);
  },
  number: (field, id, help) =>
    FP.el("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", placeholder: field.placeholder, "aria-describedby": help }),
  file: (field, id, help) => FP.el("input", { id, type: "file", accept: field.accept, multiple: field.many, "aria-describedby": help }),
};
/* Takes a file out again that was chosen. */
const clearOf = (field, input) => {
  const clear = FP.button(`Remove ${field.label}`, "close", () => {
    input.value = "";
    input.dispatchEvent(new Event("change", { bubbles: true }));
    input.focus();
  }, { quiet: true });
  const follow = () => (clear.hidden = !input.files.length);
  input.addEventListener("change", follow);
  follow();
  return clear;
};
const fieldOf = (field) => {
  const id = `fp-finish-${field.name}`;
  const input = widgets[field.kind](field, id, `${id}-help`);
  const shown = field.kind === "file" ? FP.el("div", { class: "fp-finish-file" }, input, clearOf(field, input)) : input;
  const root = FP.el("div", { class: "fp-finish-field" }, FP.el("label", { for: id }, field.label), shown, FP.el("p", { class: "fp-help", id: `${id}-help` }, field.help));
  return { ...field, input, root };
};

FP.kinds.finish = (root, part) => {
  const { groups, codecs, suffixes } = part.config.form;
  const drawn = groups.map(({ title, fields }) => ({ title, fields: fields.map(fieldOf) }));
  const fields = Object.fromEntries(drawn.flatMap((group) => group.fields).map((field) => [field.name, field]));
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const source = FP.el("p", { class: "fp-finish-source", "aria-live": "polite" });
  const use = FP.button("Use the video shown", "film", () => choose(null));
  const make = FP.el("button", { type: "button", class: "fp-button fp-primary fp-make" });
  const stop = FP.button("Stop sending", "close", () => sent && sent.stop());
  const news = FP.el("p", { class: "fp-unseen", role: "status" });
  const list = FP.el("ul", { class: "fp-list", "aria-label": "Videos being finished" });
  const group = ({ title, fields }) =>
    FP.el("fieldset", {}, FP.el("legend", {}, title), FP.el("div", { class: "fp-finish-fields" }, fields.map((field) => field.root)));
  root.classList.add("fp-finish", "fp-rows");
  root.append(
    FP.el("details", {}, FP.el("summary", {}, "Convert or finish a video"),
      FP.el("div", { class: "fp-line" }, source, FP.button("Choose a file", "plus", () => FP.chooseFiles("video/*,.mkv,.gif,.webp,.apng,.zip", false, ([file]) => choose(file))), use),
      drawn.map(group), problem, FP.el("div", { class: "fp-line" }, make, stop)),
    news, list);
  const rows = new Map();
  let own = null, sending = null, sent = null, pause = 0;

  /* What would be sent: { file, name, body }, or an error. */
  const wanted = () => {
    const work = {}, files = [];
    for (const { name, label, kind, many, input } of Object.values(fields)) {
      const typed = kind === "file" ? "" : input.value.trim();
      if (kind === "file") {
        const parts = [...input.files].map((file, index) => [`${name}${index || ""}`, file]);
        files.push(...parts);
        if (parts.length) work[name] = many ? parts.map(([part]) => `part:${part}`) : `part:${parts[0][0]}`;
      } else if (typed && kind === "number") {
        const number = FP.parseNumber(typed);
        if (typeof number !== "number") throw new Error(`${label} must be a number.`);
        work[name] = number;
      } else if (typed && (kind !== "choice" || typed !== input.options[0].value)) work[name] = typed;
    }
    const video = own || shown;
    if (!video) throw new Error("Choose a video first, or wait until the one that is shown is finished.");
    if (!Object.keys(work).length) throw new Error("Choose a format or a step first: as it stands, nothing would change.");
    const ending = (own ? own.name : shown.file).match(/\.[^.]*$/);
    work.format ??= suffixes[ending && ending[0].toLowerCase()] || "mp4";
    if (own) files.push(["file", own]);
    else work.file = shown.file;
    return { work, files };
  };
  const save = () => {
    const typed = Object.values(fields).filter(({ kind }) => kind !== "file").map(({ name, input }) => [name, input.value]);
    try { sessionStorage.setItem(SAVED, JSON.stringify(Object.fromEntries(typed))); } catch { /* as above */ }
  };
  /* Codecs of the chosen format; without one, all. */
  const follow = () => {
    const { input } = fields.codec, known = codecs[fields.format.input.value];
    for (const option of input.options) option.hidden = option.disabled = Boolean(known && option.value && !known.includes(option.value));
    if (input.selectedOptions[0]?.disabled) input.value = "";
  };
  const update = () => {
    source.textContent = own ? own.name : shown ? `The video shown: ${shown.name}` : "No video yet.";
    use.hidden = !own || !shown;
    stop.hidden = !sending;
    make.disabled = Boolean(sending);
    make.textContent = sending || "Make the new file";
  };
  const choose = (file) => {
    own = file;
    problem.textContent = "";
    update();
  };
  /* An error names a field as the API does; here it has its label. */
  const labelled = (message) => message.replace(/^\w+/, (name) => fields[name.toLowerCase()]?.label || name);
  const go = async () => {
    if (sending) return;
    problem.textContent = "";
    try {
      const { work, files } = wanted();
      const form = new FormData();
      form.append("request", JSON.stringify(work));
      for (const [name, file] of files) form.append(name, file, file.name);
      const name = own ? own.name : "the files";
      const progress = (share) => {
        sending = files.length && share < 1 ? `Sending ${name}: ${Math.round(share * 100)} %` : "Being queued …";
        update();
      };
      progress(0);
      sent = FP.send(form, { address: "/api/finishings", progress, waits: false });
      await sent.answer;
      ask();
    } catch (error) {
      problem.textContent = labelled(error.message);
    }
    sending = sent = null;
    update();
  };

  const remove = async ({ id, status }) => {
    if (status === "done" && !confirm("Delete this file here? What you have downloaded stays.")) return;
    const before = list.querySelector(":focus-within");
    try {
      await FP.fetchJson(`/api/finishings/${id}`, "DELETE");
      await ask();
    } catch (error) {
      await ask();
      if (rows.has(id)) problem.textContent = error.message; /* else another tab has deleted it */
    }
    if (before && !before.isConnected) (list.querySelector("button") || make).focus();
  };
  const state = ({ status, frames, total, error }) =>
    ({ waiting: "Waiting its turn", running: total ? `Frame ${frames} of ${total}` : "Being read", done: `${frames ? `${frames} frames` : "Ready"}`, failed: FP.sentence(error || "it failed") })[status];
  /* A row keeps its elements while it is made, so that a button stays where it was pressed. */
  const row = () => {
    const title = FP.el("strong"), said = FP.el("small"), notices = FP.el("div"), tools = FP.el("div", { class: "fp-tools" }), thin = FP.el("i", { class: "fp-thin" });
    const root = FP.el("li", { class: "fp-row" }, FP.el("div", { class: "fp-finish-said" }, title, said, notices), tools, thin);
    const link = (href, icon, label) => FP.el("a", { class: "fp-button fp-icon-only", href, download: true, title: label, "aria-label": label }, FP.icon(icon));
    let drawn = "";
    const draw = (one) => {
      const ended = ["done", "failed"].includes(one.status), name = one.file || "New file";
      root.dataset.status = one.status;
      title.textContent = name;
      said.textContent = state(one);
      said.classList.toggle("fp-error", one.status === "failed");
      thin.style.width = `${one.total && !ended ? (100 * one.frames) / one.total : 0}%`;
      if (drawn === `${one.status} ${one.notices}`) return;
      if (drawn && ended) news.textContent = `${name}: ${state(one)}`;
      drawn = `${one.status} ${one.notices}`;
      notices.replaceChildren(...one.notices.map((notice) => FP.el("small", {}, FP.sentence(notice))));
      tools.replaceChildren(...[
        one.url ? link(one.url, "save", `Download ${name}`) : null,
        one.credentials ? link(one.credentials, "seal", `Download the content credentials of ${name}`) : null,
        FP.button(`${ended ? "Delete" : "Cancel"} ${name}`, ended ? "trash" : "close", () => remove(one), { quiet: true }),
      ].filter(Boolean));
    };
    return { root, draw };
  };
  const show = (all) => {
    for (const id of rows.keys()) if (!all.some((one) => one.id === id)) rows.delete(id);
    for (const one of all) {
      if (!rows.has(one.id)) rows.set(one.id, row());
      rows.get(one.id).draw(one);
    }
    const wanted = all.map((one) => rows.get(one.id).root).reverse();
    if (wanted.length !== list.children.length || wanted.some((element, index) => list.children[index] !== element)) list.replaceChildren(...wanted);
  };
  /* Asks as long as one is being made and somebody looks. */
  const ask = async () => {
    clearTimeout(pause);
    let all = [];
    try {
      all = await FP.fetchJson("/api/finishings");
    } catch {
      all = null; /* the page says itself that the server is gone */
    }
    if (all) show(all);
    if (!all || all.some(({ status }) => ["waiting", "running"].includes(status))) pause = setTimeout(ask, document.hidden ? 10 * EVERY : EVERY);
  };

  for (const [name, value] of Object.entries(savedFields())) if (fields[name]) fields[name].input.value = value;
  root.addEventListener("change", () => (follow(), save()));
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.target.type !== "text") return;
    event.preventDefault();
    go();
  });
  root.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files], input = event.target;
    if (!files.length) return;
    if (input.type === "file") {
      const taken = new DataTransfer();
      for (const file of input.multiple ? files : files.slice(0, 1)) taken.items.add(file);
      input.files = taken.files;
      return input.dispatchEvent(new Event("change", { bubbles: true }));
    }
    choose(files[0]);
    if (files.length > 1) problem.textContent = `${files[0].name} is the video now. The others belong into Videos that follow.`;
  });
  make.addEventListener("click", go);
  document.addEventListener("fp-finished-shown", update);
  document.addEventListener("visibilitychange", () => document.hidden || ask());
  follow();
  update();
  ask();
  return { draw: () => {} };
};
