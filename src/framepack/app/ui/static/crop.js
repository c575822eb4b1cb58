/* The image in the editor, rotated and flipped, with a box over the crop and its focus point. */
const STEP = 0.01, LARGE_STEP = 0.1, MIN_SIZE = 0.02, CLICK = 4, MIN_PIXELS = 640;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/* A corner's edges, as indices into a crop: left 0, top 1, right 2, bottom 3. */
const CORNERS = { "top left": [0, 1], "top right": [2, 1], "bottom left": [0, 3], "bottom right": [2, 3] };
const WHOLE = [0, 0, 1, 1];

const clamp = (value, low = 0, high = 1) => Math.min(Math.max(value, low), high);
const rounded = (values) => values.map((value) => Math.round(value * 1e4) / 1e4);
const percent = (value) => `${Math.round(value * 1000) / 10}%`;

/* A crop with one corner at a point; the opposite one stays. */
const resized = (crop, [across, down], [x, y]) => {
  const next = [...crop];
  next[across] = across === 0 ? clamp(x, 0, Math.max(crop[2] - MIN_SIZE, 0)) : clamp(x, Math.min(crop[0] + MIN_SIZE, 1));
  next[down] = down === 1 ? clamp(y, 0, Math.max(crop[3] - MIN_SIZE, 0)) : clamp(y, Math.min(crop[1] + MIN_SIZE, 1));
  return next;
};
const moved = ([left, top, right, bottom], [dx, dy]) => {
  const [x, y] = [clamp(dx, -left, 1 - right), clamp(dy, -top, 1 - bottom)];
  return [left + x, top + y, right + x, bottom + y];
};
/* The crop between two points, of at least the minimum size. */
const spanned = ([x, y], [u, v]) => {
  const [left, top] = [clamp(Math.min(x, u), 0, 1 - MIN_SIZE), clamp(Math.min(y, v), 0, 1 - MIN_SIZE)];
  return [left, top, clamp(Math.max(x, u), left + MIN_SIZE), clamp(Math.max(y, v), top + MIN_SIZE)];
};

/* Draws the unedited `image`, rotated and flipped, with at least MIN_PIXELS on its longer side. */
const drawRotated = (canvas, image, { rotate, flip }) => {
  const scale = Math.max(1, MIN_PIXELS / Math.max(image.naturalWidth, image.naturalHeight));
  const [width, height] = [Math.round(image.naturalWidth * scale), Math.round(image.naturalHeight * scale)];
  [canvas.width, canvas.height] = rotate % 180 ? [height, width] : [width, height];
  const paper = canvas.getContext("2d");
  paper.translate(canvas.width / 2, canvas.height / 2);
  paper.scale(flip === "horizontal" ? -1 : 1, flip === "vertical" ? -1 : 1);
  paper.rotate((rotate * Math.PI) / 180);
  paper.drawImage(image, -width / 2, -height / 2, width, height);
};

/* `start` returns what a drag from its first point does. A drag that goes nowhere is a tap. */
const onDrag = (root, at, start, tap) =>
  root.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    const from = at(event), does = start(event.target, from), over = new AbortController();
    let far = false;
    const move = (next) => {
      far ||= Math.hypot(next.clientX - event.clientX, next.clientY - event.clientY) > CLICK;
      if (far) does(at(next));
    };
    const end = (next) => {
      over.abort();
      if (!far && next.type === "pointerup") tap(event.target, from);
    };
    root.setPointerCapture(event.pointerId);
    root.addEventListener("pointermove", move, over);
    root.addEventListener("pointerup", end, over);
    root.addEventListener("pointercancel", end, over);
    if (event.target.matches("button")) event.target.focus({ preventScroll: true });
  });

const keys = (element, does) =>
  element.addEventListener("keydown", (event) => {
    const direction = ARROWS[event.key];
    if (!direction) return;
    event.preventDefault();
    does(direction.map((side) => side * (event.shiftKey ? LARGE_STEP : STEP)));
  });

/* Calls change({ crop }) or change({ focus }). `draw` shows edits, `show` sets the image. */
FP.cropper = (change) => {
  const canvas = FP.el("canvas", { role: "img", "aria-label": "The whole image" });
  const box = FP.el("button", { type: "button", class: "fp-box", "aria-label": "Part that is kept" });
  const dot = FP.el("button", { type: "button", class: "fp-focus", "aria-label": "Point that stays in the middle" });
  const corners = Object.entries(CORNERS).map(([name, edges]) => [FP.el("button", { type: "button", class: "fp-grip", "aria-label": `Crop, ${name} corner` }), edges]);
  const root = FP.el("div", { class: "fp-crop" }, FP.el("div", { class: "fp-clip" }, canvas, box), dot, corners.map(([corner]) => corner));
  let edits = null, image = null, shape = "";

  const crop = () => edits.crop || WHOLE;
  const put = (next) => change({ crop: rounded(next).every((edge, index) => edge === WHOLE[index]) ? null : rounded(next) });
  const setFocus = ([x, y]) => {
    const [left, top, right, bottom] = crop();
    change({ focus: rounded([clamp((x - left) / (right - left)), clamp((y - top) / (bottom - top))]) });
  };
  const at = (event) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
  };
  const inside = ([x, y]) => edits.crop && x > edits.crop[0] && x < edits.crop[2] && y > edits.crop[1] && y < edits.crop[3];

  /* What a drag from `from` does: moves the focus, a corner or the crop, or draws a new crop. */
  const drag = (target, from, before) => {
    const held = corners.find(([corner]) => corner === target);
    if (target === dot) return setFocus;
    if (held) return (to) => put(resized(before, held[1], to));
    if (inside(from)) return (to) => put(moved(before, [to[0] - from[0], to[1] - from[1]]));
    return (to) => put(spanned(from, to));
  };
  const tap = (target, point) => edits.fit === "crop" && !target.matches(".fp-grip, .fp-focus") && setFocus(point);
  onDrag(root, at, (target, from) => drag(target, from, crop()), tap);
  keys(box, (by) => put(moved(crop(), by)));
  keys(dot, ([dx, dy]) => change({ focus: rounded([clamp(edits.focus[0] + dx), clamp(edits.focus[1] + dy)]) }));
  for (const [corner, [across, down]] of corners) keys(corner, ([dx, dy]) => put(resized(crop(), [across, down], [crop()[across] + dx, crop()[down] + dy])));

  const place = (element, left, top) => Object.assign(element.style, { left: percent(left), top: percent(top) });
  const draw = (next) => {
    edits = next;
    const [left, top, right, bottom] = crop();
    place(box, left, top);
    Object.assign(box.style, { width: percent(right - left), height: percent(bottom - top) });
    for (const [corner, [across, down]] of corners) place(corner, crop()[across], crop()[down]);
    dot.hidden = edits.fit !== "crop";
    place(dot, left + edits.focus[0] * (right - left), top + edits.focus[1] * (bottom - top));
    const wanted = `${edits.rotate} ${edits.flip}`;
    if (image && wanted !== shape) drawRotated(canvas, image, edits);
    shape = image ? wanted : "";
  };
  const show = (next) => {
    image = next;
    draw(edits);
  };
  return { root, draw, show };
};
