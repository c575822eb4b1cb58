/* The frame that a player shows: its number, the ones beside it, and what it can become. */
const USES = { start: ["As start picture", "#c-image"], end: ["As last picture", "#c-end-frame"], guide: ["As keyframe", "#c-frames"] };

FP.frames = (act) => {
  const where = FP.el("span", { class: "fp-where" });
  let view = null, film = null, number = 0;

  const told = (at) => {
    number = at;
    where.textContent = `Frame ${number} · ${(number / view.fps).toFixed(2)} s`;
  };
  /* A browser that does not tell of each frame knows the time, which lies somewhere inside of one. */
  const watch = (video) => {
    if (!video.requestVideoFrameCallback) return video.addEventListener("timeupdate", () => told(Math.floor(video.currentTime * view.fps + 0.01)));
    const seen = (_, { mediaTime }) => {
      if (video !== film) return;
      told(Math.round(mediaTime * view.fps));
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  };
  const step = (by) => {
    film.pause();
    const last = Math.max(Math.round(film.duration * view.fps) - 1, 0);
    film.currentTime = (Math.min(Math.max(number + by, 0), last) + 0.5) / view.fps;
  };
  const save = () => {
    film.pause();
    const stem = view.file.replace(/\.\w+$/, "");
    FP.el("a", { href: `/api/jobs/${view.id}/frames/${number}`, download: `${stem}-${String(number).padStart(6, "0")}.png` }).click();
  };
  const use = (name) => {
    film.pause();
    act(name, { id: view.id, place: number });
    FP.unfold(document.querySelector(USES[name][1]));
    setTimeout(() => FP.bring(name), 300);
  };
  const chip = (label, does) => FP.el("button", { type: "button", class: "fp-chip", onclick: does }, label);
  const root = FP.el("div", { class: "fp-frames", role: "group", "aria-label": "This frame", hidden: true },
    FP.button("Frame before", "left", () => step(-1), { quiet: true }), where, FP.button("Next frame", "right", () => step(1), { quiet: true }),
    chip("Save as PNG", save), Object.entries(USES).map(([name, [label]]) => chip(label, () => use(name))));

  /* `video` is what plays now, maybe still another job's, or nothing of which one could take a frame. */
  const show = (next, video) => {
    const able = video instanceof HTMLVideoElement && video.dataset.of === next.video && next.status !== "running";
    root.hidden = !able;
    view = next;
    if (!able || video === film) return (film = able ? video : null);
    film = video;
    told(0);
    watch(video);
  };
  return { root, show };
};
