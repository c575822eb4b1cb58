"""Where the models lie that come with the package, or a folder of the same layout in their place."""

from pathlib import Path

BUNDLED = Path(__file__).parent.parent / "assets"


def bundled_root(transformer: str, models_dir: Path | None) -> Path:
    """The folder that holds a bundled model's repositories: `models_dir` where its transformer is there."""
    if models_dir is not None and (models_dir / transformer).is_dir():
        return models_dir
    return BUNDLED / Path(transformer).name
