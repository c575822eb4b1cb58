/* Components that hold a value: the drop zone and rows. */
const IMAGES = "image/png,image/jpeg,image/webp,image/gif,image/avif,image/heic,image/bmp,image/tiff";

/* Shows the error of an upload at its field, and ends the wait for it. */
FP.uploadFailed = (place, error) => {
  if (error instanceof FP.UploadStopped) return;
  place.textContent = error.message;
  document.dispatchEvent(new Event("fp-upload-failed"));
};

FP.kinds.image = (root, part) => {
  let value = null, current = null;
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const box = FP.el("div", { class: "fp-drop" });
  root.append(FP.el("h2", { class: "fp-h" }, part.config.label), box, problem, FP.el("p", { class: "fp-help" }, part.config.help));

  const put = (image, label = "another image") => {
    if (value) FP.pushUndo(label);
    value = image;
    draw(image);
    part.set(image);
  };
  const edit = () =>
    FP.editImage({
      image: value,
      own: true,
      title: "Edit image",
      done: (image) => put(image, "the image's edits"),
      back: () => box.querySelector(".fp-edit"),
    });
  const arrived = (got, url) => {
    if (!got.request && got.kind !== "video") {
      FP.localImages.set(got.id, url);
      return put(got.id);
    }
    draw(value);
    FP.awaitAnswer();
    if (got.request) part.act("settings", { answer: got.answer });
    else part.act("video", { id: got.id });
  };
  /* Of several uploads one after the other, the last counts. */
  const take = async (files) => {
    if (files.length > 1) return FP.addToBatch(files);
    if (current) current.stop();
    problem.textContent = "";
    const upload = FP.upload(files, { field: part.config.field, progress: (share) => box.style.setProperty("--share", share) });
    const mine = (current = { ...upload, url: URL.createObjectURL(files[0]), name: files[0].name });
    draw(value);
    try {
      const [got] = await mine.answer;
      if (current !== mine) return;
      current = null;
      arrived(got, mine.url);
    } catch (error) {
      if (current !== mine) return;
      current = null;
      draw(value);
      FP.uploadFailed(problem, error);
    }
  };
  const choose = () => FP.chooseFiles(`${IMAGES},video/*`, true, take);
  const remove = () => {
    put(null);
    FP.notify({ text: "The image was removed.", undo: true });
  };

  const face = (id) => {
    if (current) {
      const name = FP.el("p", { class: "fp-uploading-name" }, current.name);
      return FP.el("img", { src: current.url, alt: "The image being uploaded", class: "fp-chosen", onerror: ({ target }) => target.replaceWith(name) });
    }
    if (id) return FP.image(id, { alt: "The start image", class: "fp-chosen" }, true);
    return FP.el("button", { type: "button", class: "fp-invite", onclick: choose },
      FP.icon("picture"), FP.el("strong", {}, "Drop an image"), FP.el("span", {}, "or click to choose, or paste with Ctrl+V"));
  };
  const draw = (id) => {
    if (current && JSON.stringify(id) !== JSON.stringify(value)) current.stop();
    value = id;
    const tools = [FP.button("Webcam", "camera", () => FP.webcam(take), { quiet: true })];
    if (id || current) tools.unshift(FP.button("Choose another image", "picture", choose, { quiet: true }));
    if (id && !current) tools.unshift(FP.button("Edit image", "edit", edit, { kind: "fp-edit" }));
    if (current) tools.push(FP.button("Stop this upload", "close", current.stop, { quiet: true }));
    else if (id) tools.push(FP.button("Remove the image", "close", remove, { quiet: true }));
    box.replaceChildren(face(id), FP.el("div", { class: "fp-tools" }, tools));
    box.classList.toggle("fp-full", Boolean(id || current));
    box.classList.toggle("fp-busy", Boolean(current));
  };

  FP.acceptDrops(box, take, (text) => (problem.textContent = text));
  return { draw };
};

/* Takes files dropped or pasted anywhere on the page but on a list. Text still goes to where one types. */
FP.acceptDrops = (box, take, report) => {
  const files = (event) => [...((event.clipboardData || event.dataTransfer || {}).files || [])];
  const typed = (event) => event.target.closest && event.target.closest("input, textarea");
  const onList = (event) => event.target.closest && event.target.closest(".fp-rows");
  const carries = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const dialogOpen = () => document.querySelector("dialog[open]");
  document.addEventListener("dragover", (event) => {
    if (!carries(event) && typed(event)) return;
    event.preventDefault();
    if (!onList(event)) box.classList.add("fp-over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || box.classList.remove("fp-over"));
  document.addEventListener("drop", (event) => {
    box.classList.remove("fp-over");
    if (!carries(event) && typed(event)) return;
    event.preventDefault();
    if (onList(event) || dialogOpen()) return;
    if (files(event).length) take(files(event));
    else report("Only files can be dropped here. Save the image first, then drop its file.");
  });
  document.addEventListener("paste", (event) => {
    if (dialogOpen() || !files(event).length || (typed(event) && event.clipboardData.types.includes("text/plain"))) return;
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
  const help = FP.el("p", { class: "fp-help" }, "Allow the camera, then take the picture.");
  dialog.append(help, FP.el("div", { class: "fp-line" }, FP.button("Take the picture", "camera", snap), FP.button("Cancel", "close", () => dialog.close())));
  dialog.addEventListener("close", close);
  document.body.append(dialog);
  dialog.showModal();
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    help.textContent = "There is no camera here, or this page may not use it.";
  }
};

FP.kinds.rows = (root, part) => {
  const { field, columns, single, add, label, help } = part.config;
  const image = columns.find((column) => column.kind === "image");
  const list = FP.el("ol", { class: "fp-list" });
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const buttons = FP.el("div", { class: "fp-line" });
  root.classList.add("fp-rows");
  root.append(FP.el("h3", { class: "fp-h" }, label), list, buttons, problem, FP.el("p", { class: "fp-help" }, help));
  const lora = columns.find((column) => column.kind === "lora");
  let rows = [], loras = [], current = null;

  /* The start value of a new row. Rows that are added together lie a second apart. */
  const startValue = (column, index) => {
    if (column.key !== "second") return column.start;
    const latest = Math.max(...rows.map((row) => Number(row.second) || 0));
    return rows.length ? latest + 1 + index : column.start + index;
  };
  const newRow = (file, index = 0) =>
    Object.fromEntries(columns.map((column) => [column.key, column.kind === "image" || column.kind === "lora" ? file : startValue(column, index)]));
  const change = (next, text) => {
    if (rows.length && (text || single)) FP.pushUndo(text || "another image");
    draw(next);
    part.set(FP.copy(next));
    if (text) FP.notify({ text, undo: true });
  };
  /* `use` gets the server's answer. Of several uploads to one place, the last counts. */
  const send = async (files, address, use) => {
    if (single && current) current.stop();
    problem.textContent = "";
    const mine = (current = FP.upload(files, { address, field }));
    root.classList.add("fp-busy");
    try {
      await use(await mine.answer);
    } catch (error) {
      FP.uploadFailed(problem, error);
    }
    if (current === mine) root.classList.remove("fp-busy");
  };
  const take = (files) =>
    send(single ? files.slice(0, 1) : files, "/api/uploads", (got) => {
      got.forEach((one, index) => FP.localImages.set(one.id, URL.createObjectURL(files[index])));
      const images = got.filter((one) => one.kind === "picture").map((one, index) => newRow(one.id, index));
      if (images.length < got.length) problem.textContent = "Only images can be added here.";
      if (images.length) change(single ? images : [...rows, ...images]);
    });
  const loadLoras = async () => {
    loras = (await FP.fetchJson("/api/loras")).map((one) => one.name);
  };
  const takeLora = (files) =>
    send(files, "/api/loras", async (got) => {
      await loadLoras();
      change([...rows, ...got.map((one) => newRow(one.name))]);
    });
  const chooseLora = async () => {
    problem.textContent = "";
    try {
      await loadLoras();
      if (loras.length) change([...rows, newRow(loras[0])]);
      else FP.chooseFiles(".safetensors", true, takeLora);
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const addRow = () => {
    if (image) FP.chooseFiles(IMAGES, !single, take);
    else if (lora) chooseLora();
    else change([...rows, newRow()]);
  };
  const edit = (index, column) =>
    FP.editImage({
      image: rows[index][column.key],
      own: false,
      title: `Edit image, ${label} ${index + 1}`,
      done: (image) => change(rows.map((row, other) => (other === index ? { ...row, [column.key]: image } : row)), `${label} ${index + 1}: edited.`),
      back: () => list.children[index]?.querySelector(".fp-edit"),
    });
  const swap = (index, other) => {
    const next = [...rows];
    [next[index], next[other]] = [next[other], next[index]];
    change(next);
  };

  const cell = (row, index, column) => {
    const named = `${column.label}, ${label} ${index + 1}`;
    if (column.kind === "image") return FP.image(row[column.key], { alt: named, class: "fp-thumb" });
    const write = (put) => (value) => {
      row[column.key] = value;
      put(FP.copy(rows));
    };
    const [hold, set] = [write(part.hold), write(part.set)];
    const attributes = { "aria-label": named, value: row[column.key] };
    const files = () => [...new Set([row[column.key], ...loras])].map((file) => FP.el("option", { selected: file === row[column.key] }, file));
    const kinds = {
      lora: () => FP.el("select", { onchange: ({ target }) => set(target.value), "aria-label": named }, files()),
      number: () => FP.numberBox(attributes, () => column.start, hold, set),
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
            image ? FP.button(`Edit image, ${label} ${index + 1}`, "edit", () => edit(index, image), { quiet: true, kind: "fp-edit" }) : null,
            index > 0 ? FP.button(`Move up, ${label} ${index + 1}`, "up", () => swap(index, index - 1), { quiet: true }) : null,
            index < rows.length - 1 ? FP.button(`Move down, ${label} ${index + 1}`, "down", () => swap(index, index + 1), { quiet: true }) : null,
            FP.button(`Remove, ${label} ${index + 1}`, "close", () => change(rows.filter((_, other) => other !== index), `${label} ${index + 1}: removed.`), { quiet: true })))),
    );
    const full = single && rows.length > 0;
    buttons.replaceChildren(
      ...(full ? [] : [FP.button(add, "plus", addRow)]),
      ...(lora ? [FP.button("Upload a LoRA file", "save", () => FP.chooseFiles(".safetensors", true, takeLora))] : []),
      ...(rows.length > 1 ? [FP.button("Clear all", "close", () => change([], `${label}: all removed.`))] : []),
    );
  };
  root.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files];
    if (files.length && image) take(files);
    else if (files.length && lora) takeLora(files);
    else if (files.length) problem.textContent = "Only prompts can be added here.";
  });
  return { draw };
};
