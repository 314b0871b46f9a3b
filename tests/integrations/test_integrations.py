import pickle
import sys

import pytest
from small_training import loader, network, sgd
from torch.nn import functional as F  # noqa: N812

from gradscope.errors import CannotJudge
from gradscope.integrations import WatchingCallback, class_of


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    """Two names of one library, and a library that lacks a part."""
    for name, text in {
        "first_name": "class Callback: pass",
        "second_name": "class Callback: pass",
        "broken": "import absent",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in "first_name", "second_name":
        sys.modules.pop(name, None)


def test_of_two_libraries_that_in_use_goes_first(libraries):
    import second_name

    assert class_of("Callback", "first_name", "second_name", extra="x") is second_name.Callback
    import first_name

    assert class_of("Callback", "first_name", "second_name", extra="x") is first_name.Callback


def test_of_two_libraries_that_installed_is_taken(libraries):
    assert class_of("Callback", "absent_name", "second_name", extra="x").__module__ == "second_name"
    with pytest.raises(ImportError, match=r"expected absent_name or absent\.other, found none; install gradscope-torch\[x\]"):
        class_of("Callback", "absent_name", "absent.other", extra="x")


def test_a_library_that_lacks_something_is_not_taken_for_absent(libraries):
    with pytest.raises(ModuleNotFoundError, match="No module named 'absent'"):
        class_of("Callback", "broken", "first_name", extra="x")


def train(model, optimizer):
    for x, y in loader():
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def test_it_can_be_copied_before_a_training():
    """As libraries do that start processes."""
    assert pickle.loads(pickle.dumps(OfSomeLibrary("folder", every=3)))._options["every"] == 3


class OfSomeLibrary(WatchingCallback):
    def training_begins(self, model, optimizer):
        self._start(model, optimizer)


def is_watched(model, optimizer):
    """Whether anything is left on them: hooks, or calls that stand in for modules'."""
    on_modules = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or vars(m).get("_compiled_call_impl")]
    return bool(on_modules or optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


@pytest.mark.parametrize("how", ["block", "next training", "let go of", "closed twice"])
def test_a_training_is_let_go_of(how):
    model = network()
    optimizer = sgd(model)
    callback = OfSomeLibrary(every=1)
    with pytest.raises(CannotJudge, match="OfSomeLibrary"):
        _ = callback.diagnosis
    callback.close()  # nothing to close
    callback.training_begins(model, optimizer)
    train(model, optimizer)
    scope = callback.scope
    assert is_watched(model, optimizer)
    if how == "block":
        with pytest.raises(ZeroDivisionError), callback:
            _ = 1 / 0
    elif how == "next training":
        callback.training_begins(network(), optimizer)
        callback.close()
    elif how == "let go of":
        del callback
    else:
        callback.close()
        callback.close()
    assert not is_watched(model, optimizer)
    assert scope.step == len(loader())
    assert scope.diagnosis.to_dict()["interrupted"] == (how != "closed twice")
