"""What decides the mini VAE: its widths, how it is fitted, and how it is trained."""

from dataclasses import dataclass, field

from framepack.training.data.clip_recipe import ClipRecipe, check_sizes


@dataclass(frozen=True, kw_only=True)
class VaeRecipe:
    """The VAE's widths, how it is fitted, and how it is trained."""

    channels: tuple[int, ...] = (16, 32, 64, 64)
    latent_channels: int = 16
    layers: int = 2
    """residual blocks a level; the decoder has one more"""
    fit_clips: int = 60
    """clips of 17 frames for the principal components and the least squares"""
    fit_rows: int = 120_000
    """positions that each least-squares fit sees"""
    steps: int = 6000
    images: int = 14
    """in a batch of pictures; two batches of five are"""
    clips_a_batch: int = 2
    sizes: tuple[tuple[int, int], ...] = ((64, 64), (64, 64), (80, 80))
    """height and width; clips take the first"""
    decoder_rate: float = 1.5e-4
    encoder_rate: float = 7.5e-5
    """0 leaves the encoder, and so the latents, as they are"""
    further: bool = False
    """train the VAE of a model that the run starts from, too; else it is kept"""
    warm_up: int = 200
    decay: float = 0.9
    """share of the steps at the end over which the rates fall to nothing"""
    checkpoint_minutes: float = 4.0
    squares: float = 2.0
    """weight of the squared error"""
    absolute: float = 0.25
    """weight of the absolute error"""
    even: float = 0.3
    """how much more clips weigh that are coded well: 0 not at all, 1 as in the mean of all clips' PSNR"""
    near: float = 0.003
    """weight of the squared distance of latents to the fitted ones"""
    phases: float = 0.02
    """weight of telling apart the pixels of a latent; it falls with the learning rates"""
    noise: float = 0.1
    """largest standard deviation of the noise on latents, as a share of their own"""
    clips: ClipRecipe = field(default_factory=ClipRecipe)

    def __post_init__(self) -> None:
        """Raise ValueError for what no training could be made of."""
        check_sizes("vae", self.sizes)
        if self.warm_up < 1 or self.decoder_rate <= 0 or self.encoder_rate < 0:
            raise ValueError(
                f"[vae] needs warm_up of 1 or more, decoder_rate above 0 and encoder_rate of 0 or more, "
                f"got {self.warm_up}, {self.decoder_rate:g} and {self.encoder_rate:g}"
            )

    def rate(self, step: int) -> float:
        """Factor on the learning rates: up, level, then down to nothing."""
        return min(1.0, (step + 1) / self.warm_up, (self.steps - step) / max(1.0, self.decay * self.steps))
