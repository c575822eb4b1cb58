/* Lists of small forms: keyframes, prompts, LoRAs. */
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
    if (image) FP.chooseFiles(FP.IMAGES, !single, take);
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
