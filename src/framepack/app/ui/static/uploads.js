/* Files on their way to the server, and the button that waits for them. */

/* What has to arrive before the form is what someone sees: { field, share(), stop() } each; no field: all of it. */
FP.going = new Set();
/* What the server still has to say of a video that was dropped ends with its next word. */
let answers = [];
FP.answer = () => {
  const one = { share: () => 1, stop: () => FP.going.delete(one) };
  FP.going.add(one);
  answers.push(one);
};
FP.settled = () => {
  answers.forEach((one) => FP.going.delete(one));
  answers = [];
};

FP.Stopped = class extends Error {};

/* Hands files in: { answer, stop }. The answer is what the server says of each, with its own words as `said`: a seed
   can be more than a number of JavaScript's holds. */
FP.upload = (files, { field, progress = () => {}, address = "/api/uploads" }) => {
  const request = new XMLHttpRequest();
  let share = 0;
  const one = { field, share: () => share, stop: () => request.abort() };
  const answer = new Promise((resolve, reject) => {
    const form = new FormData();
    for (const file of files) form.append("file", file, file.name || "pasted.png");
    request.open("POST", address);
    request.upload.onprogress = (event) => {
      share = event.lengthComputable ? event.loaded / event.total : share;
      progress(share);
    };
    request.onerror = () => reject(new Error("The file could not be sent. Is the server still running, and the file still there?"));
    request.onabort = () => reject(new FP.Stopped("The upload was stopped."));
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* not ours: a proxy's page, say */ }
      if (request.status < 300 && Array.isArray(answer)) resolve(answer.map((one) => ({ ...one, said: request.responseText })));
      else reject(new Error(FP.sentence(answer.error)));
    };
    request.send(form);
  }).finally(() => setTimeout(() => FP.going.delete(one)));
  FP.going.add(one);
  return { answer, stop: one.stop };
};

addEventListener("beforeunload", (event) => FP.going.size && event.preventDefault());

/* Generate: once for a double click, and not before all that was chosen has arrived. What did not work can be tried
   again at once. */
const AGAIN = 800;
let under = false, through = false, free = () => {};
document.addEventListener("fp-wrong", () => free());
const pressed = () => {
  const button = document.querySelector("#fp-generate");
  return button.matches("button") ? button : button.querySelector("button");
};

/* Whether everything arrived; false where it failed, or someone does not want to wait. */
const arrived = async () => {
  const said = { text: "Waiting for the picture. The video is made as soon as it is here.", stays: true, stop: () => (stopped = true) };
  let stopped = false, failed = false;
  const wrong = () => (failed = true);
  document.addEventListener("fp-failed", wrong);
  FP.tell(said);
  while (FP.going.size && !stopped && !failed) {
    const share = Math.min(...[...FP.going].map((one) => one.share()));
    pressed().dataset.wait = share < 1 ? `Waits for the picture: ${Math.round(share * 100)} %` : "Waits for the picture …";
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  document.removeEventListener("fp-failed", wrong);
  delete pressed().dataset.wait;
  FP.untell(said);
  if (failed) FP.tell({ tone: "wrong", text: "The file did not arrive, so no video was begun. What is wrong stands at its field." });
  return !stopped && !failed;
};

/* The form as it was when Generate was pressed, but for what was on its way then. */
let asked = null;
FP.asked = (names, given) => {
  if (!asked) return given;
  const { lock, editing, preserve, values, late } = asked;
  const own = names.map((name, index) => (late.includes(name) ? given[index] : values[name]));
  const [, job, , search] = given.slice(names.length);
  return [...own, lock, job, editing, search, preserve];
};

const LOST = "The server does not answer. What you typed is kept; press Generate again once it is back.";
FP.generate = async () => {
  if (under) return;
  under = true;
  try {
    const late = [...FP.going].map((one) => one.field);
    asked = late.length && !late.includes(undefined) ? { ...FP.now, late } : null;
    if (late.length && !(await arrived())) return;
    through = true;
    pressed().click();
    fetch("/api/health").catch(() => FP.tell({ tone: "wrong", text: LOST }));
    await new Promise((resolve) => {
      free = resolve;
      setTimeout(resolve, AGAIN);
    });
  } finally {
    through = false;
    under = false;
    asked = null;
  }
};
document.addEventListener("click", (event) => {
  if (!event.target.closest || !event.target.closest("#fp-generate")) return;
  if (through) return (through = false);
  event.stopImmediatePropagation();
  event.preventDefault();
  FP.generate();
}, true);
