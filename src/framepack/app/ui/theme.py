"""Colours, fonts, styles and scripts of the page. Nothing is fetched: system fonts, files of `static/`."""

from pathlib import Path

from gradio.themes.base import Base
from gradio.themes.utils import sizes
from gradio.themes.utils.colors import Color
from gradio.themes.utils.fonts import Font

STATIC = Path(__file__).parent / "static"
SCRIPTS = (
    "core.js", "images.js", "saved_form.js", "notice.js", "uploads.js", "numbers.js", "crop.js", "editor.js", "mask.js",
    "inputs.js", "rows.js", "panels.js", "frames.js", "takes.js", "finish.js", "viewer.js", "lists.js", "storyboard.js",
    "batch.js",
)  # fmt: skip
STYLES = ("page.css", "editor.css", "batch.css", "takes.css", "finish.css")
SANS = ("Inter", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Cantarell", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
EMBER = Color(
    name="ember",
    c50="#fff4ee", c100="#ffe3d3", c200="#ffc3a3", c300="#ff9d6d", c400="#ff7f47", c500="#e8561c",
    c600="#c4410f", c700="#a3350b", c800="#822b0c", c900="#6a260e", c950="#3a1105",
)  # fmt: skip
STONE = Color(
    name="stone",
    c50="#fbfaf8", c100="#f4f2ee", c200="#e8e4dd", c300="#d6d0c6", c400="#a69f93", c500="#746d62",
    c600="#5a544b", c700="#423d37", c800="#272421", c900="#1b1917", c950="#121110",
)  # fmt: skip
VARIABLES = {
    "body_background_fill": "*neutral_100",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "*neutral_900",
    "body_text_color_dark": "#eee9e1",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "#b0a899",
    "block_background_fill": "transparent",
    "block_background_fill_dark": "transparent",
    "block_border_width": "0px",
    "block_padding": "0px",
    "block_shadow": "none",
    "block_label_text_color": "*neutral_700",
    "block_label_text_color_dark": "#d9d2c6",
    "block_title_text_color": "*neutral_800",
    "block_title_text_color_dark": "#e4ded4",
    "block_title_text_weight": "600",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "#b0a899",
    "block_info_text_size": "*text_sm",
    "input_background_fill": "#ffffff",
    "input_background_fill_dark": "#1f1d1a",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "#3b3731",
    "input_border_color_focus": "*primary_500",
    "input_border_color_focus_dark": "*primary_400",
    "input_placeholder_color": "#807869",
    "input_placeholder_color_dark": "#8f8778",
    "input_radius": "8px",
    "input_border_width": "1px",
    "input_padding": "10px 12px",
    "button_large_padding": "10px 16px",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_dark": "*primary_400",
    "button_primary_background_fill_hover_dark": "*primary_300",
    "button_primary_text_color": "#ffffff",
    "button_primary_text_color_dark": "#1b0f08",
    "button_secondary_background_fill": "#ffffff",
    "button_secondary_background_fill_dark": "#2a2723",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "#3b3731",
    "button_border_width": "1px",
    "slider_color": "*primary_600",
    "slider_color_dark": "*primary_400",
    "checkbox_background_color_selected": "*primary_600",
    "border_color_primary": "*neutral_300",
    "border_color_primary_dark": "#35312b",
    "layout_gap": "16px",
}
"""Gradio's variables: light grey paper by day, near black at night, and one accent colour."""


def theme() -> Base:
    """The page's Gradio theme."""
    return Base(
        primary_hue=EMBER,
        secondary_hue=EMBER,
        neutral_hue=STONE,
        radius_size=sizes.radius_md,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=[Font(name) for name in SANS],
        font_mono=[Font(name) for name in MONO],
    ).set(**VARIABLES)


def head() -> str:
    """The content of the document's head. Each script has its own scope; what they share is in `FP`."""
    scripts = "\n".join(f"{{\n{(STATIC / name).read_text('utf-8')}}}" for name in SCRIPTS)
    return f'<meta name="color-scheme" content="light dark"><script>\n{scripts}\n</script>'


def css() -> str:
    """The page's own styles."""
    return "\n".join((STATIC / name).read_text("utf-8") for name in STYLES)
