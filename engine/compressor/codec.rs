//! A codec: one direction's policy instance and the wire. The only way in the product from values to bytes and back.
//!
//! Every call takes the memory of the participant at whose side it runs; what the policy wrote is in it afterwards.

use std::sync::Arc;
use std::time::Instant;

use super::reference::Reference;
use super::{CodecPlan, CompressorError, Occasion};
use crate::adapter::Message;
use crate::metrics::{DirectionMetrics, Hook, Metrics};
use crate::policy::{CompressorInstance, Direction, Memory, ReusableInstance};
use crate::wire::{Frame, FrameKind, Header, UploadHeader};

/// A decoded frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// `P` finite values; the frame's own where they travelled as they are.
    pub values: Arc<Vec<f32>>,
    /// Their L2 norm.
    pub norm: f64,
    /// The client's header, in an upload.
    pub upload: UploadHeader,
}

/// One direction's encoder and decoder. Synchronous; call it on a blocking thread.
pub struct Codec {
    plan: Arc<CodecPlan>,
    timing: DirectionMetrics,
    warm: ReusableInstance<CompressorInstance>,
}

impl CodecPlan {
    /// A codec with an instance of its own.
    pub fn codec(self: &Arc<Self>, metrics: &Arc<Metrics>) -> Codec {
        Codec::new(self, metrics)
    }
}

impl Codec {
    fn new(plan: &Arc<CodecPlan>, metrics: &Arc<Metrics>) -> Self {
        let timing = match plan.direction {
            Direction::Download => metrics.download.clone(),
            Direction::Upload => metrics.upload.clone(),
        };
        let maker = plan.clone();
        let policy = &plan.policy;
        let warm = ReusableInstance::new(metrics.policy(&policy.name), policy.built_in, move || maker.instance());
        Self { plan: plan.clone(), timing, warm }
    }

    /// The plan that it works by.
    pub fn plan(&self) -> &Arc<CodecPlan> {
        &self.plan
    }

    /// Encodes a vector of `P` values (weights or a difference down, a delta up) into one frame.
    ///
    /// # Errors
    /// The policy's error; after a trap the next call starts with a fresh instance.
    pub fn encode(
        &mut self,
        occasion: &Occasion,
        values: Arc<Vec<f32>>,
        memory: &mut Memory,
    ) -> Result<Frame, CompressorError> {
        let started = Instant::now();
        let context = self.plan.context(occasion);
        let start = self.plan.start.clone();
        let message = self.warm.call(Hook::Encode, |instance| instance.encode(&context, values, start, memory))?;
        let frame = Frame::encode(&self.plan.header(occasion), &message)?;
        self.timing.encode_seconds.observe(started.elapsed().as_secs_f64());
        Ok(frame)
    }

    /// Decodes a frame into a vector of `P` finite values. What an upload's client says counts as the occasion's.
    ///
    /// # Errors
    /// A frame that is damaged, of another run, round or client, or that the policy refuses.
    pub fn decode(
        &mut self,
        occasion: &Occasion,
        frame: &Frame,
        memory: &mut Memory,
    ) -> Result<Decoded, CompressorError> {
        let started = Instant::now();
        let (message, upload) = self.open("decode", frame, &self.plan.header(occasion))?;
        let context = self.plan.context(&Occasion { upload, ..*occasion });
        let start = self.plan.start.clone();
        let values = self.warm.call(Hook::Decode, |instance| instance.decode(&context, message, start, memory))?;
        // No sum of squares of f32 is beyond a double: the norm tells whether all are finite.
        let norm = l2_norm(&values);
        if !norm.is_finite() {
            let count = values.iter().filter(|value| !value.is_finite()).count();
            return Err(CompressorError::NotFinite { policy: self.plan.policy.name.clone(), count });
        }
        self.timing.decode_seconds.observe(started.elapsed().as_secs_f64());
        Ok(Decoded { values, norm, upload })
    }

    /// The coordinates that a client may train, ascending; none where it trains all.
    ///
    /// # Errors
    /// The policy's error.
    pub fn plan_training(
        &mut self,
        occasion: &Occasion,
        received: Arc<Vec<f32>>,
        memory: &mut Memory,
    ) -> Result<Option<Vec<u32>>, CompressorError> {
        let context = self.plan.context(occasion);
        let start = self.plan.start.clone();
        Ok(self.warm.call(Hook::Plan, |instance| instance.plan(&context, received, start, memory))?)
    }

    /// Tells the policy at the client how its upload ended.
    ///
    /// # Errors
    /// The policy's error.
    pub fn acknowledge(
        &mut self,
        occasion: &Occasion,
        accepted: bool,
        memory: &mut Memory,
    ) -> Result<(), CompressorError> {
        let context = self.plan.context(occasion);
        Ok(self.warm.call(Hook::OnAck, |instance| instance.on_ack(&context, accepted, memory))?)
    }

    /// The frame that brings a client up to date that missed rounds, made by the policy; none where the client needs
    /// nothing.
    ///
    /// # Errors
    /// The policy's error.
    pub fn encode_catch_up(
        &mut self,
        occasion: &Occasion,
        memory: &mut Memory,
    ) -> Result<Option<Frame>, CompressorError> {
        let context = self.plan.context(occasion);
        let message = self.warm.call(Hook::EncodeCatchUp, |instance| instance.encode_catch_up(&context, memory))?;
        let header = self.plan.header_of(FrameKind::CatchUp, occasion, 0);
        Ok(message.map(|message| Frame::encode(&header, &message)).transpose()?)
    }

    /// Takes such a frame into a client's memory.
    ///
    /// # Errors
    /// A frame that does not belong here, or that the policy refuses.
    pub fn decode_catch_up(
        &mut self,
        occasion: &Occasion,
        frame: &Frame,
        memory: &mut Memory,
    ) -> Result<(), CompressorError> {
        let (message, _) =
            self.open("decode-catch-up", frame, &self.plan.header_of(FrameKind::CatchUp, occasion, 0))?;
        let context = self.plan.context(occasion);
        let hook = Hook::DecodeCatchUp;
        Ok(self.warm.call(hook, |instance| instance.decode_catch_up(&context, message, memory))?)
    }

    /// Everything that a receiver needs to have the reference, as a frame, for the broadcast of a round. The frame is read
    /// back as a receiver would: what it gives is the reference, to the bit.
    ///
    /// # Errors
    /// When it is not.
    pub fn snapshot(&self, occasion: &Occasion, reference: &Reference) -> Result<Frame, CompressorError> {
        let (sequence, start) = (reference.sequence(), &self.plan.start);
        let header = self.plan.header_of(FrameKind::CatchUp, occasion, sequence);
        let frame = Frame::encode(&header, &reference.snapshot(start))?;
        let (message, _) = self.open("decode-catch-up", &frame, &header)?;
        let received = Reference::from_snapshot(sequence, start, &message)?;
        let pairs = received.values().iter().zip(&**reference.values());
        let count = pairs.filter(|(got, meant)| got.to_bits() != meant.to_bits()).count();
        if count > 0 {
            return Err(CompressorError::Snapshot { sequence, count });
        }
        Ok(frame)
    }

    /// A receiver's reference after a frame that was sent to bring it up to date, or after the broadcast of `round` itself. What it
    /// has already changes nothing, so a frame may come twice.
    ///
    /// # Errors
    /// A frame that does not belong here, or does not follow on what the receiver has.
    pub fn follow(
        &mut self,
        (round, tier): (u32, u32),
        frame: &Frame,
        reference: Reference,
    ) -> Result<Reference, CompressorError> {
        let sequence = frame.header().sequence;
        if sequence <= reference.sequence() {
            return Ok(reference);
        }
        if frame.header().kind == FrameKind::CatchUp {
            let expected = self.plan.header_of(FrameKind::CatchUp, &Occasion::broadcast(round, tier), sequence);
            let (message, _) = self.open("decode-catch-up", frame, &expected)?;
            return Ok(Reference::from_snapshot(sequence, &self.plan.start, &message)?);
        }
        let decoded = self.decode(&Occasion::broadcast(sequence, tier), frame, &mut Memory::default())?;
        Ok(reference.advanced(sequence, &decoded.values)?)
    }

    /// Reads a frame and checks that it is the one expected.
    fn open(
        &self,
        hook: &'static str,
        frame: &Frame,
        expected: &Header,
    ) -> Result<(Message, UploadHeader), CompressorError> {
        check_header((&self.plan.policy.name, hook), frame.header(), expected)?;
        Ok((frame.decode(&self.plan.limits)?, frame.header().upload))
    }
}

/// L2 norm in double precision, summed in index order over eight lanes: the same on every machine.
fn l2_norm(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*value) * f64::from(*value);
        }
    }
    let tail: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    (lanes.iter().sum::<f64>() + tail).sqrt()
}

fn check_header(
    (policy, hook): (&str, &'static str),
    found: &Header,
    expected: &Header,
) -> Result<(), CompressorError> {
    let same = |what, found: String, expected: String| match found == expected {
        true => Ok(()),
        false => Err(CompressorError::Misplaced { policy: policy.into(), hook, what, found, expected }),
    };
    same("kind", format!("{:?}", found.kind), format!("{:?}", expected.kind))?;
    same("layout hash", format!("{:08x}", found.layout), format!("{:08x}", expected.layout))?;
    same("policy hash", format!("{:08x}", found.policy), format!("{:08x}", expected.policy))?;
    same("round", found.round.to_string(), expected.round.to_string())?;
    same("client", found.client.to_string(), expected.client.to_string())?;
    same("sequence", found.sequence.to_string(), expected.sequence.to_string())
}
