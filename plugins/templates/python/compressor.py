"""NAME: sends the values of largest magnitude. This file is the policy: edit it, then `cellm plugin build`."""

import cellm
from cellm import Capabilities, Content, Context, Description, Message, Vector


class Idea:
    @staticmethod
    def describe() -> Description:
        options = [cellm.share("decay", 1.0, "Factor on the density after every round.")]
        gains = Capabilities.GAINS_FROM_ERROR_FEEDBACK
        return Description("NAME", "0.1.0", "Sends the values of largest magnitude.", gains, options)

    def __init__(self, layout, settings, options):
        self.values = layout.values  # P, the number of adapter values
        self.coding = cellm.value_coding(settings.bits)
        self.decay = options["decay"]

    def kept(self, context: Context) -> int:
        """How many values travel in this round: encoder and decoder see the same context."""
        return cellm.share_of(context.density * self.decay ** (context.round - 1), self.values)

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
            raise cellm.bad_message(f"{chosen.count()} indices found, {self.kept(context)} expected")
        sent = message.take_values(self.coding, chosen.count())
        decoded = start.copy() if context.content == Content.WEIGHTS else Vector(self.values)
        decoded.scatter(chosen, sent)
        return decoded


Describing = cellm.describing(Idea)
Compressing = cellm.compressing(Idea)
