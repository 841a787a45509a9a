//! NAME: the mean of the updates, each clipped to a norm. This file is the policy: edit it, then `cellm plugin build`.

use cellm_plugin::{
    Aggregator, Capabilities, Description, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo, Vector, option,
};

/// The round under way. What later rounds are to know goes into the memory (`save`, `load`), never in here.
struct Idea {
    clip: f64,
    sum: Vector,
    updates: u32,
}

impl Policy for Idea {
    fn describe() -> Description {
        Description {
            name: "NAME".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of the updates, each scaled down to a norm of at most `clip`.".into(),
            capabilities: Capabilities::empty(),
            options: vec![option::number("clip", 0.0, "The largest norm of an update; 0 leaves all as they are.")],
        }
    }
}

impl Aggregator for Idea {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        Ok(Self { clip: options.number("clip")?, sum: Vector::new(layout.values), updates: 0 })
    }

    fn begin(&mut self, _: &RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        self.sum = Vector::new(self.sum.len());
        self.updates = 0;
        Ok(())
    }

    fn accept(&mut self, update: &Vector, _: &UpdateInfo) -> Result<(), PolicyError> {
        let norm = update.norm();
        let factor = if self.clip > 0.0 && norm > self.clip { self.clip / norm } else { 1.0 };
        self.sum.axpy(factor as f32, update);
        self.updates += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        if self.updates == 0 {
            return Err(PolicyError::NoUpdates);
        }
        let mean = self.sum.copy();
        mean.scale((1.0 / f64::from(self.updates)) as f32);
        Ok(mean)
    }
}

type Component = cellm_plugin::Exported<Idea>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests {
    use cellm_plugin::harness::{Adapter, Aggregation, update_info};

    use super::*;

    #[test]
    fn a_large_update_counts_no_more_than_the_clip() {
        let adapter = Adapter::lora(1, &[(2, 2)]);
        let mut aggregation = Aggregation::<Idea>::new(&adapter, &[("clip", 5.0.into())]).unwrap();
        let updates = [vec![30.0, 40.0, 0.0, 0.0], vec![1.0, 0.0, 0.0, 0.0]];
        let updates: Vec<_> = updates.into_iter().zip(0..).map(|(u, client)| (u.clone(), update_info(client, &u))).collect();
        for round in 1..3 {
            assert_eq!(aggregation.round(round, &adapter.start, &updates), Ok(vec![2.0, 2.0, 0.0, 0.0]));
        }
        assert_eq!(aggregation.round(3, &adapter.start, &[]), Err(PolicyError::NoUpdates));
    }
}
