"""What a plan says is what happens; a mode that changes the picture needs leave; a job leaves nothing behind."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published import published

from framepack import FramePack, GenerationRequest
from framepack.memory import Budget, FallbackLevel, MemoryManager
from framepack.memory.estimate import Cost, Leased, Speed, _Meter, estimate
from framepack.models.attention import LOGITS
from framepack.models.hunyuan.encoders import LETTERS_PER_TOKEN
from framepack.models.hunyuan.tokenizers import PREFIX_TOKENS
from framepack.models.nag import Nag
from framepack.models.packing import ContextLatents
from framepack.pipeline.estimate import Estimator
from framepack.pipeline.job_costs import JobCosts, job_of
from framepack.pipeline.memory_plan import MemoryPlan, TilingRefusedError, TooSmallError, choose
from framepack.pipeline.stages import Modes
from framepack.pipeline.walk import Visit
from framepack.sampling import make_sigmas
from framepack.spec.events import Finished, Notice, Planned, StepDone
from framepack.spec.machine import Tiling
from framepack.spec.plan import plan
from framepack.spec.variants import VARIANTS
from framepack.weights.loader import Loader, choose_precision
from framepack.weights.meta import MetaModels
from framepack.weights.sources import ModelSource

GB = 1_000_000_000
NAG = Nag(scale=5.0)
WHOLE = Modes()
PROMPT = "a red ball rolls to the right and then bounces off the wall"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.fromarray(np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)).save(file)
    return file


def request_of(picture: Path, output: Path, **fields: object) -> GenerationRequest:
    settings = {
        "prompt": PROMPT,
        "steps": 2,
        "width": 64,
        "height": 64,
        "window": 3,
        "seconds": 1.2,
        "length": "sections",
    }
    return GenerationRequest.model_validate({"image": picture, "output": {"path": output}, **settings, **fields})


def mini(dtype: str | None = "float32") -> Loader:
    return Loader(VARIANTS["mini"], ModelSource(), choose_precision("cpu", dtype))


def costs_of(estimator: Estimator, request: GenerationRequest, size: tuple[int, int], **known: int) -> JobCosts:
    job = replace(job_of(request, plan(request), size), **known)
    return JobCosts(estimator.run, estimator.stages, estimator.models, job)


@pytest.mark.parametrize("dtype", ["float32", None])
@torch.no_grad()
def test_each_stages_estimated_activations_are_within_a_tenth_of_the_real_ones(dtype, picture):
    loader = mini(dtype)
    estimator = Estimator(MetaModels(loader.family, loader.places, loader.precision), torch.device("cpu"))
    request = request_of(picture, Path("v.mp4"), window=9, seconds=2, steps=25)
    sections = plan(request)
    section = sections[0]
    text, image, vae, transformer = (loader.load(name) for name in ("text", "image", "vae", "transformer"))
    frame = np.zeros((64, 64, 3), np.uint8)
    words, seen = text.encode(PROMPT), image.encode(frame)
    tokens = words.text.shape[1]
    costs = costs_of(estimator, request, (64, 64), letters=LETTERS_PER_TOKEN * (tokens - 2))

    def condition():
        return transformer.condition(torch.ones(25), torch.ones(1), words.pooled, words.text, None, seen)

    spans = [
        ContextLatents(latents=torch.zeros(1, 16, len(s.take), 8, 8), at=s.at, scale=s.scale) for s in section.context
    ]
    packed, table = transformer.pack(spans, section.at, (9, 8, 8)), condition()
    x, z = torch.randn(1, 16, 9, 8, 8), torch.randn(1, 16, 5, 8, 8).to(vae.dtype)
    pairs = {
        ("text", WHOLE): lambda: text.encode(PROMPT),
        ("image", WHOLE): lambda: image.encode(frame),
        ("encode", WHOLE): lambda: vae.encode(frame[None]),
        ("prepare", WHOLE): condition,
        ("sample", WHOLE): lambda: transformer(x, table.step(0), packed),
        ("decode", WHOLE): lambda: vae.decode_tile(z, "whole"),
        ("decode", Modes(decode="chunked")): lambda: vae.decode_tile(z, "chunked"),
    }
    for (stage, modes), work in pairs.items():
        real = estimate(work).activations
        assert costs.cost(stage, modes).activations == pytest.approx(real, rel=0.1), (stage, modes)
    assert text.example(len(PROMPT), "cpu")[0].shape[1] - PREFIX_TOKENS == pytest.approx(tokens, rel=0.5)


@torch.no_grad()
def test_a_step_with_nag_is_estimated_with_its_second_prompt(picture):
    loader = mini()
    estimator = Estimator(MetaModels(loader.family, loader.places, loader.precision), torch.device("cpu"))
    fields = {"window": 9, "seconds": 2, "steps": 25, "negative_prompt": PROMPT}
    section = plan(request_of(picture, Path("v.mp4"), **fields))[0]
    text, image, transformer = (loader.load(name) for name in ("text", "image", "transformer"))
    words, seen = text.encode(PROMPT), image.encode(np.zeros((64, 64, 3), np.uint8))
    letters = LETTERS_PER_TOKEN * (words.text.shape[1] - 2)

    def cost(**nag: float) -> Cost:
        request = request_of(picture, Path("v.mp4"), **fields, **nag)
        return costs_of(estimator, request, (64, 64), letters=letters).cost("sample", WHOLE)

    spans = [
        ContextLatents(latents=torch.zeros(1, 16, len(s.take), 8, 8), at=s.at, scale=s.scale) for s in section.context
    ]
    table = transformer.condition(torch.ones(25), torch.ones(1), words.pooled, words.text, None, seen)
    packed, step = transformer.pack(spans, section.at, (9, 8, 8)), replace(table, negative=table.text).step(0, NAG)
    real = estimate(lambda: transformer(torch.randn(1, 16, 9, 8, 8), step, packed))
    always = cost(nag=5, nag_end=0)
    assert always.activations == pytest.approx(real.activations, rel=0.1)
    plain, usual = cost(), cost(nag=5)
    assert plain.flops < always.flops < 2 * plain.flops
    assert plain.activations < usual.activations == always.activations
    share = (make_sigmas(25, 9 * 16)[:-1] >= 0.75).float().mean()
    assert 0.2 < share < 0.8
    assert usual.flops == pytest.approx(plain.flops + float(share) * (always.flops - plain.flops), rel=1e-6)


class Live(_Meter):
    """Counts what is really held; the estimate's shapes are not."""

    def _count(self, tensor: torch.Tensor) -> None:
        if not tensor.is_meta:
            super()._count(tensor)


def test_the_estimated_memory_of_a_whole_job_is_within_a_tenth_of_what_it_holds(picture, tmp_path):
    framepack = FramePack(mini(), MemoryManager("cpu"))
    request = request_of(picture, tmp_path / "v.mp4", width=64, height=64, window=9, seconds=2.4)
    with Live() as live:
        events = list(framepack.generate(request))
    planned = next(event for event in events if isinstance(event, Planned))
    assert planned.host - framepack.estimator.base == pytest.approx(live.peak, rel=0.1)
    assert planned.seconds is not None
    assert all(stage.placement == "resident" for stage in planned.stages)


def test_the_estimated_memory_counts_all_tables_of_a_job_where_the_device_is_ram(picture, tmp_path):
    framepack = FramePack(mini(), MemoryManager("cpu"))
    scenes = [{"second": 1.2 * i, "text": f"{i} " + 60 * "and then it rolls "} for i in range(12)]
    fields = {"steps": 20, "width": 32, "height": 32, "prompts": scenes, "end_frame": {"image": picture}}
    run = framepack.generate(request_of(picture, tmp_path / "v.mp4", window=9, seconds=14.4, **fields))
    with Live() as live:
        for event in run:
            if isinstance(event, Planned):
                planned = event
            if isinstance(event, StepDone):
                break
        run.close()
    assert planned.host - framepack.estimator.base == pytest.approx(live.peak, rel=0.1)


class Recording(MemoryManager):
    """Notes what is on the device at each lease."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.seen: dict[str, set[int]] = {}

    @contextmanager
    def lease(self, name, *, once=False, activations=0, last=False):
        with super().lease(name, once=once, activations=activations, last=last) as module:
            held = self.report().held
            self.seen.setdefault(f"{name}{once}", set()).add(held)
            yield module


@pytest.mark.parametrize("limit", [28_000_000, 35_000_000, 200_000_000])
def test_a_pretended_device_holds_what_was_planned_and_no_more_than_it_has(limit, picture, tmp_path):
    memory = Recording("cpu", vram_limit=limit)
    framepack = FramePack(mini(), memory, "allow")
    events = list(framepack.generate(request_of(picture, tmp_path / "v.mp4", width=32, height=32)))
    planned = next(event for event in events if isinstance(event, Planned))
    for stage in planned.stages:
        name = {"text": "text", "image": "image", "encode": "vae", "decode": "vae"}.get(stage.part, "transformer")
        held = memory.seen[f"{name}{stage.part == 'prepare'}"]
        assert min(abs(stage.weights - each) / each for each in held) < 0.1, stage
        assert stage.peak <= limit
    assert isinstance(events[-1], Finished)


@pytest.fixture(scope="module")
def elsewhere() -> Estimator:
    """Of the 13 B model on a card that is not here."""
    return Estimator(published(choose_precision("cuda")), torch.device("meta"), here=False)


def planned_for(
    estimator: Estimator, limit: float, tiling: Tiling = "never", **fields: object
) -> tuple[MemoryPlan, Planned]:
    """A plan for a card of `limit` bytes that is not here, at the published shapes."""
    settings = {"image": "a.png", "model": "framepack", "width": 640, "height": 640}
    request = GenerationRequest.model_validate({**settings, **fields})
    budget = Budget(device=torch.device("meta"), vram_limit=int(limit))
    size = (request.height or 640, request.width or 640)
    return estimator.plan(request, plan(request), size, budget, tiling=tiling)


def test_more_sections_and_prompts_take_no_more_of_the_device_and_ram_for_their_tables(elsewhere):
    budget, end = Budget(device=torch.device("meta"), vram_limit=12 * GB), {"image": "b.png"}
    rams, peaks = [], set()
    for seconds, scenes in ((12, 1), (120, 1), (12, 4)):
        prompts = [{"second": 3.6 * i, "text": f"scene {i}"} for i in range(scenes)]  # where sections end
        settings = {"image": "a.png", "model": "framepack", "seconds": seconds, "end_frame": end, "prompts": prompts}
        request = GenerationRequest.model_validate(settings)
        planned = elsewhere.plan(request, plan(request), (640, 640), budget)[1]
        peaks.add(planned.peak)
        rams.append({stage.part: stage.host for stage in planned.stages})
    assert len(peaks) == 1
    prompt, mix = 58_060_800, 729 * 3072 * 2
    for part in ("prepare", "sample", "decode"):
        short, long, timed = (ram[part] - ram["encode"] for ram in rams)
        assert long - short == 90 * mix
        assert timed - short == pytest.approx(3 * prompt, rel=0.2)


def test_13b_is_planned_without_weights_and_without_invented_times(elsewhere):
    chosen, planned = planned_for(elsewhere, 6 * GB)
    stages = {stage.part: stage for stage in planned.stages}
    assert chosen.modes.decode == "chunked"
    assert planned.peak <= 6 * GB
    assert stages["sample"].placement == stages["text"].placement == "streamed"
    assert stages["decode"].placement == "offloaded"
    assert planned.seconds is None
    assert any("the result is the same" in note for note in planned.notes)
    roomy, everything = planned_for(elsewhere, 80 * GB)
    assert roomy.modes == WHOLE
    assert all(stage.placement == "resident" for stage in everything.stages if stage.part in ("sample", "decode"))


def test_a_step_on_apples_gpu_is_planned_with_the_logits_that_it_writes():
    models, request = published(choose_precision("mps")), request_of(Path("a.png"), Path("v.mp4"), window=9, steps=25)
    apple, cuda = (
        costs_of(Estimator(models, torch.device(device)), request, (544, 704)).cost("sample", Modes(chunk_size=1024))
        for device in ("mps", "cuda")
    )
    assert 0.9 * LOGITS < apple.activations - cuda.activations < 1.2 * LOGITS  # bfloat16, before and after softmax
    assert apple.flops == cuda.flops


def test_decoding_drives_no_blocks_away_that_would_come_back_for_each_section(elsewhere):
    short, long = (
        {stage.part: stage for stage in planned_for(elsewhere, 24 * GB, seconds=seconds)[1].stages}
        for seconds in (5, 50)
    )
    assert short["decode"].mode == "chunked"
    assert short["sample"].placement != "streamed"
    again = (long["sample"].copied - short["sample"].copied) / (long["decode"].passes - short["decode"].passes)
    assert again < 7 * GB  # decoding whole pictures drove more than 15 GB away
    assert planned_for(elsewhere, 48 * GB)[0].modes.decode == "whole"


def test_in_ram_nothing_comes_back_so_the_whole_is_decoded_at_once(elsewhere):
    chosen, _ = planned_for(elsewhere, 24 * GB)
    vae = elsewhere.sizes["vae"]
    assert choose(chosen, elsewhere.weight_blocks, vae, 24 * GB).modes.decode == "chunked"
    assert choose(replace(chosen, device="cpu"), elsewhere.weight_blocks, vae, 24 * GB).modes.decode == "whole"


def test_tiles_are_refused_in_one_sentence_and_used_if_allowed(elsewhere):
    with pytest.raises(TilingRefusedError, match=r"640x640 exactly takes .* --vae-tiling allow") as refused:
        planned_for(elsewhere, 4 * GB)
    assert "\n" not in str(refused.value)
    chosen, planned = planned_for(elsewhere, 4 * GB, "allow")
    assert chosen.modes.decode == "tiled"
    assert planned.peak <= 4 * GB
    assert planned_for(elsewhere, 80 * GB, "always")[0].modes.decode == "tiled"


def test_what_nothing_fits_is_refused_with_a_way_out(elsewhere):
    with pytest.raises(TooSmallError, match="smaller size"):
        planned_for(elsewhere, 0.5 * GB, "allow")


def test_stills_are_counted_and_of_a_take_only_what_it_makes(elsewhere):
    timed = {"seconds": 4.8, "steps": 4, "prompts": [{"second": 0, "text": "day"}, {"second": 2.4, "text": "night"}]}
    redo = {"redo": [{"section": 2, "only": True, "seed": 3, "take": 2}]}
    rows = {stage.part: stage for stage in planned_for(elsewhere, 24 * GB, **timed)[1].stages}
    taken = {stage.part: stage for stage in planned_for(elsewhere, 24 * GB, **timed, **redo)[1].stages}
    assert rows["stills"].passes == 4
    assert taken["sample"].passes == 4 < rows["sample"].passes
    assert taken["decode"].passes == rows["decode"].passes
    request = GenerationRequest.model_validate({"image": "a.png", "model": "framepack", **timed})
    costs = costs_of(elsewhere, request, (640, 640))
    still, sample = costs.cost("stills", WHOLE), costs.cost("sample", WHOLE)
    assert still.activations == sample.activations  # it is made in a section's memory
    assert sample.flops / 9 < still.flops < sample.flops / 2
    assert "stills" not in {stage.part for stage in planned_for(elsewhere, 24 * GB)[1].stages}


def test_a_fallback_level_asks_for_less_than_the_plan(elsewhere):
    chosen, _ = planned_for(elsewhere, 80 * GB)
    less = FallbackLevel(name="chunked", chunk_size=4096)
    assert chosen.modes.under(less) == Modes(chunk_size=4096, decode="chunked")
    assert chosen.workspace("decode", less) < chosen.workspace("decode") / 3
    assert chosen.workspace("sample", less) < chosen.workspace("sample")


def visit(stage: str, *, brought: int = 0, streamed: int = 0, from_disk: bool = False) -> Visit:
    """A stage of ten billion operations."""
    leased = Leased(where="", held={}, brought=brought, streamed=streamed)
    stages = Estimator(published(choose_precision("cuda")), torch.device("meta"), here=False).stages
    cost = Cost(activations=0, flops=10**10)
    return Visit(stage=stages[stage], cost=cost, beside=0, loaded=0, from_disk=from_disk, leased=leased)


def test_time_is_that_of_bringing_and_then_the_longer_of_computing_and_copying():
    slow_copies, slow_sums = Speed(flops=1e15, copied=1e6), Speed(flops=1e6, copied=1e15)
    streamed = visit("sample", brought=3 * 10**6, streamed=10**6)
    assert streamed.seconds(1000, slow_copies) == pytest.approx(3 + 1000 * 1)
    assert streamed.seconds(1000, slow_sums) == pytest.approx(1000 * 1e4)
    assert streamed.copied(1000) == (3 + 1000) * 10**6
    assert visit("decode").seconds(2, Speed(flops=1e6, conv=1e9)) == 2 * 10
    assert visit("sample").seconds(2, Speed(flops=1e9, conv=1e6)) == 2 * 10
    assert visit("sample", streamed=10**6, from_disk=True).seconds(1, Speed(flops=1e15, copied=1, read=1e6)) == 1


def test_what_was_not_measured_is_unknown():
    assert visit("sample", brought=1).seconds(1, Speed(flops=1e9)) is None  # its weights come at an unknown rate
    assert visit("sample").seconds(1, Speed(flops=1e9)) == 10  # they are there already
    assert visit("sample").seconds(1, Speed(copied=1e9)) is None
    assert visit("decode").seconds(1, Speed(flops=1e9)) == 10  # convolutions were not timed: as fast as the rest


def test_a_plan_comes_before_the_first_work_and_steps_down_are_reported(
    picture, tmp_path, tiny_models_dir, monkeypatch
):
    framepack = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    run = framepack.generate(request_of(picture, tmp_path / "v.mp4", width=32, height=32))
    assert [isinstance(next(run), Planned) for _ in range(2)] == [False, True]
    report = framepack.memory.report()
    assert all(module.where == "not loaded" for module in report.modules.values())
    with framepack.memory.lease("vae") as vae:
        real, calls = type(vae).decode_float, []

    def short_of_memory(self: object, *args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) <= 2:  # the second time nothing else is left to free
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(vae), "decode_float", short_of_memory)
    notices = [event.message for event in run if isinstance(event, Notice)]
    assert [m for m in notices if "Memory ran out in decode" in m and "the result is the same" in m]


@pytest.mark.parametrize("end", ["finished", "closed", "failed"])
def test_a_jobs_end_leaves_no_lease_and_no_fallback_level(end, picture, tmp_path, tiny_models_dir, monkeypatch):
    loader = Loader(VARIANTS["mini"], ModelSource(models_dir=tiny_models_dir), choose_precision("cpu", "float32"))
    memory = MemoryManager("cpu", vram_limit=100_000_000, preserve=0)
    framepack = FramePack(loader, memory)
    retry_with_less_memory, short = memory.fallbacks.retry_with_less_memory, []

    def once_short(phase, work, **options):
        def trial(level):
            if phase == "step" and len(short) < 2:
                short.append(phase)
                raise torch.OutOfMemoryError("CUDA out of memory (injected)")
            return work(level)

        return retry_with_less_memory(phase, trial, **options)

    monkeypatch.setattr(memory.fallbacks, "retry_with_less_memory", once_short)
    run = framepack.generate(request_of(picture, tmp_path / "v.mp4", width=32, height=32))
    for event in run:
        if isinstance(event, StepDone) and (event.section, event.step) == (0, 0):
            assert memory.fallbacks.level("step").name != "as planned"
            if end == "closed":
                run.close()
            if end == "failed":
                with pytest.raises(ZeroDivisionError):
                    run.throw(ZeroDivisionError())
    assert short
    assert memory.fallbacks.level("step").name == "as planned"
    assert memory.notices() == []
    assert memory.report().held == 0
    assert not any(group.in_use for group in memory._groups())
