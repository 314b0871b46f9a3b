"""Around every test: what gradscope hangs on modules is taken off again, and torch's global state is as it was."""

import gc
import signal
import sys

import pytest
import torch
from hypothesis import settings
from torch import nn
from torch.nn.modules import module as torch_module

GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
    "_global_module_registration_hooks",
    "_global_parameter_registration_hooks",
)
REGISTER = {
    "register_forward_hook": "_forward_hooks",
    "register_forward_pre_hook": "_forward_pre_hooks",
    "register_full_backward_hook": "_backward_hooks",
    "register_full_backward_pre_hook": "_backward_pre_hooks",
}

settings.register_profile("any machine", deadline=None)  # a slow moment of the machine is no failure
settings.load_profile("any machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; what is started here would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # small networks on shared cores: more threads only wait for each other


def _flags():
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "compiler aside": _compiler_is_aside(),
        "global hooks": [len(getattr(torch_module, name)) for name in GLOBAL_HOOKS],
    }


def _compiler_is_aside():
    frames = sys.modules.get("torch._dynamo.eval_frame")
    return frames is not None and frames._stance.stance != "default"


@pytest.fixture(autouse=True)
def _no_mark_is_left():
    """Keeps the dictionary of every module hooked in the test, so that a hook is found on modules long gone, too."""
    hooked = []
    with pytest.MonkeyPatch.context() as patch:
        for method, attribute in REGISTER.items():
            patch.setattr(nn.Module, method, _noting(getattr(nn.Module, method), attribute, hooked))
        torch.manual_seed(0)
        before = _flags()
        yield
        if _compiler_is_aside():
            gc.collect()  # a watch dropped without an end lets the compiler work once it is collected
        after = _flags()
    left = [hook for hooks in hooked for hook in hooks.values() if (hook.__module__ or "").startswith("gradscope")]
    assert not left, f"hooks left on modules: {left}"
    assert after == before


def _noting(register, attribute, hooked):
    def noted(self, *args, **kwargs):
        hooked.append(getattr(self, attribute))
        return register(self, *args, **kwargs)

    return noted
