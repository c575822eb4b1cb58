/* A number: a box that takes any text, and a slider where the number has one. */

/* The finite number that was typed, with a point or a comma. Any other text stays as it is: the server reports it. */
const NUMBER = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i;
FP.parseNumber = (text) => {
  const typed = text.normalize("NFKC").replace(/\u2212/g, "-").trim();
  const value = NUMBER.test(typed) ? Number(typed.replace(",", ".")) : NaN;
  return Number.isFinite(value) ? value : typed;
};

/* The box of a number. When it is left empty, it gets `start` again. */
FP.numberBox = (attributes, start, hold, set) => {
  const box = FP.el("input", { type: "text", inputmode: "decimal", autocomplete: "off", ...attributes });
  box.addEventListener("input", () => hold(FP.parseNumber(box.value)));
  box.addEventListener("change", () => set(FP.parseNumber(box.value)));
  box.addEventListener("blur", () => {
    if (box.value.trim()) return (box.value = FP.parseNumber(box.value));
    box.value = start();
    set(FP.parseNumber(box.value));
  });
  return box;
};

FP.kinds.number = (root, part) => {
  const { label, help, start, low, high, step } = part.config;
  const id = `${root.parentElement.closest("[id]")?.id || label}-box`;
  const usual = () => (start !== null && typeof start === "object" ? start[FP.form ? FP.form.values.model : Object.keys(start)[0]] : start) ?? "";
  const updateSlider = () => {
    if (range) range.value = typeof FP.parseNumber(box.value) === "number" ? FP.parseNumber(box.value) : usual();
    if (range) range.style.setProperty("--at", `${((range.value - low) / (high - low)) * 100}%`);
  };
  const box = FP.numberBox({ id, "aria-describedby": `${id}-help` }, usual, (value) => (part.hold(value), updateSlider()), (value) => (part.set(value), updateSlider()));
  const range = low === undefined ? null : FP.el("input", { type: "range", min: low, max: high, step, "aria-label": `${label}, slider` });
  const onSlide = (put) => () => {
    box.value = Number(range.value);
    put(Number(range.value));
    updateSlider();
  };
  if (range) range.addEventListener("input", onSlide(part.hold));
  if (range) range.addEventListener("change", onSlide(part.set));
  root.classList.add("fp-number-field");
  root.append(FP.el("div", { class: "fp-head" }, FP.el("label", { for: id }, label), box), ...(range ? [range] : []), FP.el("p", { class: "fp-help", id: `${id}-help` }, help));
  return {
    draw: (value) => {
      if (FP.parseNumber(box.value) !== value) box.value = value ?? "";
      box.placeholder = usual();
      updateSlider();
    },
  };
};
