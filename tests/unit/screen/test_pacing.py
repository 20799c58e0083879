"""What is drawn waits for what was drawn before to be on the terminal."""

from __future__ import annotations

from pytracer.screen.pacing import PATIENCE, Pacer


def test_the_next_frame_waits_for_the_answer_to_the_last_one():
    pacer = Pacer()
    assert pacer.is_ready(0.0)
    pacer.add_query(0.0)
    assert pacer.is_ready(0.5)  # nobody knows yet whether this terminal answers
    pacer.add_query(0.5)
    pacer.add_answer()
    assert not pacer.is_ready(1.0)
    pacer.add_answer()
    assert pacer.is_ready(1.5)


def test_a_terminal_that_never_answers_is_not_waited_for():
    pacer = Pacer()
    assert [pacer.add_query(float(number)) for number in range(10)] == [True] * 8 + [False] * 2
    assert pacer.is_ready(11.0)
    assert not pacer.is_waiting


def test_an_answer_that_is_lost_is_given_up():
    pacer = Pacer()
    pacer.add_query(0.0)
    pacer.add_answer()
    pacer.add_query(1.0)
    assert not pacer.is_ready(PATIENCE)
    assert pacer.is_ready(PATIENCE + 1.1)
    pacer.add_answer()  # it comes after all
    assert pacer.pending == 0
