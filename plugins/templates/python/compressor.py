"""NAME: sends the values of largest magnitude. This file is the policy: edit it, then `cellm plugin build`."""

from componentize_py_types import Err
from wit_world.imports import types
from wit_world.imports.host import Message, Vector
from wit_world.imports.types import Capabilities, Content, Context, OptionInfo, OptionKind_Share, OptionValue_Number, ValueCoding


class Describing:
    def describe(self) -> types.Description:
        about = "Factor on the density after every round."
        options = [OptionInfo("decay", OptionKind_Share(), OptionValue_Number(1.0), about)]
        gains = Capabilities.GAINS_FROM_ERROR_FEEDBACK
        return types.Description("NAME", "0.1.0", "Sends the values of largest magnitude.", gains, options)


class Compressing:
    def init(self, layout, settings, options) -> None:
        self.values = layout.values  # P, the number of adapter values
        self.decay = {name: option.value for name, option in options}["decay"]
        if settings.bits not in (16, 32):
            raise Err(types.PolicyError_BadOption(types.BadOption("bits", str(settings.bits), "16 or 32")))
        self.coding = ValueCoding.F16 if settings.bits == 16 else ValueCoding.F32

    def kept(self, context: Context) -> int:
        """How many values travel in this round: encoder and decoder see the same context."""
        density = context.density * self.decay ** (context.round - 1)
        return min(self.values, max(1, int(density * self.values)))

    def encode(self, context: Context, values: Vector, start: Vector, into: Message) -> None:
        ranked = values.copy()
        if context.content == Content.WEIGHTS:  # what is not sent falls back to the start, so rank what moved
            ranked.axpy(-1.0, start)
        chosen = ranked.top_k(0, self.values, self.kept(context))
        into.put_indices(chosen)
        into.put_values(self.coding, values.gather(chosen))

    def decode(self, context: Context, message: Message, start: Vector) -> Vector:
        chosen = message.take_indices(self.values)
        if chosen.count() != self.kept(context):
            raise Err(types.PolicyError_BadMessage(f"{chosen.count()} indices found, {self.kept(context)} expected"))
        sent = message.take_values(self.coding, chosen.count())
        decoded = start.copy() if context.content == Content.WEIGHTS else Vector(self.values)
        decoded.scatter(chosen, sent)
        return decoded
