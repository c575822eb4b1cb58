/* A number: a box that takes what is typed, as it is, and a slider beside it where there is one. */

/* A finite number of what was typed, with a point or a comma; any other text as it is, for the server to speak of. */
const NUMBER = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i;
FP.number = (text) => {
  const said = text.normalize("NFKC").replace(/\u2212/g, "-").trim();
  const value = NUMBER.test(said) ? Number(said.replace(",", ".")) : NaN;
  return Number.isFinite(value) ? value : said;
};

/* What belongs to one box of a number: empty, it is `start` again as soon as one leaves it. */
FP.box = (attributes, start, hold, set) => {
  const box = FP.el("input", { type: "text", inputmode: "decimal", autocomplete: "off", ...attributes });
  box.addEventListener("input", () => hold(FP.number(box.value)));
  box.addEventListener("change", () => set(FP.number(box.value)));
  box.addEventListener("blur", () => {
    if (box.value.trim()) return (box.value = FP.number(box.value));
    box.value = start();
    set(FP.number(box.value));
  });
  return box;
};

FP.kinds.number = (root, part) => {
  const { label, help, start, low, high, step } = part.config;
  const id = `${root.parentElement.closest("[id]")?.id || label}-box`;
  const usual = () => (start !== null && typeof start === "object" ? start[FP.now ? FP.now.values.model : Object.keys(start)[0]] : start) ?? "";
  const slide = () => {
    if (range) range.value = typeof FP.number(box.value) === "number" ? FP.number(box.value) : usual();
    if (range) range.style.setProperty("--at", `${((range.value - low) / (high - low)) * 100}%`);
  };
  const box = FP.box({ id, "aria-describedby": `${id}-help` }, usual, (value) => (part.hold(value), slide()), (value) => (part.set(value), slide()));
  const range = low === undefined ? null : FP.el("input", { type: "range", min: low, max: high, step, "aria-label": `${label}, slider` });
  const moved = (put) => () => {
    box.value = Number(range.value);
    put(Number(range.value));
    slide();
  };
  if (range) range.addEventListener("input", moved(part.hold));
  if (range) range.addEventListener("change", moved(part.set));
  root.classList.add("fp-amount");
  root.append(FP.el("div", { class: "fp-head" }, FP.el("label", { for: id }, label), box), ...(range ? [range] : []), FP.el("p", { class: "fp-help", id: `${id}-help` }, help));
  return {
    draw: (value) => {
      if (FP.number(box.value) !== value) box.value = value ?? "";
      box.placeholder = usual();
      slide();
    },
  };
};
