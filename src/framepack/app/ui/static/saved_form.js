/* Saves the form for a reload, and its earlier states for Undo. No server is needed. */
const FORM = "framepack.form", PAST = "framepack.past", STEPS = 30;
const load = (storage, key) => {
  try { return JSON.parse(window[storage].getItem(key)); } catch { return null; /* no storage in private mode */ }
};
const store = (storage, key, value) => {
  try { window[storage].setItem(key, JSON.stringify(value)); } catch { /* as above, or the storage is full */ }
};

/* The tab's job is in the address, so that a reload finds it and another tab has its own. */
FP.jobInAddress = () => new URLSearchParams(location.search).get("job") || "";
FP.putJobInAddress = (job) => {
  const address = new URL(location.href);
  if (job) address.searchParams.set("job", job);
  else address.searchParams.delete("job");
  history.replaceState(null, "", address);
};

/* This tab's form for a reload, and this browser's last form for a new tab. */
FP.savedForms = () => JSON.stringify({ here: load("sessionStorage", FORM), before: load("localStorage", FORM) });

/* { values, lock, preserve, editing, draft }. The draft is the form that comes back when editing ends. */
FP.form = null;
const steps = { back: [], forth: [], ...load("sessionStorage", PAST) };

/* Only FP.applyUpdate starts and ends editing: between two updates Gradio's own values may still have the old job. */
const formOf = (names, now) => {
  const [lock, preserve] = now.slice(names.length);
  const values = Object.fromEntries(names.map((name, index) => [name, FP.copy(now[index])]));
  const { editing, draft } = FP.form || { editing: "" };
  return { values, lock, preserve, editing, draft };
};
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const save = () => {
  document.dispatchEvent(new Event("fp-form-saved"));
  store("sessionStorage", FORM, FP.form);
  if (!FP.form.editing) store("localStorage", FORM, FP.form);
};

/* Nothing is saved before the saved form has been restored. */
FP.saveForm = (names, now) => {
  if (!FP.form) return;
  FP.form = formOf(names, now);
  save();
};

/* Without its server Gradio reports no change any more, so what is typed is observed here as well. */
FP.noteChange = (field, value) => {
  if (!FP.form || !(field in FP.form.values)) return;
  FP.form = { ...FP.form, values: { ...FP.form.values, [field]: FP.copy(value) } };
  save();
};
document.addEventListener("input", ({ target }) => {
  const control = !target.closest(".fp-root") && target.closest('[id^="c-"]');
  if (!control || !FP.form) return;
  const field = Object.keys(FP.form.values).find((name) => `c-${name.replace(/[._]/g, "-")}` === control.id);
  FP.noteChange(field, target.type === "checkbox" ? target.checked : target.value);
});

/* Keeps the form for Undo, before something in it is replaced or removed. */
FP.pushUndo = (label, form = FP.form) => {
  if (!form || same(form, (steps.back.at(-1) || {}).form)) return;
  steps.back = [...steps.back, { label, form }].slice(-STEPS);
  steps.forth = [];
  FP.undoChanged();
};
FP.undoChanged = () => {
  store("sessionStorage", PAST, steps);
  document.dispatchEvent(new CustomEvent("fp-undo-changed"));
};
FP.undoSteps = () => ({ back: steps.back.at(-1), forth: steps.forth.at(-1) });

let replace = () => {};
const OFFLINE = "The page has lost its server. Try again when it is back. Nothing is lost.";
const go = (step) => {
  const count = steps[step].length;
  if (!count) return;
  replace({ step, new: Math.random() });
  setTimeout(() => steps[step].length === count && FP.notify({ tone: "error", text: OFFLINE }), 1500);
};
FP.undo = () => go("back");
FP.redo = () => go("forth");
FP.kinds.form_update = (root, part) => {
  replace = part.hold;
  FP.defaults = part.config.defaults;
  return { draw: () => {} };
};

/* The form after an update by the server, Undo or Redo. */
const updated = (update, now) => {
  if (update.step) {
    const other = update.step === "back" ? "forth" : "back";
    const { label, form } = steps[update.step].pop();
    steps[other].push({ label, form: now });
    FP.undoChanged();
    FP.notify({ text: update.step === "back" ? "Undone." : "Redone.", undo: steps.back.length > 0, redo: steps.forth.length > 0 });
    return form;
  }
  const form = { ...now, values: { ...now.values, ...update.values } };
  for (const key of ["lock", "preserve"]) if (update[key] !== undefined) form[key] = update[key];
  if (update.initial) return initialForm(update, form, now);
  if (update.editing) Object.assign(form, { editing: update.editing, draft: now.editing ? now.draft : now });
  const over = (update.editing === "" || update.edit_lost) && now.editing;
  if (over && update.edit_lost) Object.assign(form, { editing: "", draft: undefined });
  else if (over) Object.assign(form, { editing: "", ...now.draft, draft: undefined });
  if (!same(form, now)) FP.pushUndo(update.text || "a setting", now);
  if (over && update.edit_lost && now.draft) FP.pushUndo("the form from before", now.draft);
  if (update.text) FP.notify({ text: update.text, undo: !same(form, now) });
  return form;
};

/* The form of a page that opens. What was typed while the saved form was loading stays. */
const initialForm = (update, form, now) => {
  for (const [name, value] of Object.entries(now.values)) if (!same(value, FP.defaults[name])) form.values[name] = value;
  const { draft } = load("sessionStorage", FORM) || {};
  Object.assign(form, { editing: update.editing || "", draft: update.editing ? draft : undefined });
  if (draft && !update.editing) FP.pushUndo("the form from before", draft);
  if (update.text) FP.notify({ text: update.text, undo: Boolean(draft && !update.editing) });
  return form;
};

FP.applyUpdate = (names, update, now) => {
  update = FP.copy(update);
  const before = formOf(names, now);
  const form = { ...(update ? updated(update, before) : before) };
  form.values = { ...form.values };
  /* What the update leaves alone may have changed since `now`, such as an image that has just arrived. */
  const left = FP.form ? names.filter((name) => same(form.values[name], before.values[name])) : [];
  for (const name of left) form.values[name] = FP.form.values[name];
  FP.form = form;
  save();
  FP.answered();
  const gradioUpdate = (change) => ({ __type__: "update", ...change });
  return [
    ...names.map((name) => (left.includes(name) ? gradioUpdate({}) : form.values[name])), form.lock, form.preserve, form.editing, form.values.model,
    gradioUpdate({ value: form.editing ? "Save changes" : "Generate" }), gradioUpdate({ visible: Boolean(form.editing) }),
  ];
};

/* Ctrl+Z is the browser's in a field typed in since the last update, and ours everywhere else. */
const typed = new Map();
const TYPING = "textarea, input:not([type=range], [type=checkbox], [type=radio])";
document.addEventListener("beforeinput", ({ target }) => typed.has(target) || typed.set(target, target.value));
document.addEventListener("input", ({ target, inputType }) => {
  if (!typed.has(target)) typed.set(target, null);
  if (inputType === "historyUndo" && target.value === typed.get(target)) typed.delete(target);
});
document.addEventListener("fp-undo-changed", () => typed.clear());
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key)) return;
  const again = key === "y" || event.shiftKey;
  if ((event.target.matches(TYPING) && typed.has(event.target)) || document.querySelector("dialog[open]")) return;
  if (!FP.undoSteps()[again ? "forth" : "back"]) return;
  event.preventDefault();
  if (again) FP.redo();
  else FP.undo();
});
