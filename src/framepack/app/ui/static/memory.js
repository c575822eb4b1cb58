/* The form as it is, kept for a reload; what was in it before something replaced it, for Undo. No server is needed. */
const FORM = "framepack.form", PAST = "framepack.past", STEPS = 30;
const told = (storage, key) => {
  try { return JSON.parse(window[storage].getItem(key)); } catch { return null; /* private mode keeps nothing */ }
};
const write = (storage, key, value) => {
  try { window[storage].setItem(key, JSON.stringify(value)); } catch { /* as above, or no room */ }
};

/* The tab's job stands in the address, so that a reload finds it and another tab has its own. */
FP.recall = () => new URLSearchParams(location.search).get("job") || "";
FP.remember = (job) => {
  const address = new URL(location.href);
  if (job) address.searchParams.set("job", job);
  else address.searchParams.delete("job");
  history.replaceState(null, "", address);
};

/* This tab's own form for a reload, this browser's last for a new tab. */
FP.kept = () => JSON.stringify({ here: told("sessionStorage", FORM), before: told("localStorage", FORM) });

/* { values, lock, preserve, editing, draft }; draft: the form that comes back when editing ends. */
FP.now = null;
const steps = { back: [], forth: [], ...told("sessionStorage", PAST) };

/* Only FP.apply begins and ends editing: what Gradio tells between two of its own updates can still have the old job. */
const formed = (names, now) => {
  const [lock, preserve] = now.slice(names.length);
  const values = Object.fromEntries(names.map((name, index) => [name, FP.plain(now[index])]));
  const { editing, draft } = FP.now || { editing: "" };
  return { values, lock, preserve, editing, draft };
};
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const save = () => {
  document.dispatchEvent(new Event("fp-kept"));
  write("sessionStorage", FORM, FP.now);
  if (!FP.now.editing) write("localStorage", FORM, FP.now);
};

/* Nothing is kept before the form of the last time is back. */
FP.keep = (names, now) => {
  if (!FP.now) return;
  FP.now = formed(names, now);
  save();
};

/* Without its server Gradio tells of no change any more, so what is typed is seen here too. */
FP.note = (field, value) => {
  if (!FP.now || !(field in FP.now.values)) return;
  FP.now = { ...FP.now, values: { ...FP.now.values, [field]: FP.plain(value) } };
  save();
};
document.addEventListener("input", ({ target }) => {
  const control = !target.closest(".fp-root") && target.closest('[id^="c-"]');
  if (!control || !FP.now) return;
  const field = Object.keys(FP.now.values).find((name) => `c-${name.replace(/[._]/g, "-")}` === control.id);
  FP.note(field, target.type === "checkbox" ? target.checked : target.value);
});

/* Keeps the form for Undo, before something of it is replaced or removed. */
FP.before = (label, form = FP.now) => {
  if (!form || same(form, (steps.back.at(-1) || {}).form)) return;
  steps.back = [...steps.back, { label, form }].slice(-STEPS);
  steps.forth = [];
  FP.stepped();
};
FP.stepped = () => {
  write("sessionStorage", PAST, steps);
  document.dispatchEvent(new CustomEvent("fp-stepped"));
};
FP.steps = () => ({ back: steps.back.at(-1), forth: steps.forth.at(-1) });

let replace = () => {};
const AWAY = "The page is not connected to its server, so this has to wait until it is back. Nothing is lost.";
const go = (step) => {
  const count = steps[step].length;
  if (!count) return;
  replace({ step, new: Math.random() });
  setTimeout(() => steps[step].length === count && FP.tell({ tone: "wrong", text: AWAY }), 1500);
};
FP.undo = () => go("back");
FP.redo = () => go("forth");
FP.kinds.memory = (root, part) => {
  replace = part.hold;
  FP.first = part.config.first;
  return { draw: () => {} };
};

/* What the form becomes by what the server, Undo or Redo says. */
const next = (said, now) => {
  if (said.step) {
    const other = said.step === "back" ? "forth" : "back";
    const { label, form } = steps[said.step].pop();
    steps[other].push({ label, form: now });
    FP.stepped();
    FP.tell({ text: said.step === "back" ? "Undone." : "Done again.", undo: steps.back.length > 0, redo: steps.forth.length > 0 });
    return form;
  }
  const form = { ...now, values: { ...now.values, ...said.values } };
  for (const key of ["lock", "preserve"]) if (said[key] !== undefined) form[key] = said[key];
  if (said.begin) return begun(said, form, now);
  if (said.editing) Object.assign(form, { editing: said.editing, draft: now.editing ? now.draft : now });
  const over = (said.editing === "" || said.loose) && now.editing;
  if (over && said.loose) Object.assign(form, { editing: "", draft: undefined });
  else if (over) Object.assign(form, { editing: "", ...now.draft, draft: undefined });
  if (!same(form, now)) FP.before(said.text || "a setting", now);
  if (over && said.loose && now.draft) FP.before("the form of before", now.draft);
  if (said.text) FP.tell({ text: said.text, undo: !same(form, now) });
  return form;
};

/* A page opens: what someone typed while the kept form was on its way stays. */
const begun = (said, form, now) => {
  for (const [name, value] of Object.entries(now.values)) if (!same(value, FP.first[name])) form.values[name] = value;
  const { draft } = told("sessionStorage", FORM) || {};
  Object.assign(form, { editing: said.editing || "", draft: said.editing ? draft : undefined });
  if (draft && !said.editing) FP.before("the form of before", draft);
  if (said.text) FP.tell({ text: said.text, undo: Boolean(draft && !said.editing) });
  return form;
};

FP.apply = (names, said, now) => {
  said = FP.plain(said);
  const form = said ? next(said, formed(names, now)) : formed(names, now);
  FP.now = form;
  save();
  FP.settled();
  const update = (change) => ({ __type__: "update", ...change });
  return [
    ...names.map((name) => form.values[name]), form.lock, form.preserve, form.editing, form.values.model,
    update({ value: form.editing ? "Save changes" : "Generate" }), update({ visible: Boolean(form.editing) }),
  ];
};

/* Ctrl+Z is the browser's own where someone has typed since the form was replaced, and ours everywhere else. */
const typed = new Map();
const TYPING = "textarea, input:not([type=range], [type=checkbox], [type=radio])";
document.addEventListener("beforeinput", ({ target }) => typed.has(target) || typed.set(target, target.value));
document.addEventListener("input", ({ target, inputType }) => {
  if (!typed.has(target)) typed.set(target, null);
  if (inputType === "historyUndo" && target.value === typed.get(target)) typed.delete(target);
});
document.addEventListener("fp-stepped", () => typed.clear());
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key)) return;
  const again = key === "y" || event.shiftKey;
  if ((event.target.matches(TYPING) && typed.has(event.target)) || document.querySelector("dialog[open]")) return;
  if (!FP.steps()[again ? "forth" : "back"]) return;
  event.preventDefault();
  if (again) FP.redo();
  else FP.undo();
});
