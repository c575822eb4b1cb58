/* Lists of jobs, and the header. */
FP.kinds.header = (root) => ({
  draw: () => {
    const toggleDark = () => {
      FP.setDark(!FP.isDark());
      try { localStorage.setItem("framepack.dark", FP.isDark() ? "yes" : "no"); } catch { /* no storage in private mode */ }
    };
    const undo = FP.button("Undo", "undo", FP.undo, { quiet: true });
    const redo = FP.button("Redo", "redo", FP.redo, { quiet: true });
    const updateButtons = () => {
      const { back, forth } = FP.undoSteps();
      for (const [button, name, step] of [[undo, "Undo", back], [redo, "Redo", forth]]) {
        button.disabled = !step;
        button.title = step ? `${name}: ${step.label}` : name;
      }
    };
    document.addEventListener("fp-undo-changed", updateButtons);
    updateButtons();
    const logo = FP.el("span", { class: "fp-logo", "aria-hidden": "true" }, FP.el("i"), FP.el("i"), FP.el("i"));
    root.replaceChildren(
      FP.el("header", { class: "fp-header" },
        FP.el("h1", {}, logo, "FramePack"),
        FP.el("p", {}, "An image and a prompt become a long video."),
        FP.el("div", { class: "fp-tools" }, FP.el("a", { href: "/api/docs", class: "fp-help fp-api" }, "HTTP API"), undo, redo, FP.button("Light or dark", "sun", toggleDark, { quiet: true }))),
    );
  },
});

FP.kinds.text = (root) => ({
  draw: (text) => root.replaceChildren(FP.el("p", { class: "fp-summary", "aria-live": "polite" }, text || "")),
});

/* A row stays the same element while only its progress changes, so that no click or focus is lost. */
FP.kinds.queue = (root, part) => {
  const list = FP.el("ol", { class: "fp-list" });
  const rest = FP.el("p", { class: "fp-help" });
  const lines = new Map();
  root.append(FP.el("h2", { class: "fp-h" }, "Queue"), list, rest);
  const line = (job) =>
    FP.el("li", { class: "fp-row fp-job", "data-job": job.id, "data-status": job.status },
      FP.el("img", { src: job.picture, alt: "", class: "fp-thumb", loading: "lazy" }),
      FP.el("button", { type: "button", class: "fp-name", title: "Show this job", onclick: () => (FP.scrollTo("show"), part.act("show", { id: job.id })) },
        FP.el("strong", {}, job.prompt || "No prompt"), FP.el("small"), FP.el("i", { class: "fp-thin" })),
      FP.el("div", { class: "fp-tools" }, FP.jobButtons(job, part.act, true)));
  const markEdited = () => [...list.children].forEach((row) => row.classList.toggle("fp-edited", Boolean(FP.form) && FP.form.editing === row.dataset.job));
  document.addEventListener("fp-form-saved", markEdited);
  return {
    draw: (queue) => {
      const { jobs, more } = queue || { jobs: [], more: 0 };
      root.hidden = !jobs.length;
      rest.hidden = !more;
      rest.textContent = `and ${more} more`;
      const wanted = jobs.map((job) => {
        const key = JSON.stringify([job.id, job.status, job.actions, job.prompt, job.settings, job.place]);
        if (!lines.has(key)) lines.set(key, line(job));
        const element = lines.get(key);
        element.querySelector("small").textContent = [job.state, job.status === "running" ? `${job.percent} %` : "", job.where, job.label, job.settings].filter(Boolean).join(" · ");
        element.querySelector(".fp-thin").style.width = `${job.percent}%`;
        return element;
      });
      for (const [key, element] of lines) if (!wanted.includes(element)) lines.delete(key);
      if (wanted.length !== list.children.length || wanted.some((element, index) => list.children[index] !== element)) list.replaceChildren(...wanted);
      markEdited();
    },
  };
};

FP.kinds.history = (root, part) => {
  const list = FP.el("ul", { class: "fp-cards" });
  const none = FP.el("p", { class: "fp-help" });
  const find = FP.el("input", { type: "search", placeholder: "Search", "aria-label": "Search your videos" });
  let wait = 0;
  find.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => part.act("search", { text: find.value }), 250);
  });
  const top = FP.el("div", { class: "fp-top" }, FP.el("h2", { class: "fp-h" }, "Your videos"), FP.el("label", { class: "fp-search" }, FP.icon("search"), find));
  root.append(top, list, none);
  const cards = new Map();

  const card = (job) => {
    const face = FP.el("button", { type: "button", class: "fp-face", onclick: () => (FP.scrollTo("show"), part.act("show", { id: job.id })), "aria-label": `Show ${job.prompt || job.settings}` },
      FP.el("img", { src: job.picture, alt: "", loading: "lazy" }));
    if (job.show && job.video) {
      const play = () => face.querySelector("video") || face.append(FP.videoElement(job));
      const rest = () => face.querySelector("video, img:nth-of-type(2)")?.remove();
      face.addEventListener("mouseenter", play);
      face.addEventListener("focus", play);
      face.addEventListener("mouseleave", rest);
      face.addEventListener("blur", rest);
    }
    return FP.el("li", { class: "fp-card", "data-job": job.id, "data-status": job.status },
      face,
      FP.el("p", { class: "fp-words" }, job.prompt || "No prompt"),
      FP.el("small", {}, [job.status === "done" ? "" : job.state, job.when, job.label].filter(Boolean).join(" · ")),
      FP.el("div", { class: "fp-tools" }, FP.downloadButton(job, true), FP.jobButtons(job, part.act, true)));
  };
  return {
    draw: (jobs) => {
      jobs = jobs || [];
      root.hidden = !jobs.length && !find.value;
      none.textContent = jobs.length ? "" : "Nothing found.";
      const wanted = jobs.map((job) => {
        const key = JSON.stringify({ ...job, place: 0 });
        if (!cards.has(key)) cards.set(key, card(job));
        return cards.get(key);
      });
      for (const [key, element] of cards) if (!wanted.includes(element)) cards.delete(key);
      if (wanted.length !== list.children.length || wanted.some((element, index) => list.children[index] !== element)) list.replaceChildren(...wanted);
    },
  };
};
