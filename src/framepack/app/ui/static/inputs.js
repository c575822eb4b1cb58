/* Parts that hold a value: the drop zone and rows. */
const PICTURES = "image/png,image/jpeg,image/webp,image/gif,image/avif,image/heic,image/bmp,image/tiff";

/* What became of a file, at its field; whoever waits for it hears of it too. */
FP.failed = (say, error) => {
  if (error instanceof FP.Stopped) return;
  say.textContent = error.message;
  document.dispatchEvent(new Event("fp-failed"));
};

FP.kinds.picture = (root, part) => {
  let value = null, coming = null;
  const say = FP.el("p", { class: "fp-error", role: "alert" });
  const box = FP.el("div", { class: "fp-drop" });
  root.append(FP.el("h2", { class: "fp-h" }, part.config.label), box, say, FP.el("p", { class: "fp-help" }, part.config.help));

  const put = (picture, told = "another picture") => {
    if (value) FP.before(told);
    value = picture;
    draw(picture);
    part.set(picture);
  };
  const edit = () =>
    FP.edit({
      picture: value,
      own: true,
      named: "Edit picture",
      done: (picture) => put(picture, "the picture's edits"),
      back: () => box.querySelector(".fp-edit"),
    });
  const arrived = (got, url) => {
    if (!got.request && got.kind !== "video") {
      FP.local.set(got.id, url);
      return put(got.id);
    }
    draw(value);
    FP.answer();
    if (got.request) part.act("settings", { said: got.said });
    else part.act("video", { id: got.id });
  };
  /* Of several chosen one after the other, the last counts. */
  const take = async (files) => {
    if (files.length > 1) return FP.several(files);
    if (coming) coming.stop();
    say.textContent = "";
    const upload = FP.upload(files, { field: part.config.field, progress: (share) => box.style.setProperty("--share", share) });
    const mine = (coming = { ...upload, url: URL.createObjectURL(files[0]), name: files[0].name });
    draw(value);
    try {
      const [got] = await mine.answer;
      if (coming !== mine) return;
      coming = null;
      arrived(got, mine.url);
    } catch (error) {
      if (coming !== mine) return;
      coming = null;
      draw(value);
      FP.failed(say, error);
    }
  };
  const choose = () => FP.pick(`${PICTURES},video/*`, true, take);
  const remove = () => {
    put(null);
    FP.tell({ text: "The picture is taken out.", undo: true });
  };

  const face = (id) => {
    if (coming) {
      const named = FP.el("p", { class: "fp-name-coming" }, coming.name);
      return FP.el("img", { src: coming.url, alt: "The picture on its way", class: "fp-chosen", onerror: ({ target }) => target.replaceWith(named) });
    }
    if (id) return FP.picture(id, { alt: "The picture the video starts with", class: "fp-chosen" }, true);
    return FP.el("button", { type: "button", class: "fp-invite", onclick: choose },
      FP.icon("picture"), FP.el("strong", {}, "Drop a picture"), FP.el("span", {}, "or click to choose, or paste with Ctrl+V"));
  };
  const draw = (id) => {
    if (coming && JSON.stringify(id) !== JSON.stringify(value)) coming.stop();
    value = id;
    const tools = [FP.button("Webcam", "camera", () => FP.webcam(take), { quiet: true })];
    if (id || coming) tools.unshift(FP.button("Choose another picture", "picture", choose, { quiet: true }));
    if (id && !coming) tools.unshift(FP.button("Edit picture", "edit", edit, { kind: "fp-edit" }));
    if (coming) tools.push(FP.button("Stop this upload", "close", coming.stop, { quiet: true }));
    else if (id) tools.push(FP.button("Remove the picture", "close", remove, { quiet: true }));
    box.replaceChildren(face(id), FP.el("div", { class: "fp-tools" }, tools));
    box.classList.toggle("fp-full", Boolean(id || coming));
    box.classList.toggle("fp-busy", Boolean(coming));
  };

  FP.drops(box, take, (text) => (say.textContent = text));
  return { draw };
};

/* Files from anywhere on the page that no list takes; text may still be dropped and pasted where one types. */
FP.drops = (box, take, say) => {
  const files = (event) => [...((event.clipboardData || event.dataTransfer || {}).files || [])];
  const typed = (event) => event.target.closest && event.target.closest("input, textarea");
  const own = (event) => event.target.closest && event.target.closest(".fp-rows");
  const carries = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const away = () => document.querySelector("dialog[open]");
  document.addEventListener("dragover", (event) => {
    if (!carries(event) && typed(event)) return;
    event.preventDefault();
    if (!own(event)) box.classList.add("fp-over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || box.classList.remove("fp-over"));
  document.addEventListener("drop", (event) => {
    box.classList.remove("fp-over");
    if (!carries(event) && typed(event)) return;
    event.preventDefault();
    if (own(event) || away()) return;
    if (files(event).length) take(files(event));
    else say("Only files can be dropped here: save the picture first, then drop its file.");
  });
  document.addEventListener("paste", (event) => {
    if (away() || !files(event).length || (typed(event) && event.clipboardData.types.includes("text/plain"))) return;
    event.preventDefault();
    take(files(event));
  });
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
  const { field, columns, single, add, label, help } = part.config;
  const picture = columns.find((column) => column.kind === "picture");
  const list = FP.el("ol", { class: "fp-list" });
  const say = FP.el("p", { class: "fp-error", role: "alert" });
  const buttons = FP.el("div", { class: "fp-line" });
  root.classList.add("fp-rows");
  root.append(FP.el("h3", { class: "fp-h" }, label), list, buttons, say, FP.el("p", { class: "fp-help" }, help));
  const lora = columns.find((column) => column.kind === "lora");
  let rows = [], loras = [], coming = null;

  /* Rows that are added together lie a second apart. */
  const next = (column, index) => {
    if (column.key !== "second") return column.start;
    const latest = Math.max(...rows.map((row) => Number(row.second) || 0));
    return rows.length ? latest + 1 + index : column.start + index;
  };
  const fresh = (first, index = 0) =>
    Object.fromEntries(columns.map((column) => [column.key, column.kind === "picture" || column.kind === "lora" ? first : next(column, index)]));
  const change = (next, told) => {
    if (rows.length && (told || single)) FP.before(told || "another picture");
    draw(next);
    part.set(FP.plain(next));
    if (told) FP.tell({ text: told, undo: true });
  };
  /* `taken` has what the server said of files; of several uploads to one place the last counts. */
  const send = async (files, address, taken) => {
    if (single && coming) coming.stop();
    say.textContent = "";
    const mine = (coming = FP.upload(files, { address, field }));
    root.classList.add("fp-busy");
    try {
      await taken(await mine.answer);
    } catch (error) {
      FP.failed(say, error);
    }
    if (coming === mine) root.classList.remove("fp-busy");
  };
  const take = (files) =>
    send(single ? files.slice(0, 1) : files, "/api/uploads", (got) => {
      got.forEach((one, index) => FP.local.set(one.id, URL.createObjectURL(files[index])));
      const pictures = got.filter((one) => one.kind === "picture").map((one, index) => fresh(one.id, index));
      if (pictures.length < got.length) say.textContent = "Only pictures can stand here.";
      if (pictures.length) change(single ? pictures : [...rows, ...pictures]);
    });
  const known = async () => {
    loras = (await FP.ask("/api/loras")).map((one) => one.name);
  };
  const takeLora = (files) =>
    send(files, "/api/loras", async (got) => {
      await known();
      change([...rows, ...got.map((one) => fresh(one.name))]);
    });
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
  const edit = (index, column) =>
    FP.edit({
      picture: rows[index][column.key],
      own: false,
      named: `Edit picture, ${label} ${index + 1}`,
      done: (picture) => change(rows.map((row, other) => (other === index ? { ...row, [column.key]: picture } : row)), `${label} ${index + 1}: edited.`),
      back: () => list.children[index]?.querySelector(".fp-edit"),
    });
  const swap = (index, other) => {
    const next = [...rows];
    [next[index], next[other]] = [next[other], next[index]];
    change(next);
  };

  const cell = (row, index, column) => {
    const named = `${column.label}, ${label} ${index + 1}`;
    if (column.kind === "picture") return FP.picture(row[column.key], { alt: named, class: "fp-thumb" });
    const write = (put) => (value) => {
      row[column.key] = value;
      put(FP.plain(rows));
    };
    const [hold, set] = [write(part.hold), write(part.set)];
    const attributes = { "aria-label": named, value: row[column.key] };
    const files = () => [...new Set([row[column.key], ...loras])].map((file) => FP.el("option", { selected: file === row[column.key] }, file));
    const kinds = {
      lora: () => FP.el("select", { onchange: ({ target }) => set(target.value), "aria-label": named }, files()),
      number: () => FP.box(attributes, () => column.start, hold, set),
      text: () => FP.el("input", { type: "text", oninput: ({ target }) => hold(target.value), onchange: ({ target }) => set(target.value), ...attributes }),
    };
    const input = kinds[column.kind]();
    return FP.el("label", { class: `fp-cell fp-${column.kind}` }, FP.el("span", {}, column.label), input);
  };

  const draw = (value) => {
    rows = value || [];
    list.replaceChildren(
      ...rows.map((row, index) =>
        FP.el("li", { class: "fp-row" },
          columns.map((column) => cell(row, index, column)),
          FP.el("div", { class: "fp-tools" },
            picture ? FP.button(`Edit picture, ${label} ${index + 1}`, "edit", () => edit(index, picture), { quiet: true, kind: "fp-edit" }) : null,
            index > 0 ? FP.button(`Move up, ${label} ${index + 1}`, "up", () => swap(index, index - 1), { quiet: true }) : null,
            index < rows.length - 1 ? FP.button(`Move down, ${label} ${index + 1}`, "down", () => swap(index, index + 1), { quiet: true }) : null,
            FP.button(`Remove, ${label} ${index + 1}`, "close", () => change(rows.filter((_, other) => other !== index), `${label} ${index + 1}: taken out.`), { quiet: true })))),
    );
    const full = single && rows.length > 0;
    buttons.replaceChildren(
      ...(full ? [] : [FP.button(add, "plus", more)]),
      ...(lora ? [FP.button("Upload a LoRA file", "save", () => FP.pick(".safetensors", true, takeLora))] : []),
      ...(rows.length > 1 ? [FP.button("Clear all", "close", () => change([], `${label}: all taken out.`))] : []),
    );
  };
  root.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files];
    if (files.length && picture) take(files);
    else if (files.length && lora) takeLora(files);
    else if (files.length) say.textContent = "Only sentences can stand here.";
  });
  return { draw };
};
