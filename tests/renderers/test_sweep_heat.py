"""The heat map on the console: where it is shown and what it says."""

import made_sweeps as made

from gradscope.renderers.console_page import Page
from gradscope.renderers.sweep_heat import heat_table

PAGE = Page(78, "utf-8")


def test_a_product_of_activations_has_one_with_marks_for_collapse():
    title, table = heat_table(made.published(), PAGE)
    assert title.startswith("MEANS in per cent, activations of layers 1 and 2 down, activation of layer 3 across")
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    assert columns[0][1:4] == ["relu relu", "relu tanh", "relu sigmoid"]
    assert [column[0] for column in columns[1:]] == ["relu", "tanh", "sigmoid", "selu"]
    assert columns[1][3].endswith("*")
    assert not any(cell.endswith("*") for cell in columns[2])


def test_what_does_not_fit_is_left_to_the_list():
    wide = made.made(made.product_grid(2, [f"activation_{i}" for i in range(8)]), lambda *_: 0.5, seeds=1)
    assert heat_table(wide, PAGE) is None
    sparse = made.made(made.product_grid(3)[::7], lambda *_: 0.5, seeds=1)
    assert heat_table(sparse, PAGE) is None
    panels = made.made(made.product_grid(2, lr=["1", "2"]), lambda *_: 0.5, seeds=1)
    assert heat_table(panels, PAGE) is None
    assert heat_table(made.made(made.grid(lr=["1", "2"]), lambda *_: 0.5, seeds=1), PAGE) is None
