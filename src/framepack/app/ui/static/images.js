/* How an image is shown. An image is an upload's id, or an object with the id as its `file` and with edits. */

/* An image's address. A file that was just chosen is shown from memory, any other as the server's small copy. */
FP.localImages = new Map();
FP.imageAddress = (id) => FP.localImages.get(id) || `/api/uploads/${encodeURIComponent(id)}/picture`;

/* Whether an image is a video, as the service names files by their content. */
FP.isVideo = (image) => /\.(mp4|mov|mkv|webm|avi|zip)$/i.test(image.file || image);

/* The form's values that decide the video's size, with the start image unless it is the one that is shown. */
FP.videoSize = (own) => {
  const { image, task, model, resolution, width, height } = FP.form ? FP.form.values : {};
  const [base, wide, high] = [resolution, width, height].map((typed) => FP.parseNumber(String(typed ?? "")));
  const given = { image: own ? null : image, task, model, resolution: base, width: wide, height: high };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value && String(value).trim()));
};

/* The address of an image with its edits; with `video` fitted to that video's size. */
FP.editedAddress = (image, { video, longest }) => {
  const { file, ...edits } = image.file ? image : { file: image };
  const query = new URLSearchParams({ edits: JSON.stringify(edits), longest });
  if (video) query.set("video", JSON.stringify(video));
  return `/api/uploads/${encodeURIComponent(file)}/edited?${query}`;
};

const SMALL = 512;
const drawn = new WeakMap();

/* own: it is the start image, whose shape the video follows. */
FP.image = (image, attributes, own = false) => {
  if (!image.file) return plain(image, attributes);
  const address = () => FP.editedAddress(image, { video: FP.videoSize(own), longest: SMALL });
  const unfitted = ({ target }) => {
    target.onerror = null;
    target.src = FP.editedAddress(image, { longest: SMALL });
  };
  const element = FP.el("img", { "data-edited": "", ...attributes });
  element.onerror = unfitted;
  element.src = address();
  drawn.set(element, { address, wanted: element.src });
  return element;
};

/* The server's copy stands in for a format that this browser cannot draw (tiff, heic). */
const plain = (id, attributes) => {
  const copy = (event) => {
    if (FP.localImages.delete(id)) event.target.src = FP.imageAddress(id);
  };
  return FP.el("img", { src: FP.imageAddress(id), onerror: copy, ...attributes });
};

/* The video's size may have changed: an edited image is shown fitted to it as soon as that is loaded. */
const follow = (image) => {
  const known = drawn.get(image);
  const next = new URL(known.address(), location).href;
  if (next === known.wanted) return;
  known.wanted = next;
  const ready = new Image();
  ready.onload = () => known.wanted === next && (image.src = next);
  ready.src = next;
};
let pause = 0;
document.addEventListener("fp-form-saved", () => {
  clearTimeout(pause);
  pause = setTimeout(() => document.querySelectorAll("img[data-edited]").forEach(follow), 400);
});
