/* Takes of a finished video: a section made anew, the tree of all takes, and the room that what is kept for them takes. */

/* JSON whose seeds stay text, because they can be larger than JavaScript's numbers. */
const withSeeds = (text) => JSON.parse(text.replace(/"seed":\s*(\d+)/g, '"seed":"$1"'));
const megabytes = (bytes) => (bytes < 1e6 ? "less than 1 MB" : `${Math.round(bytes / 1e6)} MB`);
const said = ({ redo }) => (redo ? `${redo.only ? "section" : "from section"} ${redo.section}${redo.prompt === null ? "" : `, “${redo.prompt}”`}` : "the first one");

FP.takes = (act) => {
  const number = FP.el("input", { id: "fp-redo-section", type: "number", min: 1, step: 1, value: 1, "aria-describedby": "fp-redo-when" });
  const when = FP.el("span", { id: "fp-redo-when", class: "fp-help", "aria-live": "polite" });
  const only = FP.el("select", { id: "fp-redo-only" }, FP.el("option", { value: "yes" }, "only this section"), FP.el("option", { value: "no" }, "this section and all made after it"));
  const prompt = FP.el("input", { id: "fp-redo-prompt", type: "text", placeholder: "as before", autocomplete: "off" });
  const seed = FP.el("input", { id: "fp-redo-seed", type: "text", inputmode: "numeric", placeholder: "another one", autocomplete: "off" });
  const problem = FP.el("p", { class: "fp-error", role: "alert" });
  const gone = FP.el("p", { class: "fp-help" }, "The sections of this take are not kept any more, so none of them can be made anew. Make the video again first.");
  const make = FP.button("Make this section anew", "retry", () => redo());
  const field = (label, input, more = null) => FP.el("div", { class: "fp-redo-field" }, FP.el("label", { for: input.id }, label), input, more);
  const form = FP.el("div", { class: "fp-redo", role: "group", "aria-label": "Make a section anew" },
    field("Section", number, when), field("What is made anew", only), field("Prompt", prompt), field("Seed", seed), make);
  const tree = FP.el("ul", { class: "fp-tree", "aria-label": "Takes of this video" });
  const free = FP.button("Free", "trash", () => drop());
  const kept = FP.el("div", { class: "fp-line" }, FP.el("span", { class: "fp-help" }, "Sections are kept for other takes."), free);
  const root = FP.el("details", { class: "fp-takes", hidden: true }, FP.el("summary", {}, "Sections and takes"), form, gone, problem, tree, kept);
  let view = null, times = [], asked = "";

  const showTime = () => {
    const span = times[Number(number.value) - 1];
    when.textContent = span ? `${span[0].toFixed(2)} to ${span[1].toFixed(2)} s${view.joins ? " of the new part" : ""}, of ${times.length}` : times.length ? `from 1 to ${times.length}` : "";
  };
  const attempt = async (does, button) => {
    problem.textContent = "";
    button.disabled = true;
    try {
      await does();
    } catch (error) {
      problem.textContent = error.message;
    }
    button.disabled = false;
  };
  const redo = () =>
    attempt(async () => {
      const typed = seed.value.trim();
      if (typed && !/^\d+$/.test(typed)) throw new Error("The seed must be a whole number.");
      const name = only.value === "yes" ? "section" : "from_section";
      const body = [`"${name}":${Number(number.value) || 0}`];
      if (prompt.value.trim()) body.push(`"prompt":${JSON.stringify(prompt.value.trim())}`);
      if (typed) body.push(`"seed":${typed.replace(/^0+(?=\d)/, "")}`);
      const job = await FP.fetchJson(`/api/jobs/${view.id}/redo`, "POST", `{${body.join(",")}}`);
      FP.scrollTo("show");
      act("show", { id: job.id });
    }, make);
  const drop = () => {
    if (!confirm("Free what this take keeps? None of its sections can be made anew then. The video stays.")) return;
    attempt(() => FP.fetchJson(`/api/jobs/${view.id}/sections`, "DELETE"), free);
  };

  const branch = (nodes, parent) => nodes.filter((node) => node.parent === parent).map((node) => {
    const below = branch(nodes, node.take);
    const text = [`Take ${node.take}`, said(node), node.redo ? `seed ${node.redo.seed}` : "", node.job ? node.status : "deleted"].filter(Boolean).join(" · ");
    const mine = node.job === view.id;
    return FP.el("li", {},
      FP.el("button", { type: "button", disabled: !node.job, "aria-current": mine ? "true" : null, onclick: () => (FP.scrollTo("show"), act("show", { id: node.job })) }, text),
      below.length ? FP.el("ul", {}, below) : null);
  });
  const load = async () => {
    const wanted = view.id;
    problem.textContent = "";
    try {
      const answer = await fetch(`/api/jobs/${wanted}/takes`);
      if (!answer.ok) throw new Error(FP.sentence((await answer.json().catch(() => ({}))).error));
      const nodes = withSeeds(await answer.text());
      if (wanted !== view.id) return;
      times = (nodes.find((node) => node.job === wanted) || nodes[0]).times;
      number.max = times.length;
      tree.replaceChildren(...branch(nodes, null));
    } catch (error) {
      problem.textContent = error instanceof TypeError ? "The server does not answer. Is it still running?" : error.message;
    }
    showTime();
  };
  const show = (next) => {
    view = next;
    root.hidden = !next.takes;
    if (!next.takes) return;
    form.hidden = kept.hidden = !next.takes.kept;
    gone.hidden = Boolean(next.takes.kept);
    const text = `Free ${megabytes(next.takes.kept)}`;
    free.lastChild.textContent = text;
    free.setAttribute("aria-label", text);
    if (asked === next.id) return;
    asked = next.id;
    number.value = 1;
    prompt.value = seed.value = problem.textContent = "";
    tree.replaceChildren();
    times = [];
    if (root.open) load();
  };
  const choose = (section) => {
    if (root.hidden) return;
    number.value = section;
    root.open = true;
    showTime();
    number.focus();
  };
  number.addEventListener("input", showTime);
  root.addEventListener("toggle", () => root.open && load());
  return { root, show, choose };
};
