/* Several videos at once: each image with each prompt and each value of one field; and the list of batches. */
const SAVED = "framepack.many";
const EMPTY = { images: [], prompts: "", field: "", values: "" };
const savedLists = () => {
  try { return { ...EMPTY, ...JSON.parse(sessionStorage.getItem(SAVED)) }; } catch { return { ...EMPTY }; /* no storage in private mode */ }
};
const IMAGE = /^image\//;

/* Several images that were dropped where one belongs. A closed accordion takes them when it opens. */
let pending = [], take = null;
FP.addToBatch = (files) => {
  const fold = document.getElementById("fp-several");
  const opener = fold.querySelector(".label-wrap");
  if (!opener.classList.contains("open")) opener.click();
  fold.scrollIntoView({ behavior: "smooth", block: "start" });
  if (take) take(files);
  else pending.push(...files);
};

FP.kinds.batch_form = (root, part) => {
  let state = savedLists(), serial = 0, counted = { serial: 0, count: 0, error: "" }, pause = 0, uploading = 0, busy = false;
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const imageList = FP.el("ul", { class: "fp-images" });
  const prompts = FP.el("textarea", { id: "fp-batch-prompts", rows: 4, placeholder: "The camera pans left.\nNight falls.", "aria-describedby": "fp-batch-prompts-help" });
  const named = ({ field, label }) => FP.el("option", { value: field, selected: field === state.field }, label);
  const field = FP.el("select", { id: "fp-batch-field" }, FP.el("option", { value: "" }, "Nothing"), part.config.fields.map(named));
  const values = FP.el("input", { type: "text", "aria-label": "Values to go through", autocomplete: "off" });
  const make = FP.el("button", { type: "button", class: "fp-button fp-primary fp-make" });
  root.classList.add("fp-rows", "fp-batch-form");
  root.append(
    FP.el("p", { class: "fp-help" }, "One video for each image with each prompt and each value. Everything else is as in the form."),
    FP.el("div", { class: "fp-field" }, FP.el("h3", { class: "fp-h" }, "Start images"), imageList,
      FP.el("div", { class: "fp-line" }, FP.button("Add images", "plus", () => FP.chooseFiles("image/*", true, (files) => add(files))), FP.button("Clear all", "close", () => clear(), { kind: "fp-clear" })),
      FP.el("p", { class: "fp-help" }, "Empty: the form's own image.")),
    FP.el("div", { class: "fp-field" }, FP.el("label", { for: "fp-batch-prompts" }, "Prompts, one per line"), prompts,
      FP.el("p", { class: "fp-help", id: "fp-batch-prompts-help" }, "Empty: the form's own prompt. Lines that begin with # are left out.")),
    FP.el("div", { class: "fp-field" }, FP.el("label", { for: "fp-batch-field" }, "Go through the values of"), FP.el("div", { class: "fp-pair" }, field, values),
      FP.el("p", { class: "fp-help" }, "Separated by commas. 1..4 means all from 1 to 4.")),
    problem, make);

  const save = () => {
    try { sessionStorage.setItem(SAVED, JSON.stringify(state)); } catch { /* as above */ }
  };
  const hint = () => part.config.fields.find((one) => one.field === state.field)?.hint || "";
  const update = () => {
    const waits = serial !== counted.serial || uploading > 0 || busy;
    const some = counted.count === 1 ? "Make 1 video" : `Make ${counted.count} videos`;
    make.textContent = uploading ? `Waiting for ${uploading} image${uploading > 1 ? "s" : ""} …` : busy ? "Being queued …" : counted.count ? some : "Add images, prompts or values";
    make.disabled = waits || !counted.count;
    values.disabled = !state.field;
    values.placeholder = hint();
    root.querySelector(".fp-clear").hidden = !state.images.length;
  };
  const count = () => {
    clearTimeout(pause);
    serial += 1;
    save();
    update();
    pause = setTimeout(() => part.act("count", { ...state, serial }), 250);
  };
  const draw = () => {
    const one = ({ id, name }, index) =>
      FP.el("li", {}, FP.image(id, { alt: name }), FP.el("small", { title: name }, name),
        FP.button(`Remove ${name}`, "close", () => change(state.images.filter((_, other) => other !== index)), { quiet: true }));
    imageList.replaceChildren(...state.images.map(one));
  };
  const change = (next) => {
    state.images = next;
    draw();
    count();
  };
  const clear = () => change([]);
  /* Uploads one after the other, so that a file that cannot be read is named and the others arrive. */
  const add = async (files) => {
    const errors = files.filter((file) => file.type && !IMAGE.test(file.type)).map((file) => `${file.name} is no image.`);
    const good = files.filter((file) => !file.type || IMAGE.test(file.type));
    uploading += good.length;
    update();
    for (const file of good) {
      try {
        const [got] = await FP.upload([file], { field: "batch" }).answer;
        if (got.kind === "video") throw new Error("Only images can be added here.");
        FP.localImages.set(got.id, URL.createObjectURL(file));
        state.images = [...state.images, { id: got.id, name: file.name || "pasted image" }];
        draw();
      } catch (error) {
        errors.push(`${file.name}: ${error.message}`);
      }
      uploading -= 1;
      update();
    }
    count();
    problem.textContent = errors.join(" ");
  };
  prompts.addEventListener("input", () => ((state.prompts = prompts.value), count()));
  field.addEventListener("change", () => ((state.field = field.value), count()));
  values.addEventListener("input", () => ((state.values = values.value), count()));
  make.addEventListener("click", () => {
    if (FP.uploads.size) return FP.notify({ tone: "error", text: "A file is still being uploaded. Try again when it has arrived." });
    busy = true;
    update();
    part.act("make", { ...state, serial });
  });
  document.addEventListener("fp-error-shown", () => ((busy = false), update()));
  root.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files];
    if (files.length) add(files);
  });

  prompts.value = state.prompts;
  values.value = state.values;
  draw();
  take = add;
  if (JSON.stringify(state) === JSON.stringify(EMPTY)) update();
  else count();
  if (pending.length) add(pending.splice(0));
  return {
    draw: (value) => {
      if (!value) return;
      if (value.queued) busy = false;
      if (value.serial === serial) {
        counted = value;
        problem.textContent = value.error ? FP.sentence(value.error) : "";
      }
      update();
    },
  };
};

FP.kinds.batches = (root, part) => {
  const list = FP.el("ul", { class: "fp-list" });
  const rows = new Map();
  root.append(FP.el("h2", { class: "fp-h" }, "Batches"), list);
  const stop = (one) => {
    const left = one.unfinished === 1 ? "the video" : `the ${one.unfinished} videos`;
    if (confirm(`Stop ${left} of this batch that ${one.unfinished === 1 ? "is" : "are"} not finished?`)) part.act("cancel all", { id: one.name });
  };
  const row = (one) =>
    FP.el("li", { class: "fp-batch", "data-batch": one.name },
      FP.el("div", {}, FP.el("strong", {}, `${one.title} · ${one.jobs} ${one.panels.length ? "frames" : "videos"}`), FP.el("small", {}, one.line)),
      FP.el("div", { class: "fp-line" },
        one.unfinished ? FP.button("Cancel all", "close", () => stop(one)) : null,
        one.sheet ? FP.el("a", { class: "fp-button", href: one.sheet, download: one.file }, FP.icon("save"), FP.el("span", {}, "Contact sheet")) : null),
      one.panels.length ? FP.storyboard(one, part.act) : null,
      one.sheet && !one.panels.length ? FP.el("a", { class: "fp-sheet", href: one.sheet, target: "_blank", rel: "noopener" }, FP.el("img", { src: one.sheet, alt: `Contact sheet of ${one.title}: a frame of each video`, loading: "lazy" })) : null,
      FP.el("i", { class: "fp-thin", style: { width: `${one.unfinished ? one.percent : 0}%` } }));
  return {
    draw: (batches) => {
      batches = batches || [];
      root.hidden = !batches.length;
      const wanted = batches.map((one) => {
        const key = JSON.stringify(one);
        if (!rows.has(key)) rows.set(key, row(one));
        return rows.get(key);
      });
      for (const [key, element] of rows) if (!wanted.includes(element)) rows.delete(key);
      if (wanted.length !== list.children.length || wanted.some((element, index) => list.children[index] !== element)) list.replaceChildren(...wanted);
      FP.showAwaitedBoard(root);
    },
  };
};
