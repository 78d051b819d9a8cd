"""Tests of definitions in code: the newer one of two stands."""

from eventq.core.definitions import Definition, adopted, hash_of


def test_hash_goes_by_content_and_not_by_its_order() -> None:
    """The same content in another order is the same definition."""
    one = hash_of({"running": 3, "per": "host"})

    assert one == hash_of({"per": "host", "running": 3})
    assert one != hash_of({"per": "host", "running": 4})


def test_the_first_definition_stands() -> None:
    """Nothing stood before."""
    assert adopted(None, "a", 2) == Definition("a", 2)


def test_a_changed_definition_replaces_the_one_that_stands() -> None:
    """The hash of the one that stood is kept with those before it."""
    known = Definition("b", 0, ("a",))

    assert adopted(known, "c") == Definition("c", 0, ("a", "b"))


def test_the_definition_that_stands_changes_nothing() -> None:
    """Also where its version is not told, or lower."""
    known = Definition("b", 2, ("a",))

    assert adopted(known, "b", 2) == "same"
    assert adopted(known, "b") == "same"


def test_a_replaced_definition_does_not_come_back() -> None:
    """Older code that starts later has to do nothing, whatever it was compared with."""
    known = Definition("b", 0, ("a",))

    assert adopted(known, "a") == "older"


def test_of_a_lower_version_even_an_unknown_definition_is_older() -> None:
    """A version orders definitions that never met."""
    assert adopted(Definition("b", 2), "c", 1) == "older"


def test_a_higher_version_brings_a_replaced_definition_back() -> None:
    """A rollback is said so: its hash is no longer among the replaced ones."""
    known = Definition("b", 0, ("a",))

    assert adopted(known, "a", 1) == Definition("a", 1, ("b",))


def test_a_higher_version_of_the_same_definition_is_recorded() -> None:
    """What stands is as before, but nothing of a lower version comes back."""
    assert adopted(Definition("b", 0, ("a",)), "b", 1) == Definition("b", 1, ("a",))
