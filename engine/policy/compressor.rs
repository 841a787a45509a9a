//! A policy instance that encodes and decodes one direction's messages, and does what its optional hooks do.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Resource;

use super::bindings::cellm::policy::types::{self as wit, OptionKind, OptionValue};
use super::bindings::exports::cellm::policy::{acknowledging, catching_up, compressing, planning};
use super::component::Policy;
use super::context::Context;
use super::instance::{Fault, Instance, Outcome, lend, take_vector, typed};
use super::options::Given;
use super::resources::MessageParts;
use super::state::State;
use super::{Memory, PolicyError};
use crate::adapter::{AdapterLayout, Message};

/// A warm compressor. Not shared: each owner has its own. Every hook takes the memory of the participant at whose side
/// it runs; what the hook wrote is in it afterwards, or, if the hook failed, is not.
pub struct CompressorInstance {
    policy: Arc<Policy>,
    values: usize,
    instance: Instance,
    guest: compressing::Guest,
    planning: Option<planning::Guest>,
    acknowledging: Option<acknowledging::Guest>,
    catching_up: Option<catching_up::Guest>,
}

impl Policy {
    /// An instance, already initialized, that compresses one direction. `options_json` is an object with `direction`
    /// (download or upload), `bits` and the policy's own options.
    ///
    /// # Errors
    /// [`PolicyError::WrongWorld`] for a policy that does not compress; an option or a layout that it does not take; its
    /// breakdown in `init`.
    pub fn compressor(
        self: &Arc<Self>,
        layout: &Arc<AdapterLayout>,
        options_json: &str,
    ) -> Result<CompressorInstance, PolicyError> {
        CompressorInstance::new(self, layout, options_json)
    }
}

impl CompressorInstance {
    fn new(policy: &Arc<Policy>, layout: &AdapterLayout, options_json: &str) -> Result<Self, PolicyError> {
        let hooks = &policy.hooks;
        let mut given = Given::parse(&policy.name, options_json)?;
        let settings = settings(&mut given)?;
        let (policy_key, bits_key) = match settings.direction {
            wit::Direction::Download => ("download.policy", "download.bits"),
            wit::Direction::Upload => ("upload.policy", "upload.bits"),
        };
        let elsewhere = || policy.wrong_world(format!("compressor for {policy_key}"));
        let indices = hooks.compressing.as_ref().ok_or_else(elsewhere)?;
        let options = given.declared(&policy.declared)?;
        let wit_layout = policy.layout(layout)?;
        let mut instance = Instance::new(policy, layout.values())?;
        let (guest, planning, acknowledging, catching_up) = instance.bind(|store, instance| {
            Ok((
                indices.load(&mut *store, instance)?,
                hooks.planning.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
                hooks.acknowledging.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
                hooks.catching_up.as_ref().map(|hook| hook.load(&mut *store, instance)).transpose()?,
            ))
        })?;
        let init = instance.call("init", |store| typed(guest.call_init(store, &wit_layout, settings, &options)));
        init.map_err(|error| named_by(bits_key, error))?;
        let (policy, values) = (policy.clone(), layout.values());
        Ok(Self { policy, values, instance, guest, planning, acknowledging, catching_up })
    }

    /// Encodes `values` for the receiver. `start` is `W0`. Where the policy sends all values as they are, the message shares
    /// them.
    ///
    /// # Errors
    /// When the policy traps, returns an error or exceeds its limits, or its message breaks a rule.
    pub fn encode(
        &mut self,
        context: &Context,
        values: Arc<Vec<f32>>,
        start: Arc<Vec<f32>>,
        memory: &mut Memory,
    ) -> Result<Message, PolicyError> {
        self.check_length("encode", values.len())?;
        self.check_length("encode", start.len())?;
        let guest = &self.guest;
        let parts = self.instance.call_with("encode", memory, |store| {
            let (values, start) = (lend(store.data_mut(), values)?, lend(store.data_mut(), start)?);
            let message = store.data_mut().push(MessageParts::default())?;
            let (lent_values, lent_start) = (Resource::new_borrow(values.rep()), Resource::new_borrow(start.rep()));
            let into = Resource::new_borrow(message.rep());
            let done = guest.call_encode(&mut *store, context.for_policy(), lent_values, lent_start, into)?;
            let table = &mut store.data_mut().table;
            table.delete(values)?;
            table.delete(start)?;
            let parts = table.delete(message)?;
            Ok(done.map(|()| parts).map_err(Fault::from))
        })?;
        Ok(parts.finished())
    }

    /// The vector of all values of the layout that the receiver makes of a message; the message's own, where the policy
    /// changes nothing.
    ///
    /// # Errors
    /// When the policy traps, returns an error or exceeds its limits, or its vector has another length.
    pub fn decode(
        &mut self,
        context: &Context,
        message: Message,
        start: Arc<Vec<f32>>,
        memory: &mut Memory,
    ) -> Result<Arc<Vec<f32>>, PolicyError> {
        self.check_length("decode", start.len())?;
        let (guest, values) = (&self.guest, self.values);
        self.instance.call_with("decode", memory, |store| {
            let start = lend(store.data_mut(), start)?;
            let found = message.parts.len();
            let message = receive(store, message)?;
            let (lent_start, from) = (Resource::new_borrow(start.rep()), Resource::new_borrow(message.rep()));
            let done = guest.call_decode(&mut *store, context.for_policy(), from, lent_start)?;
            store.data_mut().table.delete(start)?;
            let taken = taken(store, message, found)?;
            let decoded = match done {
                Ok(decoded) => take_vector(store, decoded, values)?,
                Err(error) => Err(error.into()),
            };
            Ok(decoded.and_then(|decoded| taken.map(|()| decoded)))
        })
    }

    /// The coordinates that a client may train, increasing; none means all. Only a policy that [plans](Policy::plans)
    /// is asked; with others all are trained. `received` is the adapter that the client starts from.
    ///
    /// # Errors
    /// [`PolicyError::WrongSpace`] for coordinates of another space than the layout's; [`PolicyError::GivenLength`];
    /// else the policy's typed error, or its breakdown (trap, deadline or limit).
    pub fn plan(
        &mut self,
        context: &Context,
        received: Arc<Vec<f32>>,
        start: Arc<Vec<f32>>,
        memory: &mut Memory,
    ) -> Result<Option<Vec<u32>>, PolicyError> {
        self.check_length("plan", received.len())?;
        self.check_length("plan", start.len())?;
        let (Some(guest), expected) = (&self.planning, self.values) else { return Ok(None) };
        self.instance.call_with("plan", memory, |store| {
            let (received, start) = (lend(store.data_mut(), received)?, lend(store.data_mut(), start)?);
            let (lent_received, lent_start) = (Resource::new_borrow(received.rep()), Resource::new_borrow(start.rep()));
            let done = guest.call_plan(&mut *store, context.for_policy(), lent_received, lent_start)?;
            let table = &mut store.data_mut().table;
            table.delete(received)?;
            table.delete(start)?;
            let trainable = match done {
                Ok(plan) => plan.trainable,
                Err(error) => return Ok(Err(error.into())),
            };
            let Some(trainable) = trainable else { return Ok(Ok(None)) };
            let set = table.delete(trainable)?;
            let found = set.space as usize;
            Ok(if found == expected {
                Ok(Some(set.indices.into_vec()))
            } else {
                Err(Fault::WrongSpace { found, expected })
            })
        })
    }

    /// Tells the policy at the client how its upload ended. Nothing happens where the policy does not
    /// [want to know](Policy::acknowledges).
    ///
    /// # Errors
    /// The policy's typed error, or its breakdown (trap, deadline or limit).
    pub fn on_ack(&mut self, context: &Context, accepted: bool, memory: &mut Memory) -> Result<(), PolicyError> {
        let Some(guest) = &self.acknowledging else { return Ok(()) };
        let outcome = if accepted { acknowledging::Outcome::Accepted } else { acknowledging::Outcome::Rejected };
        self.instance.call_with("on-ack", memory, |store| {
            guest.call_on_ack(store, context.for_policy(), outcome)?;
            Ok(Ok(()))
        })
    }

    /// The message that brings a client up to date that missed rounds, made by the server; none where nothing is
    /// missing, or where the policy does not [catch up](Policy::catches_up).
    ///
    /// # Errors
    /// The policy's typed error, or its breakdown (trap, deadline or limit).
    pub fn encode_catch_up(&mut self, context: &Context, memory: &mut Memory) -> Result<Option<Message>, PolicyError> {
        let Some(guest) = &self.catching_up else { return Ok(None) };
        let parts = self.instance.call_with("encode-catch-up", memory, |store| {
            let message = store.data_mut().push(MessageParts::default())?;
            let into = Resource::new_borrow(message.rep());
            let done = guest.call_encode_catch_up(&mut *store, context.for_policy(), into)?;
            let parts = store.data_mut().table.delete(message)?;
            Ok(done.map(|needed| needed.then_some(parts)).map_err(Fault::from))
        })?;
        Ok(parts.map(MessageParts::finished))
    }

    /// Takes in what [`encode_catch_up`](Self::encode_catch_up) made, at the client. Nothing happens where the policy
    /// does not [care](Policy::catches_up).
    ///
    /// # Errors
    /// [`PolicyError::LeftOver`] for parts that the policy did not read;
    /// else the policy's typed error, or its breakdown (trap, deadline or limit).
    pub fn decode_catch_up(
        &mut self,
        context: &Context,
        message: Message,
        memory: &mut Memory,
    ) -> Result<(), PolicyError> {
        let Some(guest) = &self.catching_up else { return Ok(()) };
        self.instance.call_with("decode-catch-up", memory, |store| {
            let found = message.parts.len();
            let message = receive(store, message)?;
            let from = Resource::new_borrow(message.rep());
            let done = guest.call_decode_catch_up(&mut *store, context.for_policy(), from)?;
            let taken = taken(store, message, found)?;
            Ok(done.map_err(Fault::from).and(taken))
        })
    }

    /// True where a call broke the instance; its owner then makes a new one.
    pub fn poisoned(&self) -> bool {
        self.instance.poisoned()
    }

    /// The policy that it runs.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    fn check_length(&self, hook: &'static str, found: usize) -> Result<(), PolicyError> {
        if found == self.values {
            return Ok(());
        }
        Err(PolicyError::GivenLength { policy: self.policy.name.clone(), hook, found, expected: self.values })
    }
}

/// Bits are no option to the user but a key of the config.
fn named_by(bits_key: &'static str, error: PolicyError) -> PolicyError {
    match error {
        PolicyError::Option { policy, option, found, allowed } if option == "bits" => {
            PolicyError::Bits { policy, key: bits_key, found, allowed }
        }
        other => other,
    }
}

fn receive(store: &mut Store<State>, message: Message) -> wasmtime::Result<Resource<MessageParts>> {
    let received = MessageParts::received(message, &store.data().budget)?;
    store.data_mut().push(received)
}

/// Takes the message back; parts that are left over are a fault.
fn taken(store: &mut Store<State>, message: Resource<MessageParts>, found: usize) -> Outcome<()> {
    let left = store.data_mut().table.delete(message)?.left();
    Ok(if left == 0 { Ok(()) } else { Err(Fault::LeftOver { found, taken: found - left }) })
}

fn settings(given: &mut Given<'_>) -> Result<compressing::Settings, PolicyError> {
    let words = OptionKind::Choice(["download", "upload"].map(String::from).into());
    let direction = match given.setting("direction", words, OptionValue::Text("upload".into()))? {
        OptionValue::Text(word) if word == "download" => wit::Direction::Download,
        _ => wit::Direction::Upload,
    };
    let bits = match given.setting("bits", OptionKind::Count, OptionValue::Integer(32))? {
        OptionValue::Integer(bits) => u32::try_from(bits).unwrap_or(u32::MAX),
        _ => 32,
    };
    Ok(compressing::Settings { direction, bits })
}
