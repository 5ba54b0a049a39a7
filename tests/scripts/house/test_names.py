"""Public names, whose docstring a method has, and names that are used twice."""

from __future__ import annotations

from scripts.house.names import public_names, used_twice
from scripts.house.source import module_of

PORT = '''
from typing import Protocol

class Bell(Protocol):
    def ring(self, times: int) -> None:
        """Rings it so many times."""

    def stop(self) -> None:
        """Stops it."""
'''
BRONZE = "class Bronze:\n    def ring(self, times): ...\n    def stop(self): ...\n"


def silent(*texts: str) -> list[str]:
    """The public names of modules ``a``, ``b``, ... that neither they nor a port explain."""
    modules = [module_of("abc"[at], text) for at, text in enumerate(texts)]
    return [
        one.name
        for one in public_names(modules)
        if not (one.has_docstring or one.explained_by_port)
    ]


def test_classes_functions_methods_and_properties_are_counted() -> None:
    text = "class A:\n    @property\n    def b(self): ...\ndef f(): ...\nasync def g(): ...\n"
    assert silent(text) == ["a:A", "a:A.b", "a:f", "a:g"]


def test_what_is_private_or_nested_and_constants_are_not() -> None:
    text = "X = 1\nclass _A:\n    def b(self): ...\ndef _f():\n    def g(): ...\n"
    assert silent(text + "class B:\n    '''B.'''\n    def _c(self): ...\n") == []


def test_a_test_says_it_by_its_name() -> None:
    text = "class A:\n    '''A.'''\n    def test_b(self): ...\ndef test_c(): ...\n"
    assert silent(text) == []


def test_overloads_and_setters_are_the_same_name_once() -> None:
    text = "class A:\n    '''A.'''\n    @property\n    def b(self): ...\n"
    text += "    @b.setter\n    def b(self, value): ...\n"
    assert silent(text) == ["a:A.b"]


def test_a_method_has_the_docstring_of_a_port_that_is_named_among_the_bases() -> None:
    assert silent(PORT, f"from a import Bell\n{BRONZE.replace('Bronze', 'Bronze(Bell)')}") == [
        "a:Bell",
        "b:Bronze",
    ]


def test_or_of_one_that_it_is_without_saying_so() -> None:
    assert silent(PORT, BRONZE) == ["a:Bell", "b:Bronze"]


def test_but_not_where_a_method_of_the_port_is_missing() -> None:
    half = "class Half:\n    def ring(self, times): ...\n"
    assert silent(PORT, half) == ["a:Bell", "b:Half", "b:Half.ring"]


def test_nor_where_a_parameter_has_another_name() -> None:
    other = BRONZE.replace("times", "loudness")
    assert "b:Bronze.ring" in silent(PORT, other)


def test_what_a_base_has_counts_for_being_a_port() -> None:
    rest = "class Rest:\n    '''R.'''\n    def stop(self):\n        '''Stops.'''\n"
    ringer = (
        "from b import Rest\nclass Ringer(Rest):\n    '''R.'''\n    def ring(self, times): ...\n"
    )
    assert silent(PORT, rest, ringer) == ["a:Bell"]


def test_a_port_is_found_through_the_face_of_its_folder() -> None:
    face = "from a import Bell as Chime\n"
    class_ = "from b import Chime\nclass Tin(Chime):\n    '''T.'''\n    def stop(self): ...\n"
    assert silent(PORT, face, class_) == ["a:Bell"]


def test_a_port_without_a_docstring_gives_none() -> None:
    bare = "class Port(Protocol):\n    '''P.'''\n    def go(self): ...\n"
    assert silent(bare, "class A:\n    '''A.'''\n    def go(self): ...\n") == [
        "a:Port.go",
        "b:A.go",
    ]


def test_a_class_name_in_two_modules_is_used_twice() -> None:
    modules = [module_of("a", "class Key: ..."), module_of("b", "class Key: ...\nclass Lock: ...")]
    assert used_twice(modules) == {"Key": ["a", "b"]}


def test_declared_pairs_and_private_names_may_be() -> None:
    text = "class Clock: ...\nclass _Key: ..."
    assert used_twice([module_of("a", text), module_of("b", text)]) == {}
