"""What a policy in Python uses beside the generated bindings (`wit_world`), in the shape of the Rust SDK.

A policy is a class of yours with the hooks that it wants, and one line for each interface that the engine asks:

    Describing = cellm.describing(Idea)
    Compressing = cellm.compressing(Idea)

The engine makes a component of CPython with the policy imported: what happens at import happens once, at build time, and
imports must be at the top. There are no files, no clock, no `random` worth the name: the host lends seeded draws.
"""

from componentize_py_types import Err
from wit_world.imports import types
from wit_world.imports.types import (
    BadOption, Capabilities, Content, Context, Description, Direction, Layout, OptionInfo, OptionKind_Choice,
    OptionKind_Count, OptionKind_Flag, OptionKind_Number, OptionKind_Share, OptionValue_Flag, OptionValue_Integer,
    OptionValue_Number, OptionValue_Text, PolicyError_BadMessage, PolicyError_BadOption, PolicyError_NoUpdates,
    PolicyError_Other, Role, ValueCoding,
)
from wit_world.imports.host import Codes, IndexSet, Message, Vector
from wit_world.imports.host import forget, load, load_bytes, random_bits, save, save_bytes


# Options, for `describe`.

def share(name: str, default: float, about: str) -> OptionInfo:
    """A number above 0 and at most 1."""
    return OptionInfo(name, OptionKind_Share(), OptionValue_Number(default), about)


def number(name: str, default: float, about: str) -> OptionInfo:
    """Any finite number."""
    return OptionInfo(name, OptionKind_Number(), OptionValue_Number(default), about)


def count(name: str, default: int, about: str) -> OptionInfo:
    """An integer, 0 or above."""
    return OptionInfo(name, OptionKind_Count(), OptionValue_Integer(default), about)


def flag(name: str, default: bool, about: str) -> OptionInfo:
    """True or False."""
    return OptionInfo(name, OptionKind_Flag(), OptionValue_Flag(default), about)


def choice(name: str, words: list[str], about: str) -> OptionInfo:
    """One of these words; the first is the default."""
    return OptionInfo(name, OptionKind_Choice(words), OptionValue_Text(words[0]), about)


# Typed errors, to be raised: the instance stays usable.

def bad_option(name: str, found: object, allowed: str) -> Err:
    """Why an option that fits its kind is refused."""
    return Err(PolicyError_BadOption(BadOption(name, str(found), allowed)))


def bad_message(why: str) -> Err:
    """A message that does not fit the policy, its options or the layout."""
    return Err(PolicyError_BadMessage(why))


def no_updates() -> Err:
    """`finish` without a single update."""
    return Err(PolicyError_NoUpdates())


# What most compressors settle the same way.

def share_of(density: float, values: int) -> int:
    """How many of `values` values that is: rounded down, one at least, never more than all."""
    return min(values, max(1, int(density * values)))


def value_coding(bits: int) -> ValueCoding:
    """f16 for 16 bits, f32 for 32; other bits are a bad option."""
    if bits not in (16, 32):
        raise bad_option("bits", bits, "16 or 32")
    return ValueCoding.F16 if bits == 16 else ValueCoding.F32


# The interfaces. The engine's side makes a new object of these classes for each call, so the policy itself lives here.

_alive = {}


def _call(hook, *arguments):
    """Runs a hook; an exception of Python becomes a typed error that says where."""
    try:
        return hook(*arguments)
    except Err as error:
        if isinstance(error.value, str):  # from_list and dequantize say why in words alone
            raise Err(PolicyError_Other(error.value))
        raise
    except Exception as error:
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename.endswith("policy.py"):
                line = trace.tb_lineno
            trace = trace.tb_next
        raise Err(PolicyError_Other(f"policy.py, line {line}: {type(error).__name__}: {error}"))


def _start(interface, idea, *arguments):
    *before, options = arguments
    _alive[interface] = _call(idea, *before, {name: option.value for name, option in options})


def _ask(idea, interface, *hooks):
    """Refuses a class that lacks a hook: at import, which is when the component is made."""
    for hook in hooks:
        if not callable(getattr(idea, hook, None)):
            has = ", ".join(name for name in vars(idea) if not name.startswith("__")) or "nothing"
            raise TypeError(f"{idea.__name__} has no {hook}, which {interface} asks for; it has {has}")


def describing(idea):
    """For `idea.describe()`, a static method that gives a Description. It is asked once, when the component is made."""
    _ask(idea, "describing", "describe")
    described = idea.describe()

    class Describing:
        def describe(self):
            return described

    return Describing


def compressing(idea):
    """For `idea(layout, settings, options)`, `encode` and `decode`."""
    _ask(idea, "compressing", "encode", "decode")

    class Compressing:
        def init(self, layout, settings, options):
            _start("compressing", idea, layout, settings, options)

        def encode(self, context, values, start, into):
            _call(_alive["compressing"].encode, context, values, start, into)

        def decode(self, context, message, start):
            return _call(_alive["compressing"].decode, context, message, start)

    return Compressing


def planning(idea):
    """For `plan(context, received, start)`, which gives a TrainingPlan of `wit_world.exports.planning`."""
    _ask(idea, "planning", "plan")

    class Planning:
        def plan(self, context, received, start):
            return _call(_alive["compressing"].plan, context, received, start)

    return Planning


def acknowledging(idea):
    """For `on_ack(context, outcome)`."""
    _ask(idea, "acknowledging", "on_ack")

    class Acknowledging:
        def on_ack(self, context, outcome):
            try:
                _call(_alive["compressing"].on_ack, context, outcome)
            except Err as error:
                # The interface has no typed error here. A key that is too long ends the call, and is quoted.
                save_bytes(str(error.value.value).ljust(300), b"")

    return Acknowledging


def catching_up(idea):
    """For `encode_catch_up(context, into)` and `decode_catch_up(context, message)`."""
    _ask(idea, "catching-up", "encode_catch_up", "decode_catch_up")

    class CatchingUp:
        def encode_catch_up(self, context, into):
            return _call(_alive["compressing"].encode_catch_up, context, into)

        def decode_catch_up(self, context, message):
            _call(_alive["compressing"].decode_catch_up, context, message)

    return CatchingUp


def aggregating(idea):
    """For `idea(layout, options)`, `begin`, `accept` and `finish`."""
    _ask(idea, "aggregating", "begin", "accept", "finish")

    class Aggregating:
        def init(self, layout, options):
            _start("aggregating", idea, layout, options)

        def begin(self, round, base):
            _call(_alive["aggregating"].begin, round, base)

        def accept(self, update, info):
            _call(_alive["aggregating"].accept, update, info)

        def finish(self):
            return _call(_alive["aggregating"].finish)

    return Aggregating


def stepping(idea):
    """For `step(round, weights, aggregate)`."""
    _ask(idea, "stepping", "step")

    class Stepping:
        def step(self, round, weights, aggregate):
            return _call(_alive["aggregating"].step, round, weights, aggregate)

    return Stepping
