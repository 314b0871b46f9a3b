"""The rules, one failure mode a file."""

from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.common_mode import CommonMode
from gradscope.rules.dead_layer import DeadLayer
from gradscope.rules.dead_units import DeadUnits
from gradscope.rules.diverging_loss import DivergingLoss
from gradscope.rules.exploding_gradient import ExplodingGradient
from gradscope.rules.frozen_weights import FrozenWeights
from gradscope.rules.identical_units import IdenticalUnits
from gradscope.rules.non_finite import NonFinite
from gradscope.rules.output_collapse import OutputCollapse
from gradscope.rules.oversized_updates import OversizedUpdates
from gradscope.rules.saturation import Saturation
from gradscope.rules.stuck_at_chance import StuckAtChance
from gradscope.rules.unscaled_input import UnscaledInput
from gradscope.rules.vanishing_gradient import VanishingGradient

RULES: tuple[type[Rule], ...] = (
    DeadUnits,
    DeadLayer,
    OutputCollapse,
    Saturation,
    VanishingGradient,
    ExplodingGradient,
    NonFinite,
    CommonMode,
    IdenticalUnits,
    FrozenWeights,
    OversizedUpdates,
    StuckAtChance,
    DivergingLoss,
    UnscaledInput,
)

__all__ = ["RULES", "CannotTell", "Case", "Judgement", "Observation", "Rule"]
