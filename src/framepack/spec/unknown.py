"""What of a request's prompts a model of few words does not know, reported before the work."""

from pathlib import Path

from framepack.files.assets import bundled_root
from framepack.files.words import Words
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import changes_of, prompt_at, still_from, tiles_of
from framepack.spec.variants import VARIANTS


def words_of(model: str, models_dir: Path | None) -> Words | None:
    """The table of a model of few words, which others have not. ValueError for one that is none."""
    variant = VARIANTS[model]
    if not variant.few_words:
        return None
    return Words.read(bundled_root(variant.main, models_dir) / variant.repositories["base"])


def understood(request: GenerationRequest, models_dir: Path | None) -> str:
    """What a model of few words makes of the prompts, in order; empty for one that reads free text."""
    words = words_of(request.model, models_dir)
    if words is None:
        return ""
    changes = changes_of(request)
    prompts = dict.fromkeys(prompt_at(request, changes, latents) for latents in tiles_of(request))
    heard = [" and ".join(words.hear(prompt).asked) or "nothing known" for prompt in prompts]
    return ", then ".join(heard)


def unknown_in(request: GenerationRequest, models_dir: Path | None) -> list[str]:
    """A sentence, one for all prompts, where nothing in one is known to the model and nothing else says what to do."""
    words = words_of(request.model, models_dir)
    if words is None:
        return []
    changes, alone = changes_of(request), still_from(request)
    tiles = [latents for latents in tiles_of(request) if latents.start >= alone]
    prompts = dict.fromkeys(prompt_at(request, changes, latents) for latents in tiles)
    return list(filter(None, map(words.notice, prompts)))[:1]
