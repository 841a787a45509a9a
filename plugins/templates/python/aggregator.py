"""NAME: the mean of the updates, each clipped to a norm. This file is the policy: edit it, then `cellm plugin build`."""

import cellm
from cellm import Capabilities, Description, Vector


class Idea:
    @staticmethod
    def describe() -> Description:
        options = [cellm.number("clip", 0.0, "The largest norm of an update; 0 leaves all as they are.")]
        about = "The mean of the updates, each scaled down to a norm of at most `clip`."
        return Description("NAME", "0.1.0", about, Capabilities(0), options)

    def __init__(self, layout, options):
        self.values = layout.values  # P, the number of adapter values
        self.clip = options["clip"]

    def begin(self, round, base: Vector) -> None:
        self.sum, self.updates = Vector(self.values), 0

    def accept(self, update: Vector, info) -> None:
        norm = update.norm()
        self.sum.axpy(self.clip / norm if 0.0 < self.clip < norm else 1.0, update)
        self.updates += 1

    def finish(self) -> Vector:
        if self.updates == 0:
            raise cellm.no_updates()
        mean = self.sum.copy()
        mean.scale(1.0 / self.updates)
        return mean


Describing = cellm.describing(Idea)
Aggregating = cellm.aggregating(Idea)
