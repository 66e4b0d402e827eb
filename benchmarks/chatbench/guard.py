"""The guard: a short run for CI that fails only when a message has become grossly more expensive."""

from chatbench.options import Options
from chatbench.peers import FASTAPI, OURS
from chatbench.result import Result

ROUNDS = 3
SECONDS = 1.5
CHATS = 50
"""So few that nobody waits for seconds, however busy the machine is."""

LIMIT = 0.25
"""Most that our CPU a message may be of FastAPI's, as the median of the rounds. The same code differs by 40 % between
runs on a busy machine, so the limit is three times what was measured (0.04 to 0.08): only a mistake gets over it."""


def guarded(options: Options) -> Options:
    """The short run."""
    options.rounds, options.seconds, options.chats = ROUNDS, SECONDS, CHATS
    options.peers, options.parts, options.rates = [OURS, FASTAPI], ["load"], []
    return options


def verdict(result: Result) -> tuple[bool, str]:
    """Whether it is well, and the line that says so."""
    ratio = result.ratio(FASTAPI, "cpu_us")
    if ratio is None:
        return False, "guard: nothing was measured"
    text = (
        f"guard: a message costs {ratio.median:.2f} of FastAPI's CPU "
        f"[{ratio.low:.2f}-{ratio.high:.2f} in {ratio.rounds} rounds], the limit is {LIMIT:g}"
    )
    return ratio.median <= LIMIT, text
