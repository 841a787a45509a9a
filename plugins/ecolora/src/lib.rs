//! `ecolora`: EcoLoRA (Liu, Wen, Nair, Liu, Lou, Zhang, Yeoh, Vorobeychik, Zhang, EMNLP 2025, arXiv 2506.02001).
//!
//! ```text
//! start of client i = (1 - w) * global + w * own last model,   w = exp(-mix_beta * (rounds since))
//! upload: segment (i + t) mod segments of what the client ended with, top k of A and top k of B apart
//! density k = k_min + (k_max - k_min) * exp(-gamma * (L0 - Lt))
//! what was not sent of the segment stays at the client and is added the next time
//! ```
//!
//! Up: the paper averages models, so what is sent is the end minus the *global* model: the delta, and how far the start
//! was pulled from the global model. That is how what a client learned in a segment is sent when the segment's turn comes.
//! Down: `W - W0` (or a difference), top k of A and of B apart; of a difference the client starts as it is, unmixed.
//!
//! `k_max` is the density of the direction, `k_min_a` and `k_min_b` are shares of it. L0 and Lt are the client's first and
//! latest training loss, of a download the means over the first and the last round that the server saw. Values travel at 16
//! or 32 bits; gaps are Rice-coded by the wire. The defaults of the options are ours.
//!
//! The paper's mean is over the senders of a segment. `fedavg`'s plain mean with `server.lr` times `segments` is that, where
//! clients spread evenly over the segments; `mean = contributors` also leaves out senders that thinned the value out, which
//! together with the residual overshoots at densities below about 1/4. Error feedback is this policy's own (option
//! `residual`), because what is owed is the segment's and not the whole delta: leave `upload.error_feedback` off.
//!
//! State: at the client its own last model and the residual, 4 bytes a value each; at the server a few numbers.

mod density;
mod own;
mod segments;

use cellm_plugin::{
    Capabilities, Compressor, Content, Context, Description, Exported, Layout, Message, Options, Planning, Policy,
    PolicyError, Settings, TrainingPlan, ValueCoding, Vector, bad_option, load, option, save, value_coding,
};

use density::Curve;
use segments::Segments;

/// Key of the residual: the values of every segment that were not sent.
const RESIDUAL: &str = "residual";

/// The policy's options, as `init` read them.
struct EcoLora {
    segments: Segments,
    curve: Curve,
    /// `beta` of the mixture; none starts at the global model.
    mix: Option<f64>,
    residual: bool,
    coding: ValueCoding,
}

impl EcoLora {
    /// The values that an upload of this client may touch: offset and length.
    fn segment(&self, context: &Context) -> Result<(u32, u32), PolicyError> {
        match context.client {
            Some(client) => Ok(self.segments.of(client, context.round)),
            None => Err(PolicyError::Other("an upload without its client's number".into())),
        }
    }

    /// Appends the largest of A and of the rest; what is left of `part` stays in it.
    fn put(&self, part: &Vector, offset: u32, (of_a, of_rest): (f64, f64), into: &Message) {
        let chosen = self.segments.choose(part, offset, of_a, of_rest);
        into.put_indices(&chosen);
        into.put_values(self.coding, &part.gather(&chosen));
        part.scatter(&chosen, &Vector::new(chosen.count()));
    }

    /// Takes what `put` put: a vector of `len` values.
    fn take(&self, context: &Context, offset: u32, len: u32, message: &Message) -> Result<Vector, PolicyError> {
        let chosen = message.take_indices(len)?;
        let (found, most) = (chosen.count(), self.segments.most(offset, len, context.density));
        if found > most {
            return Err(PolicyError::BadMessage(format!("{found} indices found, {most} at most")));
        }
        let part = Vector::new(len);
        part.scatter(&chosen, &message.take_values(self.coding, found)?);
        Ok(part)
    }

    fn encode_upload(&self, context: &Context, delta: &Vector, into: &Message) -> Result<(), PolicyError> {
        let (offset, len) = self.segment(context)?;
        let moved = delta.copy();
        if self.mix.is_some() {
            own::remember(context.round, delta, &moved);
        }
        let part = moved.slice(offset, len);
        let density = self.curve.of_client(context);
        if !self.residual {
            self.put(&part, offset, density, into);
            return Ok(());
        }
        let owed = load(RESIDUAL).unwrap_or_else(|| Vector::new(self.segments.values));
        part.axpy(1.0, &owed.slice(offset, len));
        self.put(&part, offset, density, into);
        owed.paste(offset, &part);
        save(RESIDUAL, &owed);
        Ok(())
    }
}

impl Policy for EcoLora {
    fn describe() -> Description {
        Description {
            name: "ecolora".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Each client sends one segment a round, thinned out as its loss falls, and starts from a mixture of the \
                    global and its own last model (EcoLoRA)."
                .into(),
            capabilities: Capabilities::STATEFUL_CLIENT | Capabilities::NEEDS_LOSS,
            options: vec![
                option::count("segments", 5, "Parts of the adapter; a client uploads one of them a round, in turn."),
                option::share("k_min_a", 0.6, "Share of the density that values of A keep however far the loss falls."),
                option::share("k_min_b", 0.5, "The same for all values that are not A's."),
                option::number("gamma_a", 1.0, "How fast A's density falls with the loss, per nat; 0 keeps it."),
                option::number("gamma_b", 1.0, "The same for all values that are not A's."),
                option::flag("mix", true, "Clients start from a mixture of the global model and their own last one."),
                option::number("mix_beta", 1.0, "The own model's weight is exp(-mix_beta * rounds since it was trained)."),
                option::flag("residual", true, "What is not sent of a segment is added when its turn comes again."),
            ],
        }
    }
}

/// An option that must not be negative.
fn not_negative(options: &Options, name: &str) -> Result<f64, PolicyError> {
    let value = options.number(name)?;
    if value < 0.0 { Err(bad_option(name, value, "0 or more")) } else { Ok(value) }
}

impl Compressor for EcoLora {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        let segments = options.count("segments")?;
        if segments == 0 || segments > layout.values {
            return Err(bad_option("segments", segments, &format!("1 to {}, the number of values", layout.values)));
        }
        let beta = not_negative(options, "mix_beta")?;
        Ok(Self {
            segments: Segments::new(&layout, segments),
            curve: Curve {
                least: (options.number("k_min_a")?, options.number("k_min_b")?),
                gamma: (not_negative(options, "gamma_a")?, not_negative(options, "gamma_b")?),
            },
            mix: options.flag("mix")?.then_some(beta),
            residual: options.flag("residual")?,
            coding: value_coding(settings.bits)?,
        })
    }

    fn encode(
        &mut self,
        context: &Context,
        values: &Vector,
        start: &Vector,
        into: &Message,
    ) -> Result<(), PolicyError> {
        if context.content == Content::Delta {
            return self.encode_upload(context, values, into);
        }
        let moved = values.copy();
        if context.content == Content::Weights {
            moved.axpy(-1.0, start);
        }
        self.put(&moved, 0, self.curve.of_server(context), into);
        Ok(())
    }

    fn decode(&mut self, context: &Context, message: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        if context.content == Content::Delta {
            let (offset, len) = self.segment(context)?;
            let whole = Vector::new(self.segments.values);
            whole.paste(offset, &self.take(context, offset, len, message)?);
            density::note(context)?;
            return Ok(whole);
        }
        let global = self.take(context, 0, self.segments.values, message)?;
        if context.content == Content::Difference {
            return Ok(global);
        }
        global.axpy(1.0, start);
        match self.mix {
            Some(beta) => own::mix(context.round, global, beta),
            None => Ok(global),
        }
    }
}

impl Planning for EcoLora {
    fn plan(&mut self, _: &Context, received: &Vector, _: &Vector) -> Result<TrainingPlan, PolicyError> {
        if self.mix.is_some() {
            own::begin(received);
        }
        Ok(TrainingPlan { trainable: None })
    }
}

type Component = Exported<EcoLora>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_planning!(Component);

#[cfg(test)]
mod tests;
