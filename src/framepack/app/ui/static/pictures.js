/* How a picture is shown. It is an upload's id, or an object with edits beside the id as its `file`. */

/* A picture's address: what was just chosen is shown from memory, anything else as the server's small copy. */
FP.local = new Map();
FP.address = (id) => FP.local.get(id) || `/api/uploads/${encodeURIComponent(id)}/picture`;

/* Of the form what decides the video's size; the start picture too, unless it is the one that is looked at. */
FP.framing = (own) => {
  const { image, model, resolution, width, height } = FP.now ? FP.now.values : {};
  const said = { image: own ? null : image, model, resolution, width, height };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value && String(value).trim()));
};

/* The address of a picture with its edits; with `video` as that will use it. */
FP.edited = (picture, { video, longest }) => {
  const { file, ...edits } = picture.file ? picture : { file: picture };
  const query = new URLSearchParams({ edits: JSON.stringify(edits), longest });
  if (video) query.set("video", JSON.stringify(video));
  return `/api/uploads/${encodeURIComponent(file)}/edited?${query}`;
};

const SMALL = 512;
const drawn = new WeakMap();

/* own: it is the start picture, whose shape the video follows. */
FP.picture = (picture, attributes, own = false) => {
  if (!picture.file) return plain(picture, attributes);
  const address = () => FP.edited(picture, { video: FP.framing(own), longest: SMALL });
  const bare = ({ target }) => {
    target.onerror = null;
    target.src = FP.edited(picture, { longest: SMALL });
  };
  const image = FP.el("img", { "data-edited": "", ...attributes });
  image.onerror = bare;
  image.src = address();
  drawn.set(image, { address, wanted: image.src });
  return image;
};

/* What this browser cannot draw itself (tiff, heic) it draws from the server's copy. */
const plain = (id, attributes) => {
  const copy = (event) => {
    if (FP.local.delete(id)) event.target.src = FP.address(id);
  };
  return FP.el("img", { src: FP.address(id), onerror: copy, ...attributes });
};

/* The video's size has changed, maybe: an edited picture follows as soon as it can be drawn so. */
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
document.addEventListener("fp-kept", () => {
  clearTimeout(pause);
  pause = setTimeout(() => document.querySelectorAll("img[data-edited]").forEach(follow), 400);
});
