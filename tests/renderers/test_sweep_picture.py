"""The heat map as SVG: well-formed, every cell in its place with its value, colours that can be read."""

import itertools
import re
from xml.etree import ElementTree

import made_sweeps as made
import pytest

from gradscope.renderers.heat_colors import VIRIDIS, Scale, text_color
from gradscope.renderers.sweep_layout import heat_map
from gradscope.renderers.sweep_picture import sweep_picture
from gradscope.sweep_results import sweep_result

SVG = "{http://www.w3.org/2000/svg}"


def elements(result, tag):
    return list(ElementTree.fromstring(sweep_picture(result)).iter(f"{SVG}{tag}"))


def values(result):
    return [text.text for text in elements(result, "text") if text.get("class") == "value"]


def test_every_cell_has_its_value():
    result = made.made(made.product_grid(), lambda *_: 0.9753)
    assert values(result) == ["97.5"] * 64


def test_the_last_layer_is_across_and_those_before_it_down():
    found = heat_map(made.made(made.product_grid(3, ["relu", "tanh"]), lambda f, *_: 0.5 + 0.1 * (f["act3"] == "tanh")))
    assert (found.columns, found.column_title) == (("relu", "tanh"), "activation of layer 3")
    assert (found.rows[:2], found.row_title) == (("relu relu", "relu tanh"), "activations of layers 1 and 2")
    assert found.panels[0].cells[1, 1].factors == {"act1": "relu", "act2": "tanh", "act3": "tanh"}


def test_an_output_without_activation_is_no_axis():
    found = heat_map(made.made([{**f, "act3": "none"} for f in made.product_grid(2)], lambda *_: 0.5))
    assert (found.column_title, found.row_title) == ("activation of layer 2", "activation of layer 1")


def test_other_factors_make_panels_and_without_stacks_axes():
    found = heat_map(made.made(made.product_grid(2, lr=["1", "2"], norm=["none"]), lambda *_: 0.5))
    assert [panel.title for panel in found.panels] == ["lr 1", "lr 2"]
    found = heat_map(made.made(made.grid(optimizer=["sgd", "adam"], lr=["1", "2", "3"]), lambda *_: 0.5))
    assert (found.row_title, found.rows, found.columns) == ("lr", ("1", "2", "3"), ("sgd", "adam"))
    found = heat_map(made.made(made.product_grid(1, lr=["1", "2"]), lambda *_: 0.5))
    assert (found.row_title, found.column_title) == ("activation of layer 1", "lr")
    found = heat_map(made.made(made.grid(lr=["1", "2", "3"]), lambda *_: 0.5))
    assert (found.rows, found.columns) == (("1", "2", "3"), ("",))


def test_a_sample_of_pairs_stands_in_the_grids_order():
    pairs = list(itertools.combinations_with_replacement(["relu", "tanh", "selu"], 2))
    cells = [{"act1a": a, "act1b": b, "act2a": c, "act2b": d} for (a, b), (c, d) in itertools.product(pairs, pairs)]
    found = heat_map(made.made(cells[:2] + cells[20:22] + cells[10:12], lambda *_: 0.5, seeds=1))
    assert found.rows == ("relu", "relu+tanh", "tanh")
    assert len(found.panels[0].cells) == 6


def test_collapsed_and_untrained_cells_are_marked():
    cells = [made.cell({"lr": lr}, 2) for lr in "123"]
    runs = [[made.run(1), made.run(2)], [made.collapsed_run(1), made.run(2)], []]
    result = sweep_result(cells, runs)
    assert sum(rect.get("class") == "none" for rect in elements(result, "rect")) == 2  # the cell and the legend
    assert sum(path.get("class") == "corner" for path in elements(result, "path")) == 2
    told = [title.text for title in elements(result, "title")]
    assert "lr 3: not trained yet" in told
    assert any("collapsed: 1 of 2\noutput-collapse at 3.relu, 1 seed" in text for text in told)


def test_a_cell_that_diverged_is_drawn_with_a_cross_and_not_as_untrained():
    cells = [made.cell({"lr": lr}, 2) for lr in "12"]
    result = sweep_result(cells, [[made.run(1, float("nan")), made.run(2, float("nan"))], [made.run(1), made.run(2)]])
    assert values(result) == ["10.0", "97.0"]
    assert not any(rect.get("class") == "none" for rect in elements(result, "rect"))
    assert sum(path.get("class") == "cross" for path in elements(result, "path")) == 2  # the cell and the legend
    assert any("diverged, no finite numbers: 2 of 2" in title.text for title in elements(result, "title"))


def test_names_that_are_markup_do_no_harm():
    result = made.made([{"data": "<b>&\"'"}, {"data": "]]>"}], lambda *_: 0.5)
    assert {"<b>&\"'", "]]>"} <= {text.text for text in elements(result, "text")}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, float("nan"), -5.0])
def test_any_value_gives_a_picture(value):
    result = made.made(made.grid(lr=["1", "2"]), lambda *_: value)
    assert len(elements(result, "rect")) >= 2


def test_nothing_lies_outside_the_picture():
    result = made.made(
        made.product_grid(2, lr=[str(i) for i in range(12)], norm=["none", "batchnorm-last"]), lambda *_: 0.5, seeds=1
    )
    root = ElementTree.fromstring(sweep_picture(result))
    width, height = float(root.get("width")), float(root.get("height"))
    for group in root.findall(f"{SVG}g")[1:]:
        x, y = map(float, re.findall(r"[\d.]+", group.get("transform")))
        for rect in group.iter(f"{SVG}rect"):
            assert x + float(rect.get("x")) + float(rect.get("width")) <= width
            assert y + float(rect.get("y")) + float(rect.get("height")) <= height


def test_colours_go_from_dark_to_light_and_text_stands_out():
    scale = Scale.of([0.1, 0.5, 0.9, 0.98, float("nan")])
    places = [scale.place(v) for v in (0.1, 0.5, 0.9, 0.95, 0.98)]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1)
    assert scale.color(0.1) == VIRIDIS[0]

    def luminance(color):
        return sum(w * (c / 255) ** 2.2 for w, c in zip((0.2126, 0.7152, 0.0722), color, strict=True))

    for i in range(101):
        color = scale.color(0.1 + 0.88 * i / 100)
        behind, ink = luminance(color), 1.0 if text_color(color) == "#fff" else 0.0
        light, dark = max(behind, ink), min(behind, ink)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


def test_equal_values_are_in_the_middle_of_the_scale():
    assert Scale.of([0.9, 0.9]).place(0.9) == pytest.approx(0.5)
    assert Scale.of([]).place(0.5) >= 0


def test_a_sweep_without_a_network_says_so_and_has_no_scale():
    result = sweep_result([made.cell({"lr": "1"}, 2)], [[]], recipe="made")
    assert "made: 1 cell, none of them trained yet" in [text.text for text in elements(result, "text")]
    assert not elements(result, "linearGradient")


def test_the_numbers_of_the_scale_do_not_touch():
    for low, high in ((0.0, 1.0), (0.1, 0.9999), (0.5, 0.98)):
        places = [Scale(low, high).place(tick) for tick in Scale(low, high).ticks()]
        assert min(b - a for a, b in itertools.pairwise(places)) > 0.15


def test_a_column_of_shallower_stacks_has_a_name():
    cells = [*made.product_grid(2, ["relu", "tanh"]), *made.product_grid(3, ["relu", "tanh"])]
    assert "no such layer" in heat_map(made.made(cells, lambda *_: 0.5, seeds=1)).columns
