//! [`Exported`] serves the exported interfaces: it keeps the policy that `init` made and hands calls on to its traits. What a
//! panic says is logged, so that the host can tell it with the trap that follows.

use std::any::Any;
use std::cell::RefCell;
use std::panic;

use super::worlds::acknowledging::exports::cellm::policy::acknowledging;
use super::worlds::aggregating::exports::cellm::policy::aggregating;
use super::worlds::catching_up::exports::cellm::policy::catching_up;
use super::worlds::compressing::exports::cellm::policy::compressing;
use super::worlds::describing::exports::cellm::policy::describing;
use super::worlds::planning::exports::cellm::policy::planning;
use super::worlds::stepping::exports::cellm::policy::stepping;
use crate::{
    Acknowledging, Aggregator, CatchingUp, Compressor, Context, Description, Exported, Layout, LogLevel, Message,
    NamedOption, Options, Outcome, Planning, Policy, PolicyError, RoundInfo, Settings, Stepping, UpdateInfo, Vector,
    log,
};

thread_local! {
    static COMPRESSOR: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    static AGGREGATOR: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

fn compressor<P: Compressor, T>(work: impl FnOnce(&mut P) -> Result<T, PolicyError>) -> Result<T, PolicyError> {
    COMPRESSOR.with_borrow_mut(|state| on(state, work))
}

fn aggregator<P: Aggregator, T>(work: impl FnOnce(&mut P) -> Result<T, PolicyError>) -> Result<T, PolicyError> {
    AGGREGATOR.with_borrow_mut(|state| on(state, work))
}

fn on<P: 'static, T>(
    state: &mut Option<Box<dyn Any>>,
    work: impl FnOnce(&mut P) -> Result<T, PolicyError>,
) -> Result<T, PolicyError> {
    match state.as_mut().and_then(|state| state.downcast_mut()) {
        Some(policy) => work(policy),
        None => Err(PolicyError::Other("init comes first".into())),
    }
}

/// Lets a panic say its message and its place to the host. The first call of an instance is `describe` or an `init`.
fn tell_panics() {
    panic::set_hook(Box::new(|panic| log(LogLevel::Error, &panic.to_string())));
}

impl<P: Policy> describing::Guest for Exported<P> {
    fn describe() -> Description {
        tell_panics();
        P::describe()
    }
}

impl<P: Compressor> compressing::Guest for Exported<P> {
    fn init(layout: Layout, settings: compressing::Settings, options: Vec<NamedOption>) -> Result<(), PolicyError> {
        tell_panics();
        let settings = Settings { direction: settings.direction, bits: settings.bits };
        let policy = <P as Compressor>::new(layout, settings, &Options::new(options))?;
        COMPRESSOR.set(Some(Box::new(policy)));
        Ok(())
    }

    fn encode(context: Context, values: &Vector, start: &Vector, into: &Message) -> Result<(), PolicyError> {
        compressor(|policy: &mut P| policy.encode(&context, values, start, into))
    }

    fn decode(context: Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        compressor(|policy: &mut P| policy.decode(&context, message, start))
    }
}

impl<P: Planning> planning::Guest for Exported<P> {
    fn plan(context: Context, received: &Vector, start: &Vector) -> Result<planning::TrainingPlan, PolicyError> {
        let plan = compressor(|policy: &mut P| policy.plan(&context, received, start))?;
        Ok(planning::TrainingPlan { trainable: plan.trainable })
    }
}

impl<P: Acknowledging> acknowledging::Guest for Exported<P> {
    fn on_ack(context: Context, outcome: acknowledging::Outcome) {
        let outcome = match outcome {
            acknowledging::Outcome::Accepted => Outcome::Accepted,
            acknowledging::Outcome::Rejected => Outcome::Rejected,
        };
        let told = compressor(|policy: &mut P| {
            policy.on_ack(&context, outcome);
            Ok(())
        });
        // The hook has no typed error, and the host never calls it before `init`.
        assert!(told.is_ok(), "init comes first");
    }
}

impl<P: CatchingUp> catching_up::Guest for Exported<P> {
    fn encode_catch_up(context: Context, into: &Message) -> Result<bool, PolicyError> {
        compressor(|policy: &mut P| policy.encode_catch_up(&context, into))
    }

    fn decode_catch_up(context: Context, message: &Message) -> Result<(), PolicyError> {
        compressor(|policy: &mut P| policy.decode_catch_up(&context, message))
    }
}

impl<P: Aggregator> aggregating::Guest for Exported<P> {
    fn init(layout: Layout, options: Vec<NamedOption>) -> Result<(), PolicyError> {
        tell_panics();
        let policy = <P as Aggregator>::new(layout, &Options::new(options))?;
        AGGREGATOR.set(Some(Box::new(policy)));
        Ok(())
    }

    fn begin(round: aggregating::RoundInfo, base: &Vector) -> Result<(), PolicyError> {
        let aggregating::RoundInfo { round, rounds, seed, cohort } = round;
        aggregator(|policy: &mut P| policy.begin(&RoundInfo { round, rounds, seed, cohort }, base))
    }

    fn accept(update: &Vector, info: aggregating::UpdateInfo) -> Result<(), PolicyError> {
        let aggregating::UpdateInfo { client, examples, loss, norm, tier, rank } = info;
        let loss = Some(loss).filter(|loss| !loss.is_nan());
        aggregator(|policy: &mut P| policy.accept(update, &UpdateInfo { client, examples, loss, norm, tier, rank }))
    }

    fn finish() -> Result<Vector, PolicyError> {
        aggregator(|policy: &mut P| policy.finish())
    }
}

impl<P: Stepping> stepping::Guest for Exported<P> {
    fn step(round: u32, weights: &Vector, aggregate: &Vector) -> Result<Vector, PolicyError> {
        aggregator(|policy: &mut P| policy.step(round, weights, aggregate))
    }
}
