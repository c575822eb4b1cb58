/* Parts that hold a value: the drop zone and rows; and what stands around the form: chips, marks, presets. */
const PICTURES = "image/png,image/jpeg,image/webp,image/gif,image/avif,image/heic,image/bmp,image/tiff";

FP.kinds.picture = (root, part) => {
  let value = null;
  const name = part.config.label;
  const say = FP.el("p", { class: "fp-error", role: "alert" });
  const box = FP.el("div", { class: "fp-drop" });
  root.append(FP.el("h2", { class: "fp-h" }, name), box, say, FP.el("p", { class: "fp-help" }, part.config.help));

  const take = async (files) => {
    say.textContent = "";
    box.classList.add("fp-busy");
    try {
      const [got] = await FP.upload(files.slice(0, 1), (share) => box.style.setProperty("--share", share));
      if (got.request) part.act("settings", { said: got.said });
      else if (got.kind === "video") part.act("video", { id: got.id });
      else {
        FP.local.set(got.id, URL.createObjectURL(files[0]));
        draw(got.id);
        part.set(got.id);
      }
      if (files.length > 1) say.textContent = "A video starts with one picture: the first was taken.";
    } catch (error) {
      say.textContent = error.message;
    }
    box.classList.remove("fp-busy");
  };
  const choose = () => FP.pick(`${PICTURES},video/*`, false, take);

  const draw = (id) => {
    value = id;
    const tools = [FP.button("Webcam", "camera", () => FP.webcam(take), { quiet: true })];
    if (id) {
      tools.unshift(FP.button("Choose another picture", "edit", choose, { quiet: true }));
      tools.push(FP.button("Remove the picture", "close", () => (draw(null), part.set(null)), { quiet: true }));
    }
    const shown = id
      ? FP.picture(id, { alt: "The picture the video starts with", class: "fp-chosen" })
      : FP.el("button", { type: "button", class: "fp-invite", onclick: choose },
          FP.icon("picture"), FP.el("strong", {}, "Drop a picture"), FP.el("span", {}, "or click to choose, or paste with Ctrl+V"));
    box.replaceChildren(shown, FP.el("div", { class: "fp-tools" }, tools));
    box.classList.toggle("fp-full", Boolean(id));
  };

  const files = (event) => [...((event.clipboardData || event.dataTransfer || {}).files || [])];
  const own = (event) => event.target.closest && event.target.closest(".fp-rows");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    if (!own(event)) box.classList.add("fp-over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || box.classList.remove("fp-over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("fp-over");
    if (!own(event) && files(event).length) take(files(event));
  });
  document.addEventListener("paste", (event) => {
    if (files(event).length) {
      event.preventDefault();
      take(files(event));
    }
  });
  return { draw };
};

FP.webcam = async (take) => {
  const video = FP.el("video", { autoplay: true, playsinline: true, muted: true });
  const dialog = FP.el("dialog", { class: "fp-dialog", "aria-label": "Webcam" }, video);
  const close = () => {
    for (const track of video.srcObject ? video.srcObject.getTracks() : []) track.stop();
    dialog.remove();
  };
  const snap = () => {
    const canvas = FP.el("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take([new File([blob], "webcam.png", { type: "image/png" })]), "image/png");
    dialog.close();
  };
  const said = FP.el("p", { class: "fp-help" }, "Allow the camera, then take the picture.");
  dialog.append(said, FP.el("div", { class: "fp-line" }, FP.button("Take the picture", "camera", snap), FP.button("Cancel", "close", () => dialog.close())));
  dialog.addEventListener("close", close);
  document.body.append(dialog);
  dialog.showModal();
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    said.textContent = "There is no camera here, or this page may not use it.";
  }
};

FP.kinds.rows = (root, part) => {
  const { columns, single, add, label, help } = part.config;
  const picture = columns.find((column) => column.kind === "picture");
  const list = FP.el("ol", { class: "fp-list" });
  const say = FP.el("p", { class: "fp-error", role: "alert" });
  const buttons = FP.el("div", { class: "fp-line" });
  root.classList.add("fp-rows");
  root.append(FP.el("h3", { class: "fp-h" }, label), list, buttons, say, FP.el("p", { class: "fp-help" }, help));
  const lora = columns.find((column) => column.kind === "lora");
  let rows = [], loras = [];

  /* Rows that are added together lie a second apart. */
  const next = (column, index) => {
    if (column.key !== "second") return column.start;
    const latest = Math.max(...rows.map((row) => Number(row.second) || 0));
    return rows.length ? latest + 1 + index : column.start + index;
  };
  const fresh = (first, index = 0) =>
    Object.fromEntries(columns.map((column) => [column.key, column.kind === "picture" || column.kind === "lora" ? first : next(column, index)]));
  const change = (next) => {
    draw(next);
    part.set(FP.plain(next));
  };
  const take = async (files) => {
    say.textContent = "";
    root.classList.add("fp-busy");
    try {
      const got = await FP.upload(single ? files.slice(0, 1) : files);
      got.forEach((one, index) => FP.local.set(one.id, URL.createObjectURL(files[index])));
      const pictures = got.filter((one) => one.kind === "picture").map((one, index) => fresh(one.id, index));
      if (pictures.length < got.length) say.textContent = "Only pictures can stand here.";
      change(single ? pictures : [...rows, ...pictures]);
    } catch (error) {
      say.textContent = error.message;
    }
    root.classList.remove("fp-busy");
  };
  const known = async () => {
    loras = (await FP.ask("/api/loras")).map((one) => one.name);
  };
  const takeLora = async (files) => {
    say.textContent = "";
    root.classList.add("fp-busy");
    try {
      const got = await FP.upload(files, undefined, "/api/loras");
      await known();
      change([...rows, ...got.map((one) => fresh(one.name))]);
    } catch (error) {
      say.textContent = error.message;
    }
    root.classList.remove("fp-busy");
  };
  const chooseLora = async () => {
    say.textContent = "";
    try {
      await known();
      if (loras.length) change([...rows, fresh(loras[0])]);
      else FP.pick(".safetensors", true, takeLora);
    } catch (error) {
      say.textContent = error.message;
    }
  };
  const more = () => {
    if (picture) FP.pick(PICTURES, !single, take);
    else if (lora) chooseLora();
    else change([...rows, fresh()]);
  };
  const swap = (index, other) => {
    const next = [...rows];
    [next[index], next[other]] = [next[other], next[index]];
    change(next);
  };

  const cell = (row, index, column) => {
    const named = `${column.label}, ${label} ${index + 1}`;
    if (column.kind === "picture") return FP.picture(row[column.key], { alt: named, class: "fp-thumb" });
    const write = (event) => {
      const text = event.target.value;
      row[column.key] = column.kind === "number" && text !== "" ? Number(text) : text;
      part.set(FP.plain(rows));
    };
    const input =
      column.kind === "lora"
        ? FP.el("select", { onchange: write, "aria-label": named }, [...new Set([row[column.key], ...loras])].map((file) => FP.el("option", { selected: file === row[column.key] }, file)))
        : FP.el("input", {
            type: column.kind, onchange: write, "aria-label": named, value: row[column.key],
            min: column.kind === "number" ? column.low : null, max: column.kind === "number" ? column.high : null, step: column.kind === "number" ? "any" : null,
          });
    return FP.el("label", { class: `fp-cell fp-${column.kind}` }, FP.el("span", {}, column.label), input);
  };

  const draw = (value) => {
    rows = value || [];
    list.replaceChildren(
      ...rows.map((row, index) =>
        FP.el("li", { class: "fp-row" },
          columns.map((column) => cell(row, index, column)),
          FP.el("div", { class: "fp-tools" },
            index > 0 ? FP.button(`Move up, ${label} ${index + 1}`, "up", () => swap(index, index - 1), { quiet: true }) : null,
            index < rows.length - 1 ? FP.button(`Move down, ${label} ${index + 1}`, "down", () => swap(index, index + 1), { quiet: true }) : null,
            FP.button(`Remove, ${label} ${index + 1}`, "close", () => change(rows.filter((_, other) => other !== index)), { quiet: true })))),
    );
    const full = single && rows.length > 0;
    buttons.replaceChildren(
      ...(full ? [] : [FP.button(add, "plus", more)]),
      ...(lora ? [FP.button("Upload a LoRA file", "save", () => FP.pick(".safetensors", true, takeLora))] : []),
      ...(rows.length > 1 ? [FP.button("Clear all", "close", () => change([]))] : []),
    );
  };
  root.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files];
    if (files.length && picture) take(files);
    else if (files.length && lora) takeLora(files);
  });
  return { draw };
};

FP.kinds.chips = (root) => ({
  draw: (texts) =>
    root.replaceChildren(
      FP.el("div", { class: "fp-chips", role: "group", "aria-label": "Quick prompts" },
        (texts || []).map((text) => FP.el("button", { type: "button", class: "fp-chip", title: text, onclick: () => FP.write("#c-prompt textarea", text) }, text.split(/[,.]/)[0])))),
});

/* What has to be done before the model can be used. */
FP.kinds.advice = (root) => {
  root.setAttribute("role", "status");
  return {
    draw: (said) =>
      root.replaceChildren(...(said ? [FP.el("div", { class: "fp-advice" }, FP.el("strong", {}, said.title), FP.el("p", {}, said.text), FP.el("code", {}, said.command), FP.el("p", {}, said.then))] : [])),
  };
};

/* Marks the field that cannot work, with the sentence below it. */
FP.kinds.marks = () => ({
  draw: (found) => {
    document.querySelectorAll(".fp-mark").forEach((mark) => mark.remove());
    document.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
    for (const [id, sentence] of Object.entries(found || {})) {
      const field = document.getElementById(id);
      if (!field) continue;
      const input = field.querySelector("input, textarea, select");
      if (input) input.setAttribute("aria-invalid", "true");
      field.append(FP.el("p", { class: "fp-error fp-mark", role: "alert" }, FP.sentence(sentence)));
    }
  },
});

FP.kinds.presets = (root, part) => {
  const name = FP.el("input", { type: "text", "aria-label": "Name of the preset", placeholder: "Name", maxlength: 60 });
  const save = () => name.value.trim() && part.act("save", { name: name.value.trim() });
  const list = FP.el("ul", { class: "fp-list" });
  name.addEventListener("keydown", (event) => event.key === "Enter" && !event.ctrlKey && (event.preventDefault(), save()));
  const take = async ([file]) => part.act("import", { text: await file.text() });
  const keep = (all) => {
    const link = FP.el("a", { href: URL.createObjectURL(new Blob([JSON.stringify(all, null, 1)], { type: "application/json" })), download: "framepack-presets.json" });
    link.click();
  };
  const foot = FP.el("div", { class: "fp-line" });
  root.append(list, FP.el("div", { class: "fp-line fp-save" }, name, FP.button("Save settings", "save", save)), foot,
    FP.el("p", { class: "fp-help" }, "A preset keeps all settings but the pictures. The starred one is what a new page begins with."));
  const renamed = (old) => {
    const next = prompt("New name", old);
    if (next && next !== old) part.act("rename", { name: old, new: next.trim() });
  };
  return {
    draw: (value) => {
      const { names, startup, all } = value || { names: [], startup: null, all: {} };
      list.replaceChildren(
        ...names.map((one) =>
          FP.el("li", { class: "fp-row fp-preset" },
            FP.el("button", { type: "button", class: "fp-name", onclick: () => part.act("load", { name: one }) }, one),
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
