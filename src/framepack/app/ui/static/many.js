/* Several videos at once: each picture with each sentence and each value of one field; and the batches these become. */
const LISTS = "framepack.many";
const fresh = { pictures: [], prompts: "", field: "", values: "" };
const remembered = () => {
  try { return { ...fresh, ...JSON.parse(sessionStorage.getItem(LISTS)) }; } catch { return { ...fresh }; /* private mode keeps nothing */ }
};
const STILL = /^image\//;

/* Pictures that were dropped where one belongs; a closed fold takes them as soon as it is open. */
let pending = [], take = null;
FP.several = (files) => {
  const fold = document.getElementById("fp-several");
  const opener = fold.querySelector(".label-wrap");
  if (!opener.classList.contains("open")) opener.click();
  fold.scrollIntoView({ behavior: "smooth", block: "start" });
  if (take) take(files);
  else pending.push(...files);
};

FP.kinds.many = (root, part) => {
  let state = remembered(), asked = 0, told = { asked: 0, count: 0, wrong: "" }, pause = 0, coming = 0, busy = false;
  const say = FP.el("p", { class: "fp-error", role: "alert" });
  const pictures = FP.el("ul", { class: "fp-pictures" });
  const prompts = FP.el("textarea", { id: "fp-many-prompts", rows: 4, placeholder: "The camera pans left.\nNight falls.", "aria-describedby": "fp-many-said" });
  const named = ({ field, label }) => FP.el("option", { value: field, selected: field === state.field }, label);
  const field = FP.el("select", { id: "fp-many-field" }, FP.el("option", { value: "" }, "Nothing"), part.config.fields.map(named));
  const values = FP.el("input", { type: "text", "aria-label": "Values to go through", autocomplete: "off" });
  const make = FP.el("button", { type: "button", class: "fp-button fp-strong fp-make" });
  root.classList.add("fp-rows", "fp-many");
  root.append(
    FP.el("p", { class: "fp-help" }, "One video of each picture, with each sentence and each value. Everything else is as in the form."),
    FP.el("div", { class: "fp-field" }, FP.el("h3", { class: "fp-h" }, "Pictures to start from"), pictures,
      FP.el("div", { class: "fp-line" }, FP.button("Add pictures", "plus", () => FP.pick("image/*", true, (files) => add(files))), FP.button("Clear all", "close", () => clear(), { kind: "fp-clear" })),
      FP.el("p", { class: "fp-help" }, "Without any it is the form's own.")),
    FP.el("div", { class: "fp-field" }, FP.el("label", { for: "fp-many-prompts" }, "Sentences, one in each line"), prompts,
      FP.el("p", { class: "fp-help", id: "fp-many-said" }, "Without any it is the form's own. Lines that begin with # are left out.")),
    FP.el("div", { class: "fp-field" }, FP.el("label", { for: "fp-many-field" }, "Go through the values of"), FP.el("div", { class: "fp-pair" }, field, values),
      FP.el("p", { class: "fp-help" }, "With commas between them; 1..4 are all from 1 to 4.")),
    say, make);

  const keep = () => {
    try { sessionStorage.setItem(LISTS, JSON.stringify(state)); } catch { /* as above */ }
  };
  const hint = () => part.config.fields.find((one) => one.field === state.field)?.hint || "";
  const look = () => {
    const waits = asked !== told.asked || coming > 0 || busy;
    const some = told.count === 1 ? "Make 1 video" : `Make ${told.count} videos`;
    make.textContent = coming ? `Waits for ${coming} picture${coming > 1 ? "s" : ""} …` : busy ? "Being queued …" : told.count ? some : "Add pictures, sentences or values";
    make.disabled = waits || !told.count;
    values.disabled = !state.field;
    values.placeholder = hint();
    root.querySelector(".fp-clear").hidden = !state.pictures.length;
  };
  const count = () => {
    clearTimeout(pause);
    asked += 1;
    keep();
    look();
    pause = setTimeout(() => part.act("count", { ...state, asked }), 250);
  };
  const draw = () => {
    const one = ({ id, name }, index) =>
      FP.el("li", {}, FP.picture(id, { alt: name }), FP.el("small", { title: name }, name),
        FP.button(`Take out ${name}`, "close", () => change(state.pictures.filter((_, other) => other !== index)), { quiet: true }));
    pictures.replaceChildren(...state.pictures.map(one));
  };
  const change = (next) => {
    state.pictures = next;
    draw();
    count();
  };
  const clear = () => change([]);
  /* One after the other, so that one that cannot be read is named and the others arrive. */
  const add = async (files) => {
    const wrong = files.filter((file) => file.type && !STILL.test(file.type)).map((file) => `${file.name} is no picture.`);
    const good = files.filter((file) => !file.type || STILL.test(file.type));
    coming += good.length;
    look();
    for (const file of good) {
      try {
        const [got] = await FP.upload([file], { field: "many" }).answer;
        if (got.kind !== "picture") throw new Error("Only pictures can stand here.");
        FP.local.set(got.id, URL.createObjectURL(file));
        state.pictures = [...state.pictures, { id: got.id, name: file.name || "pasted picture" }];
        draw();
      } catch (error) {
        wrong.push(`${file.name}: ${error.message}`);
      }
      coming -= 1;
      look();
    }
    count();
    say.textContent = wrong.join(" ");
  };
  prompts.addEventListener("input", () => ((state.prompts = prompts.value), count()));
  field.addEventListener("change", () => ((state.field = field.value), count()));
  values.addEventListener("input", () => ((state.values = values.value), count()));
  make.addEventListener("click", () => {
    if (FP.going.size) return FP.tell({ tone: "wrong", text: "A file is still on its way; try again when it is here." });
    busy = true;
    look();
    part.act("make", { ...state, asked });
  });
  document.addEventListener("fp-wrong", () => ((busy = false), look()));
  root.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files];
    if (files.length) add(files);
  });

  prompts.value = state.prompts;
  values.value = state.values;
  draw();
  take = add;
  if (JSON.stringify(state) === JSON.stringify(fresh)) look();
  else count();
  if (pending.length) add(pending.splice(0));
  return {
    draw: (value) => {
      if (!value) return;
      if (value.made) busy = false;
      if (value.asked === asked) {
        told = value;
        say.textContent = value.wrong ? FP.sentence(value.wrong) : "";
      }
      look();
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
      FP.el("div", {}, FP.el("strong", {}, `${one.title} · ${one.jobs} videos`), FP.el("small", {}, one.line)),
      FP.el("div", { class: "fp-line" },
        one.unfinished ? FP.button("Cancel all", "close", () => stop(one)) : null,
        one.sheet ? FP.el("a", { class: "fp-button", href: one.sheet, download: one.file }, FP.icon("save"), FP.el("span", {}, "Contact sheet")) : null),
      one.sheet ? FP.el("a", { class: "fp-sheet", href: one.sheet, target: "_blank", rel: "noopener" }, FP.el("img", { src: one.sheet, alt: `Contact sheet of ${one.title}: a frame of each video`, loading: "lazy" })) : null,
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
    },
  };
};
