"""The architectures there are. A new one is a folder beside this file, a row here, and a row in `spec.variants`."""

from framepack.models.family import ModelFamily
from framepack.models.hunyuan.family import HUNYUAN_VIDEO

FAMILIES: dict[str, ModelFamily] = {"hunyuan": HUNYUAN_VIDEO}
