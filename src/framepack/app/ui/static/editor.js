/* Edits one image in a dialog. The frame it shows comes from the server, fitted as for generation. */
const UNEDITED = { rotate: 0, flip: "none", crop: null, exposure: 0, contrast: 1, saturation: 1, fit: "crop", focus: [0.5, 0.5] };
const FITS = { crop: "Crop", pad: "Pad", blur: "Blur" };
const FIT_HELP = {
  crop: "The image fills the frame. Click the point that should stay in the middle.",
  pad: "The whole image, with black bars.",
  blur: "The whole image, with bars of its blurred enlargement.",
};
const LIGHTS = { exposure: ["Exposure", -2, 2], contrast: ["Contrast", 0, 2], saturation: ["Saturation", 0, 2] };
const LARGE = 1024, DELAY = 200;

/* Where a point of the image, in shares of its sides, moves to. */
const POINTS = { right: ([x, y]) => [1 - y, x], left: ([x, y]) => [y, 1 - x], horizontal: ([x, y]) => [1 - x, y], vertical: ([x, y]) => [x, 1 - y] };
const rounded = (value) => Math.round(value * 1e4) / 1e4;
/* A request rotates before it flips, so after a flip the rotation is reversed. Two flips are half a turn. */
const orientation = ({ rotate, flip }, turning) => {
  const by = (angle) => (rotate + angle + 360) % 360;
  if (turning === "right" || turning === "left") return { rotate: by((turning === "right") === (flip === "none") ? 90 : -90), flip };
  if (flip === "none") return { rotate, flip: turning };
  return { rotate: flip === turning ? rotate : by(180), flip: "none" };
};
const turn = (edits, turning) => {
  const point = (at) => POINTS[turning](at).map(rounded);
  const box = ([left, top, right, bottom]) => {
    const [[x, y], [u, v]] = [point([left, top]), point([right, bottom])];
    return [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
  };
  return { ...edits, ...orientation(edits, turning), crop: edits.crop && box(edits.crop), focus: point(edits.focus) };
};

/* The image with the edits that change something; without any, its id. */
const trimmed = (file, edits) => {
  const made = Object.entries(edits).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(UNEDITED[name]));
  return made.length ? { file, ...Object.fromEntries(made) } : file;
};

/* The frame as the server makes it, once nothing moves any more. Of several answers the newest is shown. */
const frame = (own) => {
  const image = FP.el("img", { alt: "The frame as the video uses it" });
  const size = FP.el("figcaption", { class: "fp-help" }, "The frame that is used");
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const root = FP.el("figure", { class: "fp-result" }, FP.el("div", {}, image), size, problem);
  let wait = 0, asking = null;
  const fetched = async (picture) => {
    if (asking) asking.abort();
    const mine = (asking = new AbortController());
    root.classList.add("fp-busy");
    try {
      const answer = await fetch(FP.editedAddress(picture, { video: FP.videoSize(own), longest: LARGE }), { signal: mine.signal });
      if (!answer.ok) throw new Error(FP.sentence((await answer.json().catch(() => ({}))).error));
      const made = await answer.blob();
      if (mine !== asking) return;
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(made);
      size.textContent = `The frame that is used: ${answer.headers.get("x-size").replace("x", " × ")} pixels`;
      problem.textContent = "";
      image.dataset.of = JSON.stringify(picture);
    } catch (error) {
      if (mine !== asking) return;
      problem.textContent = error instanceof TypeError ? "The server does not answer. Is it still running?" : error.message;
    }
    root.classList.remove("fp-busy");
  };
  const show = (picture) => {
    clearTimeout(wait);
    wait = setTimeout(fetched, DELAY, picture);
  };
  const close = () => {
    clearTimeout(wait);
    if (asking) asking.abort();
    asking = null;
    URL.revokeObjectURL(image.src);
  };
  return { root, show, close };
};

/* A slider with its number. Its range grows where a request from elsewhere is outside of it. */
const slider = (name, change) => {
  const [label, low, high] = LIGHTS[name];
  const id = `fp-edit-${name}`;
  const number = FP.el("output", { for: id });
  const range = FP.el("input", { type: "range", id, min: low, max: high, step: 0.05 });
  range.addEventListener("input", () => change({ [name]: Number(range.value) }));
  const draw = (edits) => {
    range.min = Math.min(low, edits[name]);
    range.max = Math.max(high, edits[name]);
    range.value = edits[name];
    range.style.setProperty("--at", `${((range.value - range.min) / (range.max - range.min)) * 100}%`);
    number.textContent = Number(edits[name]).toFixed(2);
  };
  return { root: FP.el("div", { class: "fp-root fp-number-field" }, FP.el("div", { class: "fp-head" }, FP.el("label", { for: id }, label), number), range), draw };
};

const fits = (change) => {
  const help = FP.el("p", { class: "fp-help" });
  const buttons = Object.entries(FITS).map(([fit, label]) => FP.el("button", { type: "button", class: "fp-chip", value: fit, onclick: () => change({ fit }) }, label));
  const draw = (edits) => {
    for (const button of buttons) button.setAttribute("aria-pressed", button.value === edits.fit);
    help.textContent = FIT_HELP[edits.fit];
  };
  const group = FP.el("div", { class: "fp-line", role: "group", "aria-label": "Fit" }, FP.el("strong", {}, "Fit"), buttons);
  return { root: FP.el("div", {}, group, help), draw };
};

/* The crop in words. */
const cropText = (crop) => {
  if (!crop) return "The whole image is kept.";
  const [left, top, right, bottom] = crop.map((edge) => Math.round(edge * 100));
  return `Kept: ${left} to ${right} % across, ${top} to ${bottom} % down.`;
};

/* { image, own, title, done(image), back() }: edits `image`; `back` finds what gets the focus afterwards. */
FP.editImage = ({ image, own, title, done, back }) => {
  const file = image.file ?? image;
  let edits = { ...UNEDITED, ...(image.file ? image : {}) };
  delete edits.file;
  const result = frame(own);
  const change = (more) => {
    edits = { ...edits, ...more };
    for (const part of parts) part.draw(edits);
    cropNote.textContent = cropText(edits.crop);
    clear.disabled = !edits.crop;
    result.show(trimmed(file, edits));
  };
  const cropper = FP.cropper(change);
  const parts = [cropper, fits(change), ...Object.keys(LIGHTS).map((name) => slider(name, change))];
  const cropNote = FP.el("p", { class: "fp-help", "aria-live": "polite" });
  const tool = (label, icon, turning, kind = "") => FP.button(label, icon, () => change(turn(edits, turning)), { quiet: true, kind });
  const clear = FP.el("button", { type: "button", class: "fp-chip", onclick: () => change({ crop: null }) }, "Whole image");
  const tools = FP.el("div", { class: "fp-line" },
    tool("Rotate left", "turn", "left", "fp-mirrored"), tool("Rotate right", "turn", "right"),
    tool("Flip horizontally", "flip", "horizontal"), tool("Flip vertically", "fall", "vertical"), clear);
  const keys = FP.el("span", { class: "fp-keys" }, " Arrow keys move a corner or the box, with Shift farther.");
  const help = FP.el("p", { class: "fp-help" }, "Drag over the image to crop it.", keys);
  const dialog = FP.el("dialog", { class: "fp-root fp-dialog fp-editor", "aria-label": title });
  const end = () => dialog.close();
  const finish = () => {
    dialog.close();
    if (JSON.stringify(trimmed(file, edits)) !== JSON.stringify(image)) done(trimmed(file, edits));
  };
  const foot = FP.el("div", { class: "fp-line fp-foot" },
    FP.button("Reset", "retry", () => change(UNEDITED)), FP.el("span", { class: "fp-gap" }), FP.button("Cancel", null, end), FP.button("Done", null, finish, { kind: "fp-primary" }));
  dialog.append(
    FP.el("h2", { class: "fp-h" }, title),
    FP.el("div", { class: "fp-panes" }, FP.el("div", {}, FP.el("div", { class: "fp-mat" }, cropper.root), tools, FP.el("div", {}, cropNote, help)), FP.el("div", {}, result.root, parts.slice(1).map((part) => part.root))),
    foot,
  );
  dialog.addEventListener("close", () => {
    result.close();
    dialog.remove();
    setTimeout(() => back()?.focus(), 50);
  });
  document.querySelector(".gradio-container .contain").append(dialog);
  change({});
  const unedited = new Image();
  unedited.onload = () => cropper.show(unedited);
  unedited.src = FP.editedAddress(file, { longest: LARGE });
  dialog.showModal();
};
