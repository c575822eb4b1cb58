/* Drop zones for images and videos, and the choice of what is made. */
const IMAGES = FP.IMAGES = "image/png,image/jpeg,image/webp,image/gif,image/avif,image/heic,image/bmp,image/tiff";

/* Shows the error of an upload at its field, and ends the wait for it. */
FP.uploadFailed = (place, error) => {
  if (error instanceof FP.UploadStopped) return;
  place.textContent = error.message;
  document.dispatchEvent(new Event("fp-upload-failed"));
};

/* What belongs into a drop zone, by the chosen task. */
const WORDS = {
  image: { name: "Image", drop: "Drop an image", accept: IMAGES, wrong: "This is a video, and an image is needed here." },
  video: { name: "Video", drop: "Drop a video", accept: "video/*,.mkv,.gif,.webp,.apng", wrong: "This is an image, and a video is needed here." },
  any: { name: "Video or image", drop: "Drop a video or an image", accept: `${IMAGES},video/*,.mkv` },
};
const fits = (kind, wanted) => kind === "animation" || wanted === "any" || (kind === "video") === (wanted === "video");

/* Timelines of editing programs, by their ending: what they say goes into the form. */
const TIMELINES = { otio: "otio", fcpxml: "fcpxml", xml: "fcp7" };
const timelineOf = ({ name }) => TIMELINES[name.split(".").pop().toLowerCase()];

/* A drop zone. The main one takes what is dropped anywhere on the page, and settings of videos made here. */
FP.kinds.image = (root, part) => {
  const { label, help, field, main, accepts, painted } = part.config;
  let value = null, current = null, wanted = "image";
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const box = FP.el("div", { class: "fp-drop" });
  /* The main one says in itself what belongs there, below the choice of what is made. */
  const heading = FP.el("h2", { class: main ? "fp-h fp-unseen" : "fp-h" }, label);
  const note = FP.el("p", { class: "fp-help" }, help);
  root.classList.toggle("fp-own-drop", !main);
  root.append(heading, box, problem, note);

  const put = (image, undo = "another image") => {
    if (value) FP.pushUndo(undo);
    value = image;
    draw(image);
    part.set(image);
  };
  /* What is there, or what belongs here, in a word. */
  const named = () => (!main ? label.toLowerCase() : value && FP.isVideo(value) ? "video" : wanted === "any" && value ? "image" : WORDS[wanted].name.toLowerCase());
  const edit = () =>
    FP.editImage({
      image: value,
      own: main,
      title: `Edit ${named()}`,
      done: (image) => put(image, "the image's edits"),
      back: () => box.querySelector(".fp-edit"),
    });
  const arrived = (got, url) => {
    const restores = main && wanted === "image" && (got.request || got.kind === "video");
    if (!restores && !fits(got.kind, wanted)) {
      draw(value);
      problem.textContent = WORDS[wanted].wrong;
      return document.dispatchEvent(new Event("fp-upload-failed"));
    }
    if (!restores) {
      if (got.kind !== "video") FP.localImages.set(got.id, url);
      return put(got.id);
    }
    draw(value);
    FP.awaitAnswer();
    if (got.request) part.act("settings", { answer: got.answer });
    else part.act("video", { id: got.id });
  };
  /* Of several uploads one after the other, the last counts. */
  const take = async (files) => {
    if (main && timelineOf(files[0])) return takeTimeline(files[0]);
    if (files.length > 1 && main && wanted === "image") return FP.addToBatch(files);
    if (current) current.stop();
    problem.textContent = "";
    const upload = FP.upload(files.slice(0, 1), { field, progress: (share) => box.style.setProperty("--share", share) });
    const mine = (current = { ...upload, url: URL.createObjectURL(files[0]), name: files[0].name });
    draw(value);
    try {
      const [got] = await mine.answer;
      if (current !== mine) return;
      current = null;
      arrived(got, mine.url);
    } catch (error) {
      if (current !== mine) return;
      current = null;
      draw(value);
      FP.uploadFailed(problem, error);
    }
  };
  const takeTimeline = async (file) => {
    problem.textContent = "";
    try {
      const { text } = await FP.send(file, { address: `/api/timelines?format=${timelineOf(file)}`, field }).answer;
      FP.awaitAnswer();
      part.act("timeline", { answer: text });
    } catch (error) {
      FP.uploadFailed(problem, error);
    }
  };
  const choose = () => FP.chooseFiles(main && wanted === "image" ? `${WORDS.any.accept},${Object.keys(TIMELINES).map((name) => `.${name}`)}` : WORDS[wanted].accept, main, take);
  const remove = () => {
    const text = `The ${named()} was removed.`;
    put(null);
    FP.notify({ text, undo: true });
  };

  const paint = () => {
    const { image } = FP.form.values;
    if (image) return FP.paintMask({ image, mask: value, title: "Paint what may move", done: (file) => take([file]), back: () => box.querySelector(".fp-paint") });
    problem.textContent = "Add the start image first: the mask is painted over it.";
  };

  const face = (id) => {
    if (current) {
      const name = FP.el("p", { class: "fp-uploading-name" }, current.name);
      return FP.el("img", { src: current.url, alt: "The file being uploaded", class: "fp-chosen", onerror: ({ target }) => target.replaceWith(name) });
    }
    if (id) return FP.image(id, { alt: main ? "The start image" : label, class: "fp-chosen" }, main);
    return FP.el("button", { type: "button", class: "fp-invite", onclick: choose },
      main ? null : FP.el("span", { class: "fp-unseen" }, `${label}: `), FP.icon(wanted === "video" ? "film" : "picture"), FP.el("strong", {}, WORDS[wanted].drop), FP.el("span", {}, main ? "or click to choose, or paste with Ctrl+V" : "or click to choose"));
  };
  const draw = (id) => {
    if (current && JSON.stringify(id) !== JSON.stringify(value)) current.stop();
    value = id;
    const name = named();
    const tools = wanted === "video" || painted ? [] : [FP.button(main ? "Webcam" : `Webcam, ${name}`, "camera", () => FP.webcam(take), { quiet: true })];
    if (id || current) tools.unshift(FP.button(`Choose another ${name}`, "picture", choose, { quiet: true }));
    if (id && !current) tools.unshift(FP.button(`Edit ${name}`, "edit", edit, { quiet: !main, kind: "fp-edit" }));
    if (painted && !current) tools.unshift(FP.button(id ? "Paint" : "Paint a mask", "brush", paint, { kind: "fp-paint" }));
    if (current) tools.push(FP.button("Stop this upload", "close", current.stop, { quiet: true }));
    else if (id) tools.push(FP.button(`Remove the ${name}`, "close", remove, { quiet: true }));
    const badge = id && !current && FP.isVideo(id) ? FP.el("span", { class: "fp-badge" }, FP.icon("film"), "Video") : null;
    box.replaceChildren(face(id), ...(badge ? [badge] : []), FP.el("div", { class: "fp-tools" }, tools));
    box.classList.toggle("fp-full", Boolean(id || current));
    box.classList.toggle("fp-busy", Boolean(current));
    heading.textContent = main ? WORDS[wanted].name : label;
    note.textContent = main && wanted !== "image" ? "" : help;
  };
  /* Another task may take another kind of file. */
  const follow = () => {
    const next = accepts[FP.form.values.task] || "image";
    if (!root.isConnected || next === wanted) return;
    wanted = next;
    draw(value);
  };
  document.addEventListener("fp-form-saved", follow);
  if (FP.form) wanted = accepts[FP.form.values.task] || "image";

  if (main) FP.acceptDrops(box, take, (text) => (problem.textContent = text));
  else FP.acceptOwnDrops(root, box, take);
  return { draw };
};

/* One of several, in a line with its label. */
FP.kinds.choice = (root, part) => {
  const id = `${root.parentElement.closest("[id]").id}-select`;
  const options = part.config.choices.map(([label, value]) => FP.el("option", { value }, label));
  const help = FP.el("p", { id: `${id}-help`, class: "fp-unseen" }, part.config.help);
  const select = FP.el("select", { id, "aria-describedby": `${id}-help`, onchange: () => part.set(select.value) }, options);
  root.append(FP.el("div", { class: "fp-choice" }, FP.el("label", { for: id }, part.config.label), select), help);
  return { draw: (value) => (select.value = value) };
};

FP.acceptOwnDrops = (root, box, take) => {
  root.addEventListener("dragover", () => box.classList.add("fp-over"));
  root.addEventListener("dragleave", (event) => root.contains(event.relatedTarget) || box.classList.remove("fp-over"));
  root.addEventListener("drop", (event) => {
    box.classList.remove("fp-over");
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
};

/* Takes files dropped or pasted anywhere on the page but on a list. Text still goes to where one types. */
FP.acceptDrops = (box, take, report) => {
  const files = (event) => [...((event.clipboardData || event.dataTransfer || {}).files || [])];
  const typed = (event) => event.target.closest && event.target.closest("input, textarea");
  const onList = (event) => event.target.closest && event.target.closest(".fp-rows, .fp-own-drop");
  const carries = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const dialogOpen = () => document.querySelector("dialog[open]");
  document.addEventListener("dragover", (event) => {
    if (!carries(event) && typed(event)) return;
    event.preventDefault();
    if (!onList(event)) box.classList.add("fp-over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || box.classList.remove("fp-over"));
  document.addEventListener("drop", (event) => {
    box.classList.remove("fp-over");
    if (!carries(event) && typed(event)) return;
    event.preventDefault();
    if (onList(event) || dialogOpen()) return;
    if (files(event).length) take(files(event));
    else report("Only files can be dropped here. Save the image first, then drop its file.");
  });
  document.addEventListener("paste", (event) => {
    if (dialogOpen() || !files(event).length || (typed(event) && event.clipboardData.types.includes("text/plain"))) return;
    event.preventDefault();
    take(files(event));
  });
};

FP.webcam = async (take) => {
  const video = FP.el("video", { autoplay: true, playsinline: true, muted: true });
  const dialog = FP.el("dialog", { class: "fp-dialog", "aria-label": "Webcam" }, video);
  const close = () => {
    for (const track of video.srcObject ? video.srcObject.getTracks() : []) track.stop();
    dialog.remove();
  };
  const snap = () => {
    const canvas = FP.el("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take([new File([blob], "webcam.png", { type: "image/png" })]), "image/png");
    dialog.close();
  };
  const help = FP.el("p", { class: "fp-help" }, "Allow the camera, then take the picture.");
  dialog.append(help, FP.el("div", { class: "fp-line" }, FP.button("Take the picture", "camera", snap), FP.button("Cancel", "close", () => dialog.close())));
  dialog.addEventListener("close", close);
  document.body.append(dialog);
  dialog.showModal();
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    help.textContent = "There is no camera here, or this page may not use it.";
  }
};
