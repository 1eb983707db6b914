"""What passes through the hooks holds no truth."""

from priprune_plugins.messages import Observation


def test_an_observation_holds_no_truth_unless_the_host_grants_it() -> None:
    fields = Observation.__dataclass_fields__
    assert not fields.keys() & {"shared", "images", "batches", "truth"}
    assert (fields["start"].default, fields["labels"].default) == (None, None)
