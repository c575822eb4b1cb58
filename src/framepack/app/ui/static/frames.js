/* The frame that a player shows: its number, the frames before and after it, and its uses as an image of the form. */
const USES = { start: ["As start image", "#c-image"], end: ["As end frame", "#c-end-frame"], keyframe: ["As keyframe", "#c-frames"] };

FP.frames = (act) => {
  const where = FP.el("span", { class: "fp-where" });
  let view = null, player = null, number = 0;

  const showNumber = (at) => {
    number = at;
    where.textContent = `Frame ${number} · ${(number / view.fps).toFixed(2)} s`;
  };
  /* A browser without an event for each frame has the time, which lies somewhere inside a frame. */
  const watch = (video) => {
    if (!video.requestVideoFrameCallback) return video.addEventListener("timeupdate", () => showNumber(Math.floor(video.currentTime * view.fps + 0.01)));
    const seen = (_, { mediaTime }) => {
      if (video !== player) return;
      showNumber(Math.round(mediaTime * view.fps));
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  };
  const step = (by) => {
    player.pause();
    const last = Math.max(Math.round(player.duration * view.fps) - 1, 0);
    player.currentTime = (Math.min(Math.max(number + by, 0), last) + 0.5) / view.fps;
  };
  const save = () => {
    player.pause();
    const stem = view.file.replace(/\.\w+$/, "");
    FP.el("a", { href: `/api/jobs/${view.id}/frames/${number}`, download: `${stem}-${String(number).padStart(6, "0")}.png` }).click();
  };
  const use = (name) => {
    player.pause();
    act(name, { id: view.id, place: number });
    FP.unfold(document.querySelector(USES[name][1]));
    setTimeout(() => FP.scrollTo(name), 300);
  };
  const chip = (label, does) => FP.el("button", { type: "button", class: "fp-chip", onclick: does }, label);
  const root = FP.el("div", { class: "fp-frames", role: "group", "aria-label": "This frame", hidden: true },
    FP.button("Previous frame", "left", () => step(-1), { quiet: true }), where, FP.button("Next frame", "right", () => step(1), { quiet: true }),
    chip("Save as PNG", save), Object.entries(USES).map(([name, [label]]) => chip(label, () => use(name))));

  /* `video` is what plays now. It may still be another job's, or no video. */
  const show = (next, video) => {
    const usable = video instanceof HTMLVideoElement && video.dataset.of === next.video && next.status !== "running";
    root.hidden = !usable;
    view = next;
    if (!usable || video === player) return (player = usable ? video : null);
    player = video;
    showNumber(0);
    watch(video);
  };
  return { root, show };
};
