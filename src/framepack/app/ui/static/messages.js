/* The line that speaks: it leaves by itself unless it is about an error, and never lies over what one wants to press. */
const STAYS = { plain: 6000, undo: 15000 };
const LOOK = 250;

FP.kinds.notice = (root) => {
  root.setAttribute("role", "status");
  let shown = null, left = 0, watch = 0;

  const close = () => {
    clearInterval(watch);
    shown = null;
    root.replaceChildren();
  };
  const held = () => document.hidden || root.matches(":hover") || root.contains(document.activeElement);
  const tick = () => {
    if (!held()) left -= LOOK;
    if (left <= 0) close();
    else FP.aside(root.parentElement.closest("#fp-notice") || root);
  };
  const act = (name, icon, does) => FP.button(name, icon, () => (close(), does()));

  const show = (said) => {
    clearInterval(watch);
    if (!said || !said.text) return shown && close();
    shown = said;
    root.replaceChildren(
      FP.el("div", { class: `fp-notice fp-${said.tone || "told"}` },
        FP.el("p", {}, said.text),
        said.stop ? act("Do not wait", "close", said.stop) : null,
        said.undo ? act("Undo", "undo", FP.undo) : null,
        said.redo ? act("Redo", "redo", FP.redo) : null,
        said.detail ? FP.el("details", { class: "fp-story" }, FP.el("summary", {}, "Technical details, for a report"), FP.el("pre", { tabindex: 0 }, said.detail)) : null,
        FP.button("Close this message", "close", close, { quiet: true })),
    );
    left = said.tone === "wrong" || said.stays ? Infinity : said.undo || said.redo ? STAYS.undo : STAYS.plain;
    watch = setInterval(tick, LOOK);
    tick();
    if (said.field) FP.point(said.field);
    if (said.tone === "wrong") document.dispatchEvent(new Event("fp-wrong"));
  };
  FP.tell = show;
  FP.untell = (said) => shown === said && close();
  addEventListener("scroll", () => shown && tick(), { passive: true });
  addEventListener("resize", () => shown && tick());
  return {
    draw: (said) => {
      FP.settled();
      show(said);
    },
  };
};

/* Lays a box as far down as it can lie without covering a button one may want now, or the field one types in. */
const WANTED = "#fp-generate, #fp-leave, .fp-stage .fp-line > *, .fp-formats, .fp-frames";
FP.aside = (box) => {
  const { left, right, height } = box.getBoundingClientRect();
  const typed = document.activeElement && document.activeElement.matches("input, textarea, select") ? [document.activeElement] : [];
  const taken = [...document.querySelectorAll(WANTED), ...typed]
    .map((element) => element.getBoundingClientRect())
    .filter((at) => at.width && at.right > left && at.left < right && at.bottom > 0 && at.top < innerHeight)
    .sort((one, other) => other.bottom - one.bottom);
  let bottom = innerHeight - 12;
  for (const at of taken) if (at.bottom > bottom - height - 8 && at.top < bottom + 8) bottom = at.top - 8;
  box.style.bottom = `${innerHeight - (bottom - height > 4 ? bottom : innerHeight - 12)}px`;
};

/* Opens the fold a field lies in. */
FP.unfold = (field) => {
  const fold = field && field.closest(".fp-fold");
  const opener = fold && fold.querySelector(".label-wrap");
  if (opener && !opener.classList.contains("open") && !field.offsetParent) opener.click();
};

/* Brings a field before someone's eyes, out of a closed fold too, and the cursor into it. */
FP.point = (id) => {
  const field = document.getElementById(id);
  if (!field) return;
  FP.unfold(field);
  const input = field.querySelector("input, textarea, select, button");
  field.scrollIntoView({ behavior: "smooth", block: "center" });
  if (input) input.focus({ preventScroll: true });
  field.classList.add("fp-pointed");
  setTimeout(() => field.classList.remove("fp-pointed"), 4000);
};
