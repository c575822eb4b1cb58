/* What stands around the form: quick prompts, advice on the model, sentences at fields, presets. */

/* Sentences to begin with, by kind: one is added to what is typed, and taken out again. */
FP.kinds.chips = (root) => {
  const prompt = () => document.querySelector("#c-prompt textarea")?.value || "";
  const group = FP.el("div", { class: "fp-quick", role: "group", "aria-label": "Quick prompts" });
  const look = () => group.querySelectorAll("button").forEach((chip) => chip.setAttribute("aria-pressed", prompt().includes(chip.title)));
  const press = (text) => {
    const typed = prompt().trim();
    const ended = !typed || /[.!?…]$/.test(typed) ? typed : `${typed}.`;
    const without = () => typed.replace(text, "").replace(/ {2,}/g, " ").trim();
    FP.write("#c-prompt textarea", typed.includes(text) ? without() : `${ended} ${text}`.trim());
    look();
  };
  root.append(group);
  document.addEventListener("input", ({ target }) => target.matches("#c-prompt textarea") && look());
  document.addEventListener("fp-kept", () => setTimeout(look));
  return {
    draw: (kinds) => {
      const label = (text) => text.split(/[,.]/)[0].replace(/^(The camera|The light gets) /, "");
      const chip = (text) => FP.el("button", { type: "button", class: "fp-chip", title: text, "aria-label": text, onclick: () => press(text) }, label(text));
      group.replaceChildren(...Object.entries(kinds || {}).map(([kind, texts]) =>
        FP.el("div", { class: "fp-chips", role: "group", "aria-label": kind }, FP.el("span", { class: "fp-kind", "aria-hidden": "true" }, kind), ...texts.map(chip))));
      look();
    },
  };
};

/* What has to be done before the model can be used. */
FP.kinds.advice = (root) => {
  root.setAttribute("role", "status");
  return {
    draw: (said) =>
      root.replaceChildren(...(said ? [FP.el("div", { class: "fp-advice" }, FP.el("strong", {}, said.title), FP.el("p", {}, said.text), FP.el("code", {}, said.command), FP.el("p", {}, said.then))] : [])),
  };
};

/* Sentences at fields: what cannot work, and what is only good to know. */
FP.kinds.marks = () => ({
  draw: (found) => {
    document.querySelectorAll(".fp-mark").forEach((mark) => mark.remove());
    document.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
    for (const { id, text, tone } of found || []) {
      const field = document.getElementById(id);
      if (!field) continue;
      const wrong = tone === "wrong";
      const input = field.querySelector("input, textarea, select");
      if (input && wrong) input.setAttribute("aria-invalid", "true");
      field.append(FP.el("p", { class: `fp-mark ${wrong ? "fp-error" : "fp-help"}`, role: wrong ? "alert" : "status" }, FP.sentence(text)));
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
    try { found = JSON.parse(text) || {}; } catch { /* the server says that it is no file of presets */ }
    if (replacing(known.filter((one) => Object.keys(found).some((other) => same(one, other))))) part.act("import", { text });
  };
  const keep = (all) => {
    const link = FP.el("a", { href: URL.createObjectURL(new Blob([JSON.stringify(all, null, 1)], { type: "application/json" })), download: "framepack-presets.json" });
    link.click();
  };
  const foot = FP.el("div", { class: "fp-line" });
  root.append(list, FP.el("div", { class: "fp-line fp-save" }, name, FP.button("Save settings", "save", save)), foot,
    FP.el("p", { class: "fp-help" }, "A preset keeps all settings but those of one video: pictures, sentences and seed. The starred one is what a new page begins with."));
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
            FP.el("button", { type: "button", class: "fp-name", onclick: () => part.act("load", { name: one }) }, FP.el("span", {}, one), damaged.includes(one) ? FP.el("small", {}, "Damaged: click to read what is wrong") : null),
            FP.el("div", { class: "fp-tools" },
              FP.button(one === startup ? `Begin with the defaults instead of ${one}` : `Begin with ${one}`, "star", () => part.act("start", { name: one === startup ? null : one }), { quiet: true, kind: one === startup ? "fp-on" : "" }),
              FP.button(`Rename ${one}`, "edit", () => renamed(one), { quiet: true }),
              FP.button(`Delete ${one}`, "trash", () => confirm(`Delete the preset ${one}?`) && part.act("delete", { name: one }), { quiet: true })))),
      );
      foot.replaceChildren(
        FP.button("Import", "plus", () => FP.pick("application/json,.json", false, take)),
        ...(names.length ? [FP.button("Export all", "save", () => keep(all))] : []),
      );
    },
  };
};
