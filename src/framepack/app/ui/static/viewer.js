/* The viewer: the job's video, the next section's preview, the timeline, and the job's buttons. */
const BUTTONS = {
  cancel: ["Cancel", "close"], stop: ["Stop after this section", "stop"], pause: ["Pause", "pause"], resume: ["Resume", "play"],
  retry: ["Try again", "retry"], edit: ["Edit", "edit"], up: ["Sooner", "up"], down: ["Later", "down"],
  input: ["Use as input", "picture"], extend: ["Extend", "film"], reuse: ["Reuse settings", "sliders"], delete: ["Delete", "trash"],
};
const CONFIRM = { delete: "Delete this entry and its video?" };

/* Cancel is last in a row: the others come and go, and none of them may move under a finger about to press. */
FP.jobButtons = (view, act, quiet) =>
  (quiet ? [...view.actions].sort((one, other) => (one === "cancel") - (other === "cancel")) : view.actions).map((name) => {
    const [label, icon] = BUTTONS[name];
    const text = quiet ? `${label}: ${view.prompt || view.settings}` : label;
    const press = () => {
      if (CONFIRM[name] && !confirm(CONFIRM[name])) return;
      FP.scrollTo(name);
      act(name, { id: view.id, place: view.place });
    };
    return FP.button(text, icon, press, { quiet });
  });

FP.downloadButton = (view, quiet) =>
  view.save && view.status !== "running"
    ? FP.el("a", { class: `fp-button ${quiet ? "fp-icon-only" : "fp-primary"}`, href: view.save, download: view.file, title: quiet ? "Download" : null, "aria-label": quiet ? `Download: ${view.prompt}` : null },
        FP.icon("save"), quiet ? null : FP.el("span", {}, `Download ${view.file.split(".").pop()}`))
    : null;

/* The other formats, converted on a click, and timelines for editing programs; downloaded when they are made. */
FP.formatButtons = (view) => {
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const said = FP.el("p", { class: "fp-help", role: "status" });
  const converted = (name) => FP.fetchJson(`/api/jobs/${view.id}/convert?format=${name}`, "POST");
  const timeline = async (name) => {
    const answer = await fetch(`/api/jobs/${view.id}/timeline?to=${name}`).catch(() => { throw new Error("The server does not answer. Is it still running?"); });
    if (!answer.ok) throw new Error(FP.sentence((await answer.json().catch(() => ({}))).error));
    return { url: URL.createObjectURL(await answer.blob()), name: `${view.file.replace(/\.[^.]*$/, "")}${view.timelines[name]}`, notes: [] };
  };
  const press = (make, name) => async ({ currentTarget: button }) => {
    const label = button.textContent;
    problem.textContent = said.textContent = "";
    button.disabled = true;
    button.textContent = `making ${label} …`;
    try {
      const made = await make(name);
      FP.el("a", { href: made.url, download: made.name }).click();
      said.textContent = made.notes.map(FP.sentence).join(" ");
    } catch (error) {
      problem.textContent = error.message;
    }
    button.disabled = false;
    button.textContent = label;
  };
  const named = (name) => (["png", "tiff", "exr"].includes(name) ? `${name} images` : name);
  const one = (make, name, text, label) => FP.el("button", { type: "button", class: "fp-chip", "aria-label": label, onclick: press(make, name) }, text);
  return FP.el("div", { class: "fp-formats" },
    FP.el("div", { class: "fp-line" }, FP.el("span", {}, "Also as"), view.formats.map((name) => one(converted, name, named(name), `Download as ${named(name)}`))),
    FP.el("div", { class: "fp-line" }, FP.el("span", {}, "For editors"), Object.keys(view.timelines).map((name) => one(timeline, name, name, `Download a timeline as ${name}`))),
    problem, said);
};

FP.videoElement = (view, { controls = false } = {}) => {
  if (view.show === "image") return FP.el("img", { src: view.video, alt: `${view.still ? "Frame" : "Video"}: ${view.prompt}` });
  const video = FP.el("video", { src: view.video, loop: true, autoplay: true, playsinline: true, controls, "aria-label": `Video: ${view.prompt}` });
  video.muted = true;
  return video;
};

FP.kinds.viewer = (root, part) => {
  const screen = FP.el("div", { class: "fp-screen" });
  const previewBox = FP.el("div", { class: "fp-preview", role: "img", "aria-label": "Preview of the section being made", hidden: true });
  const cells = FP.el("div", { class: "fp-cells" });
  const ruler = FP.el("div", { class: "fp-ruler", "aria-hidden": "true" });
  const fill = FP.el("div", { class: "fp-fill" });
  const bar = FP.el("div", { class: "fp-bar", role: "progressbar", "aria-label": "Progress of the video", "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  const title = FP.el("h2", { class: "fp-title", "aria-live": "polite" });
  const text = FP.el("p", { class: "fp-message" });
  const notes = FP.el("ul", { class: "fp-notes", "aria-label": "Notes about this video", hidden: true });
  const numbers = FP.el("p", { class: "fp-numbers" });
  const request = FP.el("p", { class: "fp-request" });
  const actions = FP.el("div", { class: "fp-line" });
  const traceback = FP.el("pre", { tabindex: 0, "aria-label": "Technical details" });
  const details = FP.el("details", { class: "fp-details" }, FP.el("summary", {}, "Technical details, for a report"), traceback);
  const frames = FP.frames(part.act);
  const takes = FP.takes(part.act);
  const below = FP.el("div", { class: "fp-below" }, frames.root, cells, ruler, bar, title, text, notes, numbers, request, actions, details, takes.root);
  root.classList.add("fp-viewer");
  root.append(screen, below);
  let picture = "", preview = "", drawn = "", shown = null;

  const empty = () =>
    screen.replaceChildren(
      FP.el("div", { class: "fp-welcome" },
        FP.icon("film"),
        FP.el("h2", {}, "Your video will appear here"),
        FP.el("ol", {},
          FP.el("li", {}, FP.el("span", {}, "Drop an image, or paste one.")),
          FP.el("li", {}, FP.el("span", {}, "Write in the prompt what happens.")),
          FP.el("li", {}, FP.el("span", {}, "Press ", FP.el("kbd", {}, "Ctrl"), " + ", FP.el("kbd", {}, "Enter"), ".")))),
    );

  /* Shows the newest file without a dark moment: the old one stays until the new one is loaded. */
  const showVideo = (view) => {
    const wanted = view.show ? view.video : view.picture;
    const key = `${wanted} ${view.status === "done"}`;
    if (key === picture) return;
    picture = key;
    const next = view.show ? FP.videoElement(view, { controls: view.status !== "running" }) : FP.el("img", { src: wanted, alt: "The start image", class: "fp-start" });
    next.dataset.of = wanted;
    const swap = () => {
      if (key !== picture) return;
      const [width, height] = [next.videoWidth || next.naturalWidth, next.videoHeight || next.naturalHeight];
      if (width) screen.style.setProperty("--shape", Math.max(width / height, 0.8));
      screen.replaceChildren(next, previewBox);
      frames.show(shown, next);
    };
    next.addEventListener("error", () => key === picture && view.show && showStartImage(view));
    next.addEventListener(view.show === "video" ? "loadeddata" : "load", swap, { once: true });
    if (!screen.querySelector("video, img")) swap();
  };

  /* The start image stands in for a file that cannot be played. */
  const showStartImage = (view) => screen.replaceChildren(FP.el("img", { src: view.picture, alt: "The start image", class: "fp-start" }), previewBox);

  const showPreview = (view) => {
    previewBox.hidden = !view.preview;
    previewBox.classList.toggle("fp-corner", Boolean(view.show));
    if (!view.preview || view.preview === preview) return;
    preview = view.preview;
    const strip = new Image();
    strip.onload = () => {
      const frames = view.preview_frames;
      previewBox.style.backgroundImage = `url("${strip.src}")`;
      previewBox.style.backgroundSize = `100% ${frames * 100}%`;
      previewBox.style.aspectRatio = `${strip.naturalWidth} / ${strip.naturalHeight / frames}`;
      previewBox.style.setProperty("--wide", strip.naturalWidth / (strip.naturalHeight / frames));
      previewBox.style.animation = frames > 1 ? `fp-roll ${frames / 7.5}s steps(${frames}, jump-none) infinite` : "none";
    };
    strip.src = preview;
  };

  const timeline = (view) => {
    const share = view.steps ? view.step / view.steps : 0;
    const made = (cell) => view.status === "done" || cell.order < view.sections;
    const state = (cell) => (made(cell) ? 1 : cell.order === view.sections && view.status !== "queued" ? share : 0);
    const key = JSON.stringify([view.cells, view.pins]);
    if (key !== drawn) {
      drawn = key;
      cells.replaceChildren(
        ...view.cells.map((cell, index) => FP.el("div", { class: "fp-section", style: { flexGrow: cell.share }, onclick: () => takes.choose(index + 1) }, FP.el("i"), FP.el("span", { "aria-hidden": "true" }))),
        ...view.pins.map((at) => FP.el("b", { class: "fp-pin", style: { left: `${at * 100}%` }, title: "keyframe" })),
      );
      ruler.replaceChildren(FP.el("span", {}, "0 s"), FP.el("span", { class: "fp-order" }), FP.el("span", {}, `${view.seconds} s`));
    }
    cells.hidden = ruler.hidden = view.still;
    cells.classList.toggle("fp-choosable", Boolean(view.takes));
    ruler.querySelector(".fp-order").textContent = view.status !== "done" && view.backward && view.cells.length > 1 ? "the end is generated first" : view.joins ? "the new part" : "";
    view.cells.forEach((cell, index) => {
      const element = cells.children[index];
      const [number, rest] = view.status === "done" ? [index + 1, ""] : [cell.order + 1, " to be generated"];
      element.title = `section ${number} of ${view.cells.length}${rest}`;
      element.lastChild.textContent = number;
      element.style.setProperty("--done", state(cell));
      element.classList.toggle("fp-made", made(cell));
      element.classList.toggle("fp-backward", view.backward);
      element.classList.toggle("fp-now", view.status === "running" && cell.order === view.sections);
    });
  };

  return {
    draw: (view) => {
      const none = !view || view.status === "empty";
      below.hidden = none;
      root.dataset.status = none ? "empty" : view.status;
      document.title = none ? "FramePack" : `${view.status === "running" ? `${view.percent} %` : view.title} · FramePack`;
      const another = !none && root.dataset.job !== view.id && root.dataset.job !== undefined;
      if (another && (matchMedia("(max-width: 900px)").matches || root.getBoundingClientRect().top < 0))
        root.scrollIntoView({ behavior: "smooth", block: "start" });
      root.dataset.job = none ? "" : view.id;
      FP.offerToFinish(none ? null : view);
      if (none) {
        picture = preview = drawn = "";
        screen.style.removeProperty("--shape");
        return empty();
      }
      shown = view;
      if (!screen.contains(previewBox)) screen.replaceChildren(previewBox);
      showVideo(view);
      showPreview(view);
      timeline(view);
      frames.show(view, screen.querySelector("video"));
      bar.hidden = !["running", "paused"].includes(view.status);
      bar.setAttribute("aria-valuenow", view.percent);
      fill.style.width = `${view.percent}%`;
      title.textContent = view.title;
      text.textContent = view.message;
      notes.hidden = !view.notices.length;
      if (notes.childElementCount !== view.notices.length || notes.dataset.job !== view.id) {
        notes.dataset.job = view.id;
        notes.replaceChildren(...view.notices.map((notice) => FP.el("li", {}, notice)));
      }
      numbers.textContent = [view.status === "running" ? `${view.percent} %` : "", view.where, view.left, view.memory].filter(Boolean).join("  ·  ");
      request.replaceChildren(FP.el("q", { hidden: !view.prompt }, view.prompt), FP.el("small", {}, view.settings));
      const key = JSON.stringify([view.id, view.actions, view.status !== "running" && view.save]);
      if (actions.dataset.key !== key) {
        actions.dataset.key = key;
        actions.replaceChildren(...[FP.downloadButton(view, false), ...FP.jobButtons(view, part.act, false), view.formats.length ? FP.formatButtons(view) : null].filter(Boolean));
      }
      takes.show(view);
      details.hidden = !view.traceback;
      traceback.textContent = view.traceback;
    },
  };
};
