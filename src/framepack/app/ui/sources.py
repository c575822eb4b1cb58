"""Videos of jobs, and frames of them, as images and sources of the form: copies among the uploads, which stay."""

from pathlib import Path
from typing import Any

from framepack.app.service.job_service import Service
from framepack.app.service.paths import copy_once
from framepack.app.service.uploads import Incoming, checked
from framepack.app.ui import form
from framepack.app.ui.control_rows import Values
from framepack.jobs.folders import Folders
from framepack.media.frames import Which
from framepack.media.image import encode_image
from framepack.media.sandbox import still_of_untrusted_video
from framepack.spec.output import PICTURE

FRAME_USED = {
    "start": "Frame {number} is now the start image.",
    "end": "Frame {number} is now the end frame.",
    "keyframe": "Frame {number} is now a keyframe at {second:g} s.",
}
"""What a video's frame can be used as, and the message for it."""
EARLIEST_KEYFRAME = 0.1
"""Seconds. A video's first frame becomes a keyframe here, because keyframes come after the start image."""


def use_frame(service: Service, use: str, job: str, number: int, values: Values) -> tuple[dict[str, Any], str]:
    """The form's new values with a frame of a job's video as an image, and the message for it."""
    image, shown_at = upload_frame(service, job, number)
    second = max(round(shown_at, 2), EARLIEST_KEYFRAME)
    frame = {"image": image, "strength": 1}
    new = {
        "start": start_from(image, values),
        "end": {"end_frame": [frame]},
        "keyframe": {"frames": [*(values["frames"] or []), frame | {"second": second}]},
    }
    return new[use], FRAME_USED[use].format(number=number, second=second)


def start_from(image: str, values: Values) -> dict[str, Any]:
    """The form's new values with this image at the start; a task that needs a video there gives way."""
    return {"image": image, **({"task": "image"} if form.accepted_by("image", values) == "video" else {})}


def upload_frame(service: Service, job: str, which: Which) -> tuple[str, float]:
    """Store a frame of a job's video as an upload; returns its id and the second it is shown at. A still is itself."""
    file = video_of(service, job)
    if file.suffix == PICTURE:
        return copy_once(file, service.folders.uploads).name, 0.0
    frame, _ = checked(lambda video: still_of_untrusted_video(video, video.name, which=which), file)
    return upload(service.folders, encode_image(frame.pixels, "png")), frame.second


def upload_video(service: Service, job: str) -> str:
    """Store a job's video as an upload; returns its id."""
    return copy_once(video_of(service, job), service.folders.uploads).name


def video_of(service: Service, job: str) -> Path:
    """A job's file. Raises ValueError where there is none."""
    file = service.video(service.get(job).id)
    if file is None:
        raise ValueError("This job has no video. Choose another one.")
    return file


def upload(folders: Folders, png: bytes) -> str:
    """Store an image as an upload; returns its id."""
    with Incoming(folders) as incoming:
        incoming.write(png)
        return incoming.accept().id
