/* Paints a motion mask over the start image: light is what may move, dark is what stands still. */
const LONGEST = 1024, LEAST = 640, SMALLEST = 4, LARGEST = 200, START = 60;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const loaded = (address) =>
  new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The image cannot be loaded. Is the server still running?"));
    image.src = address;
  });
const canvasLike = ({ width, height }) => FP.el("canvas", { width, height });

/* A mask's levels as opacity: what may move is opaque. */
const asLayer = (mask, size) => {
  const layer = canvasLike(size), paper = layer.getContext("2d");
  paper.drawImage(mask, 0, 0, size.width, size.height);
  const pixels = paper.getImageData(0, 0, size.width, size.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at + 3] = pixels.data[at];
    pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = 255;
  }
  paper.putImageData(pixels, 0, 0);
  return layer;
};

/* { image, mask, title, done(file), back() }: paints a mask, or goes on with `mask`. Its size is the video's. */
FP.paintMask = async ({ image, mask, title, done, back }) => {
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const view = FP.el("canvas", { tabindex: 0, role: "img", "aria-label": "The start image; what stands still is dark. Arrow keys move the brush, Space paints." });
  const size = FP.el("input", { type: "range", id: "fp-mask-size", min: SMALLEST, max: LARGEST, value: START });
  const dialog = FP.el("dialog", { class: "fp-root fp-dialog fp-editor fp-mask", "aria-label": title });
  let picture = null, layer = null, moves = true, last = null, brush = null;

  const draw = () => {
    const paper = view.getContext("2d"), shade = canvasLike(view), dark = shade.getContext("2d");
    paper.drawImage(picture, 0, 0, view.width, view.height);
    dark.fillStyle = "rgb(0 0 0 / .7)";
    dark.fillRect(0, 0, view.width, view.height);
    dark.globalCompositeOperation = "destination-out";
    dark.drawImage(layer, 0, 0);
    paper.drawImage(shade, 0, 0);
    if (!brush) return;
    paper.strokeStyle = "#ff7f47";
    paper.lineWidth = Math.max(view.width / 300, 1);
    paper.beginPath();
    paper.arc(...brush, radius(), 0, 7);
    paper.stroke();
  };
  /* The brush's size is the same on every screen, whatever the image's own size. */
  const scale = () => view.width / (view.getBoundingClientRect().width || view.width);
  const radius = () => (Number(size.value) / 2) * scale();
  const stroke = (to) => {
    const paper = layer.getContext("2d");
    paper.globalCompositeOperation = moves ? "source-over" : "destination-out";
    Object.assign(paper, { lineCap: "round", lineWidth: radius() * 2, strokeStyle: "#fff", fillStyle: "#fff" });
    paper.beginPath();
    if (last) paper.moveTo(...last);
    if (last) paper.lineTo(...to);
    paper.stroke();
    paper.beginPath();
    paper.arc(...to, radius(), 0, 7); // a line to where it begins draws nothing
    paper.fill();
    last = to;
    draw();
  };
  const at = (event) => {
    const { left, top } = view.getBoundingClientRect();
    return [(event.clientX - left) * scale(), (event.clientY - top) * scale()];
  };
  const fill = (change) => () => {
    const paper = layer.getContext("2d");
    paper.globalCompositeOperation = change;
    paper.fillStyle = "#fff";
    paper.fillRect(0, 0, layer.width, layer.height);
    draw();
  };
  view.addEventListener("pointerdown", (event) => {
    if (event.button || !layer) return;
    event.preventDefault();
    view.setPointerCapture(event.pointerId);
    last = null;
    stroke((brush = at(event)));
  });
  view.addEventListener("pointermove", (event) => {
    if (!layer) return;
    brush = at(event);
    if (view.hasPointerCapture(event.pointerId)) stroke(brush);
    else draw();
  });
  view.addEventListener("pointerleave", () => layer && ((brush = null), draw()));
  view.addEventListener("keydown", (event) => {
    if (!layer || !(event.key in ARROWS || event.key === " ")) return;
    event.preventDefault();
    const [x, y] = brush || [view.width / 2, view.height / 2], [dx, dy] = ARROWS[event.key] || [0, 0];
    brush = [x + dx * radius(), y + dy * radius()];
    last = null;
    if (event.key === " ") stroke(brush);
    else draw();
  });

  const kinds = [["May move", true], ["Stands still", false]].map(([label, value]) =>
    FP.el("button", { type: "button", class: "fp-chip", "aria-pressed": String(value), onclick: ({ currentTarget }) => {
      moves = value;
      kinds.forEach((kind) => kind.setAttribute("aria-pressed", String(kind === currentTarget)));
    } }, label));
  const finish = () => {
    const mask = canvasLike(view), paper = mask.getContext("2d");
    paper.fillRect(0, 0, mask.width, mask.height);
    paper.drawImage(layer, 0, 0);
    mask.toBlob((blob) => done(new File([blob], "mask.png", { type: "image/png" })), "image/png");
    dialog.close();
  };
  const ready = FP.button("Done", null, finish, { kind: "fp-primary" });
  ready.disabled = true;
  dialog.append(
    FP.el("h2", { class: "fp-h" }, title),
    FP.el("div", { class: "fp-mat" }, view), problem,
    FP.el("p", { class: "fp-help" }, "Paint what may move. What is dark stands still."),
    FP.el("div", { class: "fp-line" }, FP.el("div", { class: "fp-line", role: "group", "aria-label": "The brush paints what" }, kinds),
      FP.el("div", { class: "fp-brush" }, FP.el("label", { for: "fp-mask-size" }, "Brush"), size),
      FP.el("button", { type: "button", class: "fp-chip", onclick: fill("xor") }, "Invert"), FP.el("button", { type: "button", class: "fp-chip", onclick: fill("destination-out") }, "Clear")),
    FP.el("div", { class: "fp-line fp-foot" }, FP.el("span", { class: "fp-gap" }), FP.button("Cancel", null, () => dialog.close()), ready),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    setTimeout(() => back()?.focus(), 50);
  });
  document.querySelector(".gradio-container .contain").append(dialog);
  dialog.showModal();
  try {
    const found = await loaded(FP.editedAddress(image, { video: FP.videoSize(true), longest: LONGEST }));
    const enlarged = Math.max(1, LEAST / Math.max(found.naturalWidth, found.naturalHeight));
    [view.width, view.height] = [found.naturalWidth, found.naturalHeight].map((side) => Math.round(side * enlarged));
    layer = mask ? asLayer(await loaded(FP.editedAddress(mask, { video: FP.videoSize(false), longest: LONGEST })), view) : canvasLike(view);
    picture = found;
    ready.disabled = false;
    draw();
  } catch (error) {
    problem.textContent = error.message;
  }
};
