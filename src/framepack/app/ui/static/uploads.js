/* Uploads, and the Generate button that waits for them. */

/* What the form still waits for: { field, share(), stop() } each. Without a field, all of the form may change. */
FP.uploads = new Set();
/* What is being sent, so that nobody leaves the page without being asked. */
const leaving = new Set();
/* After a video was dropped, the form waits for the server's next answer. */
let answers = [];
FP.awaitAnswer = () => {
  const one = { share: () => 1, stop: () => FP.uploads.delete(one) };
  FP.uploads.add(one);
  answers.push(one);
};
FP.answered = () => {
  answers.forEach((one) => FP.uploads.delete(one));
  answers = [];
};

FP.UploadStopped = class extends Error {};

/* Sends a form or a file: { answer, stop }. The answer is the server's JSON as `found`, and its text. Generate waits for it where
   it `waits`. */
FP.send = (body, { address, field, progress = () => {}, waits = true }) => {
  const request = new XMLHttpRequest();
  let share = 0;
  const one = { field, share: () => share, stop: () => request.abort() };
  const answer = new Promise((resolve, reject) => {
    request.open("POST", address);
    request.upload.onprogress = (event) => {
      share = event.lengthComputable ? event.loaded / event.total : share;
      progress(share);
    };
    request.onerror = () => reject(new Error("The file could not be sent. Is the server still running, and the file still there?"));
    request.onabort = () => reject(new FP.UploadStopped("The upload was stopped."));
    request.onload = () => {
      let found = {};
      try { found = JSON.parse(request.responseText); } catch { /* not from our server, but a proxy's page, for example */ }
      if (request.status < 300 && typeof found === "object") resolve({ found, text: request.responseText });
      else reject(new Error(FP.sentence(found.error || (request.status >= 500 ? "The server ended while it received the file. Send it again." : ""))));
    };
    request.send(body);
  }).finally(() => (leaving.delete(one), setTimeout(() => FP.uploads.delete(one))));
  leaving.add(one);
  if (waits) FP.uploads.add(one);
  return { answer, stop: one.stop };
};

/* Uploads files: { answer, stop }. Each entry of the answer has the whole text as `answer`, because a seed can be larger
   than JavaScript's numbers. */
FP.upload = (files, { field, progress, address = "/api/uploads" }) => {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name || "pasted.png");
  const { answer, stop } = FP.send(form, { address, field, progress });
  const entries = ({ found, text }) => {
    if (!Array.isArray(found)) throw new Error(FP.sentence(found.error));
    return found.map((one) => ({ ...one, answer: text }));
  };
  return { answer: answer.then(entries), stop };
};

addEventListener("beforeunload", (event) => leaving.size && event.preventDefault());

/* Generate: once for a double click, and not before all uploads have arrived. After an error it works again at once. */
const AGAIN = 800;
let busy = false, passing = false, release = () => {};
document.addEventListener("fp-error-shown", () => release());
const generateButton = () => {
  const button = document.querySelector("#fp-generate");
  return button.matches("button") ? button : button.querySelector("button");
};

/* Whether everything has arrived; false for an error, or if the user does not want to wait. */
const arrived = async () => {
  const notice = { text: "Waiting for the image. The video starts when it has arrived.", stays: true, stop: () => (stopped = true) };
  let stopped = false, failed = false;
  const fail = () => (failed = true);
  document.addEventListener("fp-upload-failed", fail);
  FP.notify(notice);
  while (FP.uploads.size && !stopped && !failed) {
    const share = Math.min(...[...FP.uploads].map((one) => one.share()));
    generateButton().dataset.wait = share < 1 ? `Waiting for the image: ${Math.round(share * 100)} %` : "Waiting for the image …";
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  document.removeEventListener("fp-upload-failed", fail);
  delete generateButton().dataset.wait;
  FP.dismissNotice(notice);
  if (failed) FP.notify({ tone: "error", text: "The file did not arrive, so no video was started. Its field shows the error." });
  return !stopped && !failed;
};

/* The form as it was when Generate was generateButton, but for what was on its way then. */
let submitted = null;
FP.submittedForm = (names, given) => {
  if (!submitted) return given;
  const { lock, editing, preserve, values, late } = submitted;
  const own = names.map((name, index) => (late.includes(name) ? given[index] : values[name]));
  const [, job, , search] = given.slice(names.length);
  return [...own, lock, job, editing, search, preserve];
};

const LOST = "The server does not answer. What you typed is saved. Press Generate again when it is back.";
FP.generate = async () => {
  if (busy) return;
  busy = true;
  try {
    const late = [...FP.uploads].map((one) => one.field);
    submitted = late.length && !late.includes(undefined) ? { ...FP.form, late } : null;
    if (late.length && !(await arrived())) return;
    passing = true;
    generateButton().click();
    fetch("/api/health").catch(() => FP.notify({ tone: "error", text: LOST }));
    await new Promise((resolve) => {
      release = resolve;
      setTimeout(resolve, AGAIN);
    });
  } finally {
    passing = false;
    busy = false;
    submitted = null;
  }
};
document.addEventListener("click", (event) => {
  if (!event.target.closest || !event.target.closest("#fp-generate")) return;
  if (passing) return (passing = false);
  event.stopImmediatePropagation();
  event.preventDefault();
  FP.generate();
}, true);
