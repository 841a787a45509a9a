"""What a policy in Python uses beside the generated bindings (`wit_world`), in the shape of the Rust SDK.

A policy is a class of yours with the hooks that it wants, and one line for each interface that the engine asks:

    Describing = cellm.describing(Idea)
    Compressing = cellm.compressing(Idea)

The engine makes a component of CPython with the policy imported: what happens at import happens once, at build time, and
imports must be at the top. There are no files, no clock, no `random` worth the name: the host lends seeded draws.
"""

import sys
from array import array

from componentize_py_types import Err
from wit_world.imports import algebra, host, types
from wit_world.imports.types import (
    BadOption, Capabilities, Content, Context, Description, Direction, Layout, LogLevel, OptionInfo, OptionKind_Choice,
    OptionKind_Count, OptionKind_Flag, OptionKind_Number, OptionKind_Share, OptionValue_Flag, OptionValue_Integer,
    OptionValue_Number, OptionValue_Text, PolicyError_BadMessage, PolicyError_BadOption, PolicyError_NoUpdates,
    PolicyError_Other, Role, ValueCoding,
)
from wit_world.imports.host import Codes, IndexSet, Message, Vector


# Types. The border between Python and the engine ends a policy that hands over something of another type, without a word;
# so what goes there is looked at before.

# Whole numbers have 32 bits but for these arguments.
_BITS = {"bits": 8, "seed": 64, "number": 64, "first": 64}


def _amiss(value, kind, name, own):
    """What is wrong with a value of an argument, in words; nothing if it fits."""
    if kind is int:
        bits = _BITS.get(name, 32)
        if isinstance(value, int) and not 0 <= value < 1 << bits:
            return f"{name} is {value}, it must be at least 0 and have at most {bits} bits"
        fits = isinstance(value, int)
    elif kind is float:
        fits = isinstance(value, (int, float))
    elif kind is str:
        if isinstance(value, str) and not value.isascii() and value.encode("utf-8", "replace").decode() != value:
            return f"{name} is no text of Unicode"
        fits = isinstance(value, str)
    elif isinstance(kind, type) and not getattr(kind, "__args__", None):
        fits = isinstance(value, kind)
    elif "Self" in str(kind) and not str(kind).startswith("typing.List"):
        kind, fits = own, isinstance(value, own)
    else:
        return _amiss_in(value, str(kind), name, own)
    return None if fits else f"{name} is of type {type(value).__name__}, expected {kind.__name__}"


def _amiss_in(values, kind, name, own):
    """The same for a list."""
    if not isinstance(values, list):
        return f"{name} is of type {type(values).__name__}, expected list"
    code = "I" if "[int]" in kind else "f" if "[float]" in kind else None
    if code is None:
        wrong = next((value for value in values if not isinstance(value, own)), None)
        return None if wrong is None else f"{name} has a {type(wrong).__name__}, expected {own.__name__}s"
    try:
        array(code, values)
    except (TypeError, OverflowError) as error:
        return f"{name}: {error}"
    return None


def _guarded(function, own=None):
    """A function of the engine that raises a TypeError where an argument is of another type."""
    plain = getattr(function, "__func__", function)
    names = plain.__code__.co_varnames[:plain.__code__.co_argcount]
    kinds = {name: kind for name, kind in plain.__annotations__.items() if name != "return"}
    called = own.__name__ if plain.__name__ == "__init__" else plain.__name__

    def checked(*given, **named):
        for name, value in (*zip(names, given), *named.items()):
            if name in kinds and (wrong := _amiss(value, kinds[name], name, own)):
                raise TypeError(f"{called}: {wrong}")
        return plain(*given, **named)

    return classmethod(checked) if isinstance(function, classmethod) else checked


for _of in (Codes, IndexSet, Message, Vector):
    for _name, _function in list(vars(_of).items()):
        if _name == "__init__" or not _name.startswith("_"):
            setattr(_of, _name, _guarded(_function, _of))
for _of, _names in (
    (host, ("forget", "load", "load_bytes", "log", "random_bits", "save", "save_bytes")),
    (algebra, ("matmul", "svd_of_product", "row_norms", "column_norms", "scale_rows", "scale_columns")),
):
    for _name in _names:
        setattr(_of, _name, _guarded(getattr(_of, _name)))

from wit_world.imports.host import forget, load, load_bytes, log, random_bits, save, save_bytes  # guarded by now


def _expect(what, value, *kinds):
    """Refuses what a hook gives, or a declaration has, if it is of another type."""
    if not isinstance(value, kinds):
        expected = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise TypeError(f"{what} is of type {type(value).__name__}, expected {expected}")
    return value


# Options, for `describe`.

def _option(name, kind, default, about):
    _expect("the name of an option", name, str)
    return OptionInfo(name, kind, default, _expect(f"what option {name} is about", about, str))


def _default(name, value, *kinds):
    return _expect(f"the default of option {name}", value, *kinds)


def share(name: str, default: float, about: str) -> OptionInfo:
    """A number above 0 and at most 1."""
    return _option(name, OptionKind_Share(), OptionValue_Number(_default(name, default, int, float)), about)


def number(name: str, default: float, about: str) -> OptionInfo:
    """Any finite number."""
    return _option(name, OptionKind_Number(), OptionValue_Number(_default(name, default, int, float)), about)


def count(name: str, default: int, about: str) -> OptionInfo:
    """An integer, 0 or above."""
    return _option(name, OptionKind_Count(), OptionValue_Integer(_default(name, default, int)), about)


def flag(name: str, default: bool, about: str) -> OptionInfo:
    """True or False."""
    return _option(name, OptionKind_Flag(), OptionValue_Flag(_default(name, default, bool)), about)


def choice(name: str, words: list[str], about: str) -> OptionInfo:
    """One of these words; the first is the default."""
    words = [_default(name, word, str) for word in words]
    return _option(name, OptionKind_Choice(words), OptionValue_Text(words[0]), about)


# Typed errors, to be raised: the instance stays usable.

def bad_option(name: str, found: object, allowed: str) -> Err:
    """Why an option that fits its kind is refused."""
    return Err(PolicyError_BadOption(BadOption(str(name), str(found), str(allowed))))


def bad_message(why: str) -> Err:
    """A message that does not fit the policy, its options or the layout."""
    return Err(PolicyError_BadMessage(str(why)))


def no_updates() -> Err:
    """`finish` without a single update."""
    return Err(PolicyError_NoUpdates())


# What most compressors settle the same way.

def share_of(density: float, values: int) -> int:
    """How many of `values` values that is: rounded down, one at least, never more than all."""
    return min(values, max(1, int(density * values * (1.0 + 1e-12))))  # 0.29 of 100 is 28.999999999999996, and 29 is meant


def value_coding(bits: int) -> ValueCoding:
    """f16 for 16 bits, f32 for 32; other bits are a bad option."""
    if bits not in (16, 32):
        raise bad_option("bits", bits, "16 or 32")
    return ValueCoding.F16 if bits == 16 else ValueCoding.F32


# What is printed becomes lines of the engine's log.

class _Printed:
    encoding = "utf-8"

    def __init__(self, level):
        self.level, self.line = level, ""

    def write(self, text):
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            self._say(line)
        return len(text)

    def _say(self, line):
        if line.strip():
            log(self.level, line.encode("utf-8", "replace").decode())

    def end(self):
        """Says what no line end came after."""
        line, self.line = self.line, ""
        self._say(line)

    def flush(self):
        pass

    def writable(self):
        return True

    def isatty(self):
        return False


# The interfaces. The engine's side makes a new object of these classes for each call, so the policy itself lives here.

_alive = {}
_streams = []


def _where(error):
    """`policy.py, line 7, called from line 3`, as far as the file is part of it."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith("policy.py"):
            lines.insert(0, f"line {trace.tb_lineno}")
        trace = trace.tb_next
    return "policy.py, " + ", called from ".join(lines[:3]) if lines else "policy.py"


def _call(hook, *arguments, gives=()):
    """Runs a hook; an exception of Python, and a result that is none of the types that it gives, become a typed error that
    says where."""
    try:
        result = hook(*arguments)
    except Err as error:
        if type(error.value).__name__.startswith("PolicyError_"):
            raise
        raise Err(PolicyError_Other(f"{error.value}"))  # from_list and dequantize say why in words alone
    except BaseException as error:
        raise Err(PolicyError_Other(f"{_where(error)}: {type(error).__name__}: {error}"))
    finally:
        for stream in _streams:
            stream.end()
    if gives:
        _expected(hook, "its result", result, *gives)
    return result


def _expected(hook, what, value, *kinds):
    try:
        _expect(what, value, *kinds)
    except TypeError as error:
        line = getattr(hook, "__code__", _call.__code__).co_firstlineno
        raise Err(PolicyError_Other(f"policy.py, line {line}: {hook.__name__}: {error}"))


def _start(interface, idea, *arguments):
    _streams[:] = sys.stdout, sys.stderr = _Printed(LogLevel.INFO), _Printed(LogLevel.WARN)
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
    described = _expect("what describe gives", idea.describe(), Description)
    kinds = {"name": str, "version": str, "about": str, "capabilities": Capabilities, "options": list}
    for field, kind in kinds.items():
        _expect(f"the {field} of the Description", getattr(described, field), kind)
    for option in described.options:
        _expect("an option of the Description", option, OptionInfo)

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
            return _call(_alive["compressing"].decode, context, message, start, gives=(Vector,))

    return Compressing


def planning(idea):
    """For `plan(context, received, start)`, which gives a TrainingPlan of `wit_world.exports.planning`."""
    _ask(idea, "planning", "plan")
    from wit_world.exports.planning import TrainingPlan

    class Planning:
        def plan(self, context, received, start):
            hook = _alive["compressing"].plan
            plan = _call(hook, context, received, start, gives=(TrainingPlan,))
            _expected(hook, "trainable of its result", plan.trainable, IndexSet, type(None))
            return plan

    return Planning


def acknowledging(idea):
    """For `on_ack(context, outcome)`."""
    _ask(idea, "acknowledging", "on_ack")

    class Acknowledging:
        def on_ack(self, context, outcome):
            try:
                _call(_alive["compressing"].on_ack, context, outcome)
            except Err as error:
                # The interface has no typed error here: this ends the call, and the engine tells the last error with it.
                log(LogLevel.ERROR, str(error.value.value))
                raise

    return Acknowledging


def catching_up(idea):
    """For `encode_catch_up(context, into)` and `decode_catch_up(context, message)`."""
    _ask(idea, "catching-up", "encode_catch_up", "decode_catch_up")

    class CatchingUp:
        def encode_catch_up(self, context, into):
            return _call(_alive["compressing"].encode_catch_up, context, into, gives=(bool,))

        def decode_catch_up(self, context, message):
            _call(_alive["compressing"].decode_catch_up, context, message)

    return CatchingUp


def aggregating(idea):
    """For `idea(layout, options)`, `begin`, `accept` and `finish`. A loss that is not known is None in `info.loss`."""
    _ask(idea, "aggregating", "begin", "accept", "finish")

    class Aggregating:
        def init(self, layout, options):
            _start("aggregating", idea, layout, options)

        def begin(self, round, base):
            _call(_alive["aggregating"].begin, round, base)

        def accept(self, update, info):
            if info.loss != info.loss:
                info.loss = None
            _call(_alive["aggregating"].accept, update, info)

        def finish(self):
            return _call(_alive["aggregating"].finish, gives=(Vector,))

    return Aggregating


def stepping(idea):
    """For `step(round, weights, aggregate)`."""
    _ask(idea, "stepping", "step")

    class Stepping:
        def step(self, round, weights, aggregate):
            return _call(_alive["aggregating"].step, round, weights, aggregate, gives=(Vector,))

    return Stepping
