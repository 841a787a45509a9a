//! `fedavg`: the weighted mean of the cohort's updates (McMahan et al. 2017), summed in the order of acceptance.

mod bindings {
    wit_bindgen::generate!({ world: "aggregator", path: "../../wit" });
}

use std::cell::RefCell;

use bindings::cellm::policy::host::Vector;
use bindings::cellm::policy::types::{
    Description, Layout, NamedOption, OptionInfo, OptionKind, OptionValue, PolicyError,
};
use bindings::exports::cellm::policy::aggregating::{Guest as Aggregating, UpdateInfo};
use bindings::exports::cellm::policy::describing::Guest as Describing;

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State { values: 0, by_examples: false, sum: None, weight: 0.0 }) };
}

struct State {
    values: u32,
    by_examples: bool,
    /// The weighted sum so far; none before the first update of a round.
    sum: Option<Vector>,
    /// The sum of the weights so far.
    weight: f64,
}

struct FedAvg;

impl Describing for FedAvg {
    fn describe() -> Description {
        Description {
            name: "fedavg".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "The mean of the updates, summed in cohort order.".into(),
            options: vec![OptionInfo {
                name: "weighting".into(),
                kind: OptionKind::Choice(["uniform", "examples"].map(String::from).into()),
                default: OptionValue::Text("uniform".into()),
                about: "`uniform` counts every client once, `examples` by its number of training examples.".into(),
            }],
        }
    }
}

impl Aggregating for FedAvg {
    fn init(layout: Layout, options: Vec<NamedOption>) -> Result<(), PolicyError> {
        STATE.with_borrow_mut(|state| {
            state.values = layout.values;
            state.by_examples =
                options.iter().any(|(_, value)| matches!(value, OptionValue::Text(word) if word == "examples"));
        });
        Ok(())
    }

    fn begin(_round: u32) -> Result<(), PolicyError> {
        STATE.with_borrow_mut(|state| {
            state.sum = None;
            state.weight = 0.0;
        });
        Ok(())
    }

    fn accept(update: &Vector, info: UpdateInfo) -> Result<(), PolicyError> {
        STATE.with_borrow_mut(|state| {
            let weight = if state.by_examples { info.examples as f64 } else { 1.0 };
            let sum = state.sum.get_or_insert_with(|| Vector::new(state.values));
            sum.axpy(weight as f32, update);
            state.weight += weight;
        });
        Ok(())
    }

    fn finish() -> Result<Vector, PolicyError> {
        STATE.with_borrow_mut(|state| {
            let sum = state.sum.take().ok_or(PolicyError::NoUpdates)?;
            if state.weight == 0.0 {
                return Err(PolicyError::Other("no client has a training example to be weighted by".into()));
            }
            sum.scale((1.0 / state.weight) as f32);
            Ok(sum)
        })
    }
}

bindings::export!(FedAvg with_types_in bindings);
