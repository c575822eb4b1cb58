/* Panels around the form: quick prompts, advice on the model, messages at fields, presets. */

/* Quick prompts, by kind. A click adds one to the prompt, another click removes it. */
FP.kinds.quick_prompts = (root) => {
  const prompt = () => document.querySelector("#c-prompt textarea")?.value || "";
  const group = FP.el("div", { class: "fp-quick", role: "group", "aria-label": "Quick prompts" });
  const update = () => group.querySelectorAll("button").forEach((chip) => chip.setAttribute("aria-pressed", prompt().includes(chip.title)));
  const toggle = (text) => {
    const typed = prompt().trim();
    const ended = !typed || /[.!?…]$/.test(typed) ? typed : `${typed}.`;
    const without = () => typed.replace(text, "").replace(/ {2,}/g, " ").trim();
    FP.setText("#c-prompt textarea", typed.includes(text) ? without() : `${ended} ${text}`.trim());
    update();
  };
  root.append(group);
  document.addEventListener("input", ({ target }) => target.matches("#c-prompt textarea") && update());
  document.addEventListener("fp-form-saved", () => setTimeout(update));
  return {
    draw: (kinds) => {
      const label = (text) => text.split(/[,.]/)[0].replace(/^(The camera|The light gets) /, "");
      const chip = (text) => FP.el("button", { type: "button", class: "fp-chip", title: text, "aria-label": text, onclick: () => toggle(text) }, label(text));
      group.replaceChildren(...Object.entries(kinds || {}).map(([kind, texts]) =>
        FP.el("div", { class: "fp-chips", role: "group", "aria-label": kind }, FP.el("span", { class: "fp-kind", "aria-hidden": "true" }, kind), ...texts.map(chip))));
      update();
    },
  };
};

/* How to download a model that is missing. */
FP.kinds.advice = (root) => {
  root.setAttribute("role", "status");
  return {
    draw: (advice) =>
      root.replaceChildren(...(advice ? [FP.el("div", { class: "fp-advice" }, FP.el("strong", {}, advice.title), FP.el("p", {}, advice.text), FP.el("code", {}, advice.command), FP.el("p", {}, advice.then))] : [])),
  };
};

/* Messages at fields: errors and notes. */
FP.kinds.errors = () => ({
  draw: (messages) => {
    document.querySelectorAll(".fp-field-message").forEach((message) => message.remove());
    document.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
    for (const { id, text, tone } of messages || []) {
      const field = document.getElementById(id);
      if (!field) continue;
      const error = tone === "error";
      const input = field.querySelector("input, textarea, select");
      if (input && error) input.setAttribute("aria-invalid", "true");
      field.append(FP.el("p", { class: `fp-field-message ${error ? "fp-error" : "fp-help"}`, role: error ? "alert" : "status" }, FP.sentence(text)));
    }
  },
});

FP.kinds.presets = (root, part) => {
  const name = FP.el("input", { type: "text", "aria-label": "Name of the preset", placeholder: "Name", maxlength: 60 });
  let known = [];
  const same = (one, other) => one.normalize("NFC").toLowerCase() === other.normalize("NFC").toLowerCase();
  const replacing = (names) => !names.length || confirm(`Replace the preset${names.length > 1 ? "s" : ""} ${names.join(", ")}?`);
  const save = () => {
    const named = name.value.trim();
    if (named && replacing(known.filter((one) => same(one, named)))) part.act("save", { name: named });
  };
  const list = FP.el("ul", { class: "fp-list" });
  name.addEventListener("keydown", (event) => event.key === "Enter" && !event.ctrlKey && (event.preventDefault(), save()));
  const take = async ([file]) => {
    const text = await file.text();
    let found = {};
    try { found = JSON.parse(text) || {}; } catch { /* the server reports that it is no file of presets */ }
    if (replacing(known.filter((one) => Object.keys(found).some((other) => same(one, other))))) part.act("import", { text });
  };
  const exportAll = (all) => {
    const link = FP.el("a", { href: URL.createObjectURL(new Blob([JSON.stringify(all, null, 1)], { type: "application/json" })), download: "framepack-presets.json" });
    link.click();
  };
  const foot = FP.el("div", { class: "fp-line" });
  root.append(list, FP.el("div", { class: "fp-line fp-save" }, name, FP.button("Save settings", "save", save)), foot,
    FP.el("p", { class: "fp-help" }, "A preset holds all settings except those of one video: images, prompts and seed. A new page starts with the starred preset."));
  const renamed = (old) => {
    const next = prompt("New name", old);
    if (next && next !== old) part.act("rename", { name: old, new: next.trim() });
  };
  return {
    draw: (value) => {
      const { names, startup, all, damaged } = value || { names: [], startup: null, all: {}, damaged: [] };
      known = names;
      list.replaceChildren(
        ...names.map((one) =>
          FP.el("li", { class: "fp-row fp-preset" },
            FP.el("button", { type: "button", class: "fp-name", onclick: () => part.act("load", { name: one }) }, FP.el("span", {}, one), damaged.includes(one) ? FP.el("small", {}, "Damaged: click to read why") : null),
            FP.el("div", { class: "fp-tools" },
              FP.button(one === startup ? `Start with the defaults instead of ${one}` : `Start with ${one}`, "star", () => part.act("start", { name: one === startup ? null : one }), { quiet: true, kind: one === startup ? "fp-on" : "" }),
              FP.button(`Rename ${one}`, "edit", () => renamed(one), { quiet: true }),
              FP.button(`Delete ${one}`, "trash", () => confirm(`Delete the preset ${one}?`) && part.act("delete", { name: one }), { quiet: true })))),
      );
      foot.replaceChildren(
        FP.button("Import", "plus", () => FP.chooseFiles("application/json,.json", false, take)),
        ...(names.length ? [FP.button("Export all", "save", () => exportAll(all))] : []),
      );
    },
  };
};
