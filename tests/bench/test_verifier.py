"""The benchmark's verifier notices every way in which a delivery can go wrong."""

from hypothesis import given
from hypothesis import strategies as st

from chatbench.verifier import TOKEN_LENGTH, compare, make_token

SENT = [make_token(7, sender, number) for number in range(1, 4) for sender in "US"]


def check(user: list[bytes], support: list[bytes], sent: list[bytes] = SENT) -> list[str]:
    """What is wrong with what both got."""
    return compare(7, sent, {"User": user, "Support": support})


def test_a_token_names_the_chat_the_sender_and_the_number() -> None:
    assert make_token(7, "U", 12) == b"000007U00000012"
    assert {len(token) for token in SENT} == {TOKEN_LENGTH}


@given(st.permutations(SENT))
def test_any_order_is_well_if_both_have_it(order: list[bytes]) -> None:
    assert check(order, order) == []


def test_nothing_sent_and_nothing_got_is_well() -> None:
    assert check([], [], sent=[]) == []


@given(st.integers(0, len(SENT) - 1))
def test_a_loss_is_noticed(place: int) -> None:
    [found] = check(SENT, SENT[:place] + SENT[place + 1 :])
    assert "Support never got 1 of 6" in found
    assert SENT[place].decode() in found


def test_a_loss_on_both_sides_is_noticed() -> None:
    assert len(check(SENT[1:], SENT[1:])) == 2


@given(st.integers(0, len(SENT) - 1), st.integers(0, len(SENT)))
def test_a_double_is_noticed(which: int, where: int) -> None:
    [found] = check([*SENT[:where], SENT[which], *SENT[where:]], SENT)
    assert "User got twice 1 of 6" in found


@given(st.integers(0, len(SENT) - 2))
def test_a_swap_is_noticed(place: int) -> None:
    swapped = [*SENT[:place], SENT[place + 1], SENT[place], *SENT[place + 2 :]]
    [found] = check(SENT, swapped)
    assert f"message {place + 1} in a different order" in found


def test_a_message_of_another_chat_is_noticed() -> None:
    [found] = check([*SENT, make_token(8, "U", 1)], SENT)
    assert "nobody had sent" in found
    assert "000008U00000001" in found
