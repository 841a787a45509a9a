//! The work of one compressor on its blocking thread, at the server's side and at a client's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::reference::ReferenceError;
use super::{Codec, CompressorError, Occasion, Plans, Reference, Tracker};
use crate::metrics::Metrics;
use crate::policy::Memory;
use crate::wire::Frame;

/// A tier's broadcast: the frame, and the values that a client decodes from it.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// The frame.
    pub frame: Frame,
    /// The values that a client starts from. Where clients decode with their own memory, those of a client that comes
    /// first.
    pub values: Arc<Vec<f32>>,
    /// The tracker with this broadcast in it.
    pub tracker: Option<Tracker>,
    /// The server's memory after encoding.
    pub memory: Memory,
}

/// A client's encoded upload.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The frame.
    pub frame: Frame,
    /// The values that the message left out, with error feedback.
    pub residual: Option<Arc<Vec<f32>>>,
    /// The client's memory after encoding.
    pub memory: Memory,
}

/// A frame for a client that missed rounds, and the server's memory after making it; none where it needs nothing.
pub(super) type CatchUp = Option<(Frame, Memory)>;

/// Simulated clients of one process get the very same broadcast: it is decoded once, not once a client. By tier.
pub(super) type Shared = Arc<Mutex<BTreeMap<u32, (Frame, Arc<Vec<f32>>)>>>;

/// One worker.
pub(super) struct Compressor {
    download: Codec,
    upload: Codec,
    shared: Shared,
}

impl Compressor {
    pub fn new(plans: &Plans, metrics: &Arc<Metrics>, shared: Shared) -> Self {
        Self { download: plans.download.codec(metrics), upload: plans.upload.codec(metrics), shared }
    }

    pub fn broadcast(
        &mut self,
        occasion: &Occasion,
        weights: Arc<Vec<f32>>,
        tracker: Option<&Tracker>,
        mut memory: Memory,
    ) -> Result<Broadcast, CompressorError> {
        let values = match tracker {
            Some(tracker) => Arc::new(tracker.reference().difference(&weights)),
            None => weights,
        };
        let frame = self.download.encode(occasion, values, &mut memory)?;
        let mut newcomer = self.newcomer(occasion, tracker.is_some(), memory.clone())?;
        let decoded = self.download.decode(occasion, &frame, &mut newcomer)?.values;
        let tracker = match tracker {
            Some(tracker) => Some(tracker.sent(occasion.round, frame.clone(), &decoded)?),
            None => None,
        };
        let values = match &tracker {
            Some(tracker) => tracker.reference().values().clone(),
            None => decoded,
        };
        if !self.download.plan().decodes_for_each_client() {
            self.share(occasion.tier, &frame, &values);
        }
        Ok(Broadcast { frame, values, tracker, memory })
    }

    /// The memory of a client that comes for the first time: what it is sent to catch up, nothing else.
    fn newcomer(&mut self, occasion: &Occasion, tracked: bool, mut server: Memory) -> Result<Memory, CompressorError> {
        let mut newcomer = Memory::default();
        if tracked || occasion.round < 2 || !self.download.plan().policy().catches_up() {
            return Ok(newcomer);
        }
        if let Some(frame) = self.download.encode_catch_up(occasion, &mut server)? {
            self.download.decode_catch_up(occasion, &frame, &mut newcomer)?;
        }
        Ok(newcomer)
    }

    pub fn snapshot(&mut self, occasion: &Occasion, reference: &Reference) -> Result<Frame, CompressorError> {
        self.download.snapshot(occasion, reference)
    }

    pub fn encode_catch_up(&mut self, occasion: &Occasion, mut memory: Memory) -> Result<CatchUp, CompressorError> {
        let frame = self.download.encode_catch_up(occasion, &mut memory)?;
        Ok(frame.map(|frame| (frame, memory)))
    }

    pub fn decode_catch_up(
        &mut self,
        occasion: &Occasion,
        frame: &Frame,
        mut memory: Memory,
    ) -> Result<Memory, CompressorError> {
        self.download.decode_catch_up(occasion, frame, &mut memory)?;
        Ok(memory)
    }

    pub fn receive(
        &mut self,
        broadcast: &Occasion,
        frame: &Frame,
        mut memory: Memory,
    ) -> Result<(Arc<Vec<f32>>, Memory), CompressorError> {
        let plan = self.download.plan();
        let (own, tracked) = (plan.decodes_for_each_client(), plan.tracked());
        if let Some(values) = self.shared(broadcast.tier, frame).filter(|_| !own) {
            return Ok((values, memory));
        }
        if tracked {
            return Err(CompressorError::NoReference { round: broadcast.round });
        }
        let values = self.download.decode(broadcast, frame, &mut memory)?.values;
        if !own {
            self.share(broadcast.tier, frame, &values);
        }
        Ok((values, memory))
    }

    /// A client's own reference after what it was sent; its values are what [`receive`](Self::receive) then gives.
    pub fn follow(
        &mut self,
        broadcast: &Occasion,
        mut reference: Reference,
        catch_up: &[Frame],
        frame: &Frame,
    ) -> Result<Reference, CompressorError> {
        for frame in catch_up.iter().chain([frame]) {
            reference = self.download.follow((broadcast.round, broadcast.tier), frame, reference)?;
        }
        if reference.sequence() != broadcast.round {
            let (known, found) = (reference.sequence(), broadcast.round);
            return Err(ReferenceError::OutOfOrder { known, found }.into());
        }
        self.share(broadcast.tier, frame, reference.values());
        Ok(reference)
    }

    pub fn plan_training(
        &mut self,
        occasion: &Occasion,
        received: Arc<Vec<f32>>,
        mut memory: Memory,
    ) -> Result<(Option<Vec<u32>>, Memory), CompressorError> {
        let trainable = self.upload.plan_training(occasion, received, &mut memory)?;
        Ok((trainable, memory))
    }

    pub fn upload(
        &mut self,
        occasion: &Occasion,
        update: &Arc<Vec<f32>>,
        residual: Option<&Vec<f32>>,
        mut memory: Memory,
    ) -> Result<Upload, CompressorError> {
        let Some(feedback) = self.upload.plan().feedback() else {
            let frame = self.upload.encode(occasion, update.clone(), &mut memory)?;
            return Ok(Upload { frame, residual: None, memory });
        };
        let carried = residual.map_or_else(|| update.clone(), |left| Arc::new(feedback.carry(left, update)));
        let frame = self.upload.encode(occasion, carried.clone(), &mut memory)?;
        // What the server makes of it, as far as a client can tell: the server's memory is not here.
        let decoded = self.upload.decode(occasion, &frame, &mut Memory::default())?.values;
        let residual = Some(Arc::new(feedback.residual(&carried, &decoded)));
        Ok(Upload { frame, residual, memory })
    }

    pub fn acknowledge(
        &mut self,
        occasion: &Occasion,
        accepted: bool,
        mut memory: Memory,
    ) -> Result<Memory, CompressorError> {
        self.upload.acknowledge(occasion, accepted, &mut memory)?;
        Ok(memory)
    }

    fn shared(&self, tier: u32, frame: &Frame) -> Option<Arc<Vec<f32>>> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, values) = shared.get(&tier)?;
        known.is(frame).then(|| values.clone())
    }

    fn share(&self, tier: u32, frame: &Frame, values: &Arc<Vec<f32>>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.insert(tier, (frame.clone(), values.clone()));
    }
}
