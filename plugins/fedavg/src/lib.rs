//! `fedavg`: the weighted mean of the cohort's updates (McMahan et al. 2017), summed in the order of acceptance.
//!
//! `mean = participants` divides every coordinate by the weight of the whole cohort; `mean = contributors` divides it by the
//! weight of those clients whose update is not zero there, so that sparse updates are not shrunk by who did not send.

use cellm_plugin::mean::{Mean, Weighting};
use cellm_plugin::{
    Aggregator, Capabilities, Description, Layout, Options, Policy, PolicyError, RoundInfo, UpdateInfo, Vector, option,
};

struct FedAvg {
    values: u32,
    weighting: Weighting,
    mean: Mean,
    /// The sum of the weights of each coordinate's contributors, where the mean is theirs.
    contributed: Option<Vector>,
}

impl Policy for FedAvg {
    fn describe() -> Description {
        Description {
            name: "fedavg".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of the updates, summed in cohort order.".into(),
            capabilities: Capabilities::SECURE_AGGREGATION_OK,
            options: vec![
                Weighting::option(),
                option::choice(
                    "mean",
                    &["participants", "contributors"],
                    "Over the whole cohort, or for each value over the clients whose update is not zero there.",
                ),
            ],
        }
    }
}

impl Aggregator for FedAvg {
    fn new(layout: Layout, options: &Options) -> Result<Self, PolicyError> {
        let of_contributors = options.text("mean")? == "contributors";
        Ok(Self {
            values: layout.values,
            weighting: Weighting::of(options)?,
            mean: Mean::default(),
            contributed: of_contributors.then(|| Vector::new(layout.values)),
        })
    }

    fn begin(&mut self, _: &RoundInfo, _: &Vector) -> Result<(), PolicyError> {
        self.mean = Mean::default();
        if let Some(contributed) = &mut self.contributed {
            *contributed = Vector::new(self.values);
        }
        Ok(())
    }

    fn accept(&mut self, update: &Vector, info: &UpdateInfo) -> Result<(), PolicyError> {
        let weight = self.weighting.weight(info);
        self.mean.add(weight, update);
        match (&self.contributed, self.weighting) {
            (None, _) => {}
            (Some(contributed), Weighting::Uniform) => contributed.count_nonzero(update),
            (Some(contributed), Weighting::Examples) => {
                let here = Vector::new(self.values);
                here.count_nonzero(update);
                contributed.axpy(weight as f32, &here);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Vector, PolicyError> {
        let Some(contributed) = &self.contributed else { return self.mean.take() };
        let sum = self.mean.take_sum()?;
        sum.divide(contributed);
        Ok(sum)
    }
}

type Component = cellm_plugin::Exported<FedAvg>;
cellm_plugin::export_aggregator!(Component);

#[cfg(test)]
mod tests {
    use cellm_plugin::OptionValue;
    use cellm_plugin::harness::{Adapter, Aggregation, update_info};

    use super::*;

    /// Aggregates two updates that overlap in one value; the second client has three times the examples.
    fn mean(options: &[(&str, OptionValue)]) -> Vec<f32> {
        let adapter = Adapter::lora(1, &[(2, 2)]);
        let mut aggregation = Aggregation::<FedAvg>::new(&adapter, options).unwrap();
        let (one, two) = (vec![1.0, 2.0, 0.0, 0.0], vec![3.0, 0.0, 4.0, 0.0]);
        let (info_one, mut info_two) = (update_info(0, &one), update_info(1, &two));
        info_two.examples = info_one.examples * 3;
        let updates = [(one, info_one), (two, info_two)];
        let first = aggregation.round(1, &adapter.start, &updates).unwrap();
        assert_eq!(aggregation.round(2, &adapter.start, &updates), Ok(first.clone()), "a round leaves nothing behind");
        first
    }

    #[test]
    fn the_mean_is_over_the_cohort_unless_over_contributors() {
        assert_eq!(mean(&[]), [2.0, 1.0, 2.0, 0.0]);
        assert_eq!(mean(&[("mean", "contributors".into())]), [2.0, 2.0, 4.0, 0.0]);
    }

    #[test]
    fn examples_weigh_in_both_means() {
        let by_examples = ("weighting", "examples".into());
        assert_eq!(mean(std::slice::from_ref(&by_examples)), [2.5, 0.5, 3.0, 0.0]);
        assert_eq!(mean(&[by_examples, ("mean", "contributors".into())]), [2.5, 2.0, 4.0, 0.0]);
    }

    #[test]
    fn without_updates_or_examples_there_is_no_mean() {
        let adapter = Adapter::lora(1, &[(2, 2)]);
        let mut aggregation = Aggregation::<FedAvg>::new(&adapter, &[("weighting", "examples".into())]).unwrap();
        assert_eq!(aggregation.round(1, &adapter.start, &[]), Err(PolicyError::NoUpdates));
        let mut info = update_info(0, &adapter.start);
        info.examples = 0;
        assert!(aggregation.round(1, &adapter.start, &[(adapter.start.clone(), info)]).is_err());
    }
}
