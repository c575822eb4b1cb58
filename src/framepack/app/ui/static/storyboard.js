/* Frames before the long run: the buttons that make them, and the choice of those that become keyframes. */
let awaited = false;

FP.kinds.first_look = (root, part) => {
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const second = FP.el("input", { id: "fp-look-at", type: "text", inputmode: "decimal", autocomplete: "off", placeholder: "after one section", "aria-describedby": "fp-look-help" });
  const go = (action) => () => {
    problem.textContent = FP.uploads.size ? "A file is still being uploaded. Try again when it has arrived." : "";
    if (problem.textContent) return;
    awaited = action === "storyboard";
    part.act(action, { second: second.value });
  };
  root.classList.add("fp-look");
  root.append(
    FP.el("p", { class: "fp-help", id: "fp-look-help" }, "One frame of the video takes a fraction of a section's time."),
    FP.el("div", { class: "fp-line" }, FP.el("label", { for: "fp-look-at" }, "At second"), second, FP.button("Make one frame", "picture", go("still"))),
    FP.el("p", { class: "fp-help" }, "A storyboard has a frame for each border between sections. Those that you choose become keyframes."),
    FP.el("div", { class: "fp-line" }, FP.button("Make a storyboard", "film", go("storyboard"))),
    problem,
  );
  return { draw: (typed) => typed !== null && (second.value = typed) };
};

/* Brings a storyboard into view once it is there: on a phone it lies below the whole form. */
FP.showAwaitedBoard = (list) => {
  if (!awaited || !list.querySelector(".fp-board")) return;
  awaited = false;
  list.scrollIntoView({ behavior: "smooth", block: "start" });
};

/* By job, whether its frame is chosen. All are until one says otherwise. */
const left = new Set();

FP.storyboard = (batch, act) => {
  const made = batch.panels.filter((panel) => panel.picture);
  const chosen = () => made.map((panel) => panel.job).filter((job) => !left.has(job));
  const use = FP.button("Use as keyframes", "plus", () => {
    act("keyframes", { id: batch.name, jobs: chosen() });
    FP.unfold(document.querySelector("#c-frames"));
    setTimeout(() => FP.scrollTo("keyframe"), 300);
  });
  const update = () => (use.disabled = !chosen().length);
  const panel = (one) => {
    const toggle = ({ currentTarget }) => {
      if (!left.delete(one.job)) left.add(one.job);
      currentTarget.setAttribute("aria-pressed", !left.has(one.job));
      update();
    };
    if (!one.picture) return FP.el("li", { class: "fp-panel" }, FP.el("span", { class: "fp-blank" }, one.status === "failed" ? "failed" : "…"), FP.el("small", {}, one.label));
    return FP.el("li", { class: "fp-panel" },
      FP.el("button", { type: "button", "aria-pressed": String(!left.has(one.job)), "aria-label": `Frame at ${one.label} as a keyframe`, onclick: toggle },
        FP.el("img", { src: one.picture, alt: "", loading: "lazy" }), FP.el("small", {}, one.label)),
      FP.button(`Show the frame at ${one.label}`, "search", () => (FP.scrollTo("show"), act("show", { id: one.job })), { quiet: true }));
  };
  update();
  return FP.el("div", { class: "fp-board" }, FP.el("ul", {}, batch.panels.map(panel)), made.length ? use : null);
};
