"""Where things stand on the page, without a browser."""

import pytest

gr = pytest.importorskip("gradio")


@pytest.mark.parametrize("has_gpu", [True, False])
def test_memory_to_leave_free_is_in_plain_sight_where_there_is_a_gpu(has_gpu) -> None:
    from framepack.app.ui.layout import Layout

    with gr.Blocks():
        preserve = Layout(has_gpu=has_gpu).tab.preserve
    assert preserve.visible == has_gpu
    around, folds = preserve.parent, []
    while around is not None:
        folds += [around.label] if isinstance(around, gr.Accordion) else []
        around = around.parent
    assert folds == [], "nothing has to be opened to find it"
    assert "for other programs" in preserve.info
