"""What a listener hears, and how often."""

from edgenas.engine.events import Event, Note, noting, without


def test_what_was_said_is_not_said_a_second_time_and_a_third_time_it_is() -> None:
    heard: list[Event] = []
    tell = noting(without(heard.append, {"board a: a board"}))
    for text in ("board a: a board", "warning: board a is away", "board a: a board"):
        tell(text)
    assert heard == [Note("warning: board a is away"), Note("board a: a board")]
