"""A 13 B section on a pretended GPU: tensors of full shape with a device and a dtype, and no bytes.

What mixes devices or dtypes fails here as on a card, without one; numbers, memory and streams are not looked at.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from published import published
from runs import lending
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode

from framepack import GenerationRequest
from framepack.models.hunyuan.encoders import TextFeatures
from framepack.models.packing import ContextLatents
from framepack.pipeline.conditioning import Conditioning, make_tables
from framepack.pipeline.denoiser import Branch, Guidance, NoiseSource, make_denoiser
from framepack.pipeline.history import History
from framepack.pipeline.stages import Modes
from framepack.sampling import SAMPLERS, make_sigmas
from framepack.spec.plan import plan
from framepack.spec.windows import Said
from framepack.weights.loader import choose_precision

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
CUDA = torch.device("cuda", 0)
SEVERAL = 1
"""Blocks of each kind that are run; all are alike."""
CHUNK_SIZE = 4096
ALIKE = {"linear", "conv3d", "matmul", "scaled_dot_product_attention"}
"""What takes inputs of one dtype."""


def put(module, device):
    """Give a module of shapes weights on the device, which are shapes, too."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            empty = torch.empty(weight.shape, dtype=weight.dtype, device=device)
            part._parameters[name] = torch.nn.Parameter(empty, requires_grad=False)
    return module.eval()


class Pretended(TorchFunctionMode):
    """What pretended tensors lack: a look at dtypes, and Python's indices, that builds without CUDA refuse."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in ALIKE and args[0].dtype != args[1].dtype:
            raise RuntimeError(f"{func.__name__} of dtypes {args[0].dtype} and {args[1].dtype}")
        if func is torch.Tensor.__getitem__:
            return self.part(*args)
        if func is torch.Tensor.__setitem__:
            return torch.ops.aten.copy_(self.part(*args[:2]), args[2])
        if func is torch.Tensor.pin_memory:  # RAM is RAM
            return args[0]
        if func is torch.empty:
            kwargs = {name: value for name, value in (kwargs or {}).items() if name != "pin_memory"}
        if func is torch.Tensor.contiguous:
            return args[0].clone(memory_format=torch.contiguous_format)
        if func is torch.Tensor.tolist and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():  # noise levels are real numbers
                return args[0].tolist()
        return func(*args, **(kwargs or {}))

    def part(self, tensor, index):
        index, dim = index if isinstance(index, tuple) else (index,), 0
        for position, one in enumerate(index):
            if one is Ellipsis:
                dim = tensor.dim() - sum(later is not None for later in index[position + 1 :])
            elif isinstance(one, int):
                tensor = tensor.select(dim, one)
            elif one is None:
                tensor, dim = tensor.unsqueeze(dim), dim + 1
            elif isinstance(one, slice):
                first, last, step = one.indices(tensor.shape[dim])
                tensor, dim = torch.ops.aten.slice(tensor, dim, first, max(first, last), step), dim + 1
            else:
                places = torch.tensor(one, device=tensor.device)
                tensor, dim = tensor.index_select(dim, places), dim + 1
        return tensor


class Job:
    """One section of a job with a keyframe, a stronger hold on the start and guidance, at 544x704."""

    def __init__(self, transformer, vae, sigmas, device):
        self.device = device
        fields = {"image": "a.png", "prompt": "", "model": "framepack", "seconds": 4, "consistency": 2}
        keyframe = {"image": "c.png", "second": 2}
        self.request = GenerationRequest.model_validate({**fields, "frames": [keyframe]})
        self.sections = plan(self.request)
        self.section = next(s for s in self.sections if any(span.source == "frame:0" for span in s.context))
        self.transformer, self.vae = transformer, vae
        self.runner = lending(device, Modes(chunk_size=CHUNK_SIZE), transformer=self.transformer)
        self.sigmas = sigmas
        latent = torch.empty(1, 16, 1, 68, 88, device=device)
        self.latents = {"start": latent, "frame:0": latent}

    def conditioning(self):
        text = TextFeatures(text=torch.empty(1, 30, 4096), pooled=torch.empty(1, 768), text_cut=0, pooled_cut=0)
        features = torch.empty(1, 729, 1152)
        return Conditioning(
            latents=self.latents, features=dict.fromkeys(self.latents, features), texts={Said(""): text}
        )

    def tables(self):
        return make_tables(self.runner, self.conditioning(), self.sections, self.sigmas, 10.0)

    def pack(self, history):
        context = [
            ContextLatents(
                latents=history.take(span.take) if span.source == "history" else self.latents[span.source],
                at=span.at,
                scale=span.scale,
                key_scale=span.key_scale,
            )
            for span in self.section.context
        ]
        return self.transformer.pack(context, self.section.at, (len(self.section.latents), 68, 88))

    def history(self):
        keep = max(self.request.geometry.history, self.section.decode_latents)
        return History(self.section.direction, self.latents["start"], keep)

    def sampled(self, packed, table, noise):
        branches = [Branch(table=table, cache=None), Branch(table=table, cache=None)]
        denoiser = make_denoiser(self.runner, packed, self.sigmas, branches, Guidance(scale=2.0, rescale=0.5))
        return list(SAMPLERS[self.request.sampler](denoiser, noise, self.sigmas))[-1].denoised

    def noise(self):
        source = NoiseSource([len(section.latents) for section in self.sections], self.latents["start"])
        return source.draw(self.section.noise, len(self.section.latents)).to(self.device)


@pytest.fixture(scope="module")
def pretending():
    return FakeTensorMode(allow_non_fake_inputs=True)


@pytest.fixture(scope="module")
def made(pretending):
    """Built once; its parts' shapes before the mode begins."""
    models = published(choose_precision("cuda"))
    transformer, vae = models["transformer"], models["vae"]
    for blocks in (transformer.transformer_blocks, transformer.single_transformer_blocks):
        del blocks[SEVERAL:]
    sigmas = make_sigmas(2, 9 * 34 * 44)
    with pretending:
        return Job(put(transformer, CUDA), put(vae, CUDA), sigmas, CUDA)


@pytest.fixture
def job(pretending, made, monkeypatch):
    """On a GPU that there is for as long as the test lasts."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=9))
    with pretending, Pretended(), torch.no_grad():
        yield made


@pytest.mark.parametrize("mode", ["whole", "chunked"])
def test_a_13b_section_mixes_no_devices_and_no_dtypes(job, mode):
    history = job.history()
    packed = job.pack(history)
    assert packed.key_scale is not None
    latents = job.sampled(packed, job.tables().table(Said(""), job.section), job.noise())
    assert (latents.device, latents.dtype, latents.shape) == (CUDA, torch.float32, job.noise().shape)
    history.add(latents)
    frames = job.vae.decode_float(history.edge(5), mode=mode)
    assert (frames.device.type, frames.shape) == ("cpu", (17, 544, 704, 3))


@pytest.mark.parametrize("wrong", ["noise", "table", "context", "latents", "weight", "dtype"])
def test_one_tensor_on_the_wrong_device_is_noticed(job, wrong, monkeypatch):
    """The test above is worth something only if it fails where something is wrong."""
    history = job.history()
    packed, table, noise = job.pack(history), job.tables().table(Said(""), job.section), job.noise()
    if wrong == "noise":
        noise = noise.cpu()
    elif wrong == "table":
        table = table.to("cpu")
    elif wrong == "context":
        packed = replace(packed, context=packed.context.cpu())
    elif wrong == "latents":
        history.latents = history.latents.cpu()
    else:
        linear = job.transformer.single_transformer_blocks[0].proj_out
        weight = linear.weight.cpu() if wrong == "weight" else linear.weight.float()
        monkeypatch.setitem(linear._parameters, "weight", torch.nn.Parameter(weight, requires_grad=False))
    with pytest.raises(RuntimeError, match=r"[Dd]evice|dtype"):
        history.add(job.sampled(packed, table, noise))
