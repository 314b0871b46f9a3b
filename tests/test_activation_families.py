from gradscope.activation_families import FAMILIES, family_of
from gradscope.activations import TABLE


def test_members_are_activations_and_belong_to_one_family():
    members = [name for family in FAMILIES.values() for name in family]
    assert len(set(members)) == len(members) == 9
    assert set(members) <= set(TABLE)


def test_family_of_a_name_with_parameters_and_of_a_stranger():
    assert family_of("gelu(approximate=tanh)") == family_of("relu") == "relu-like"
    assert family_of("softsign") == family_of("sigmoid") == "sigmoid-like"
    assert family_of("none") is family_of("mine.acts:relu") is family_of("logsigmoid") is None
