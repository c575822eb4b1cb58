"""A training of seconds: one small block, eight pictures, forty steps."""

from framepack.models.config import TransformerConfig
from framepack.training.data.pool import PoolRecipe
from framepack.training.data.sections import SectionRecipe
from framepack.training.optimizer import OptimizerRecipe
from framepack.training.transformer.recipe import Phase, Recipe, Schedule
from framepack.training.transformer.towers import TowerConfig
from framepack.training.vae.recipe import VaeRecipe

TINY = Recipe(
    seed=1,
    model=TransformerConfig(
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=16,
        image_proj_dim=16,
        rope_axes_dim=(4, 6, 6),
    ),
    towers=TowerConfig(text=16, pooled=16, pooled_layers=1, image=16, image_layers=1, image_size=32),
    vae=VaeRecipe(layers=1, fit_clips=2, fit_rows=2000, steps=1, images=2, clips_a_batch=1),
    pool=PoolRecipe(images=8, size=64),
    optimizer=OptimizerRecipe(),
    schedule=Schedule(steps=40, warm_up=4),
    phases=(Phase(until=1.0, batch=2, sizes=((16, 16), (16, 32)), sections=SectionRecipe(rehearsed=0.5)),),
)
