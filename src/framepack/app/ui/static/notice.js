/* The notice. It closes by itself unless it shows an error, and never covers a button one may want to press. */
const SHOWN_FOR = { plain: 6000, undo: 15000 };
const TICK = 250;

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
    if (!held()) left -= TICK;
    if (left <= 0) close();
    else FP.placeNotice(root.parentElement.closest("#fp-notice") || root);
  };
  const act = (name, icon, does) => FP.button(name, icon, () => (close(), does()));

  const show = (notice) => {
    clearInterval(watch);
    if (!notice || !notice.text) return shown && close();
    shown = notice;
    root.replaceChildren(
      FP.el("div", { class: `fp-notice fp-notice-${notice.tone || "info"}` },
        FP.el("p", {}, notice.text),
        notice.stop ? act("Do not wait", "close", notice.stop) : null,
        notice.undo ? act("Undo", "undo", FP.undo) : null,
        notice.redo ? act("Redo", "redo", FP.redo) : null,
        notice.detail ? FP.el("details", { class: "fp-details" }, FP.el("summary", {}, "Technical details, for a report"), FP.el("pre", { tabindex: 0 }, notice.detail)) : null,
        FP.button("Close this message", "close", close, { quiet: true })),
    );
    left = notice.tone === "error" || notice.stays ? Infinity : notice.undo || notice.redo ? SHOWN_FOR.undo : SHOWN_FOR.plain;
    watch = setInterval(tick, TICK);
    tick();
    if (notice.field) FP.focusField(notice.field);
    if (notice.tone === "error") document.dispatchEvent(new Event("fp-error-shown"));
  };
  FP.notify = show;
  FP.dismissNotice = (notice) => shown === notice && close();
  addEventListener("scroll", () => shown && tick(), { passive: true });
  addEventListener("resize", () => shown && tick());
  return {
    draw: (notice) => {
      FP.answered();
      show(notice);
    },
  };
};

/* Puts a box as far down as possible without covering a button one may want now, or the field one types in. */
const UNCOVERED = "#fp-generate, #fp-stop-editing, .fp-viewer .fp-line > *, .fp-formats, .fp-frames, .fp-redo, .fp-board > .fp-button";
FP.placeNotice = (box) => {
  const { left, right, height } = box.getBoundingClientRect();
  const typed = document.activeElement && document.activeElement.matches("input, textarea, select") ? [document.activeElement] : [];
  const taken = [...document.querySelectorAll(UNCOVERED), ...typed]
    .map((element) => element.getBoundingClientRect())
    .filter((at) => at.width && at.right > left && at.left < right && at.bottom > 0 && at.top < innerHeight)
    .sort((one, other) => other.bottom - one.bottom);
  let bottom = innerHeight - 12;
  for (const at of taken) if (at.bottom > bottom - height - 8 && at.top < bottom + 8) bottom = at.top - 8;
  box.style.bottom = `${innerHeight - (bottom - height > 4 ? bottom : innerHeight - 12)}px`;
};

/* Opens the accordion that a field is in. */
FP.unfold = (field) => {
  const fold = field && field.closest(".fp-fold");
  const opener = fold && fold.querySelector(".label-wrap");
  if (opener && !opener.classList.contains("open") && !field.offsetParent) opener.click();
};

/* Scrolls to a field, opens its accordion, and puts the cursor into it. */
FP.focusField = (id) => {
  const field = document.getElementById(id);
  if (!field) return;
  FP.unfold(field);
  const input = field.querySelector("input, textarea, select, button");
  field.scrollIntoView({ behavior: "smooth", block: "center" });
  if (input) input.focus({ preventScroll: true });
  field.classList.add("fp-pointed");
  setTimeout(() => field.classList.remove("fp-pointed"), 4000);
};
