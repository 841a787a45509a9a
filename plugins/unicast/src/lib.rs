//! `unicast`: each client is sent what changed since it came last, of that the largest part, and what it was not sent comes
//! with the next difference. For clients that take part rarely: nothing that they missed is sent one by one.
//!
//! ```text
//! server, for client c:  send D = top-k levels of (W - R_c);  R_c += D       // R_c = W0 at first
//! client c:              R_c += D;  train from R_c
//! ```
//!
//! Error feedback on the way down (Tang et al. 2019, arXiv 1905.05957) with a reference for each client in place of one for
//! all. The server remembers `R_c - W0` of every client that ever came, 4 bytes a value, within `limits.state_mb`. Levels and
//! coder are those of `topk-cm`. Only for downloads of weights: `download.error_feedback = false`.
//!
//! The server's `W` is what is evaluated and what the run's adapter holds: no client has exactly that.

use cellm_mixing::Codec;
use cellm_plugin::{
    Capabilities, CatchingUp, Compressor, Content, Context, Description, Direction, Exported, Layout, Message, Options,
    Policy, PolicyError, Settings, ValueCoding, Vector, bad_option, kept, load, save,
};

/// `W`, at the server, and at who is sent all of it.
const WEIGHTS: &str = "weights";

/// `W - W0` at the server, as catching up is not told `W0`; `R_c - W0` at client c.
const MOVED: &str = "moved";

/// The coder, as `init` set it.
struct Unicast(Codec);

impl Unicast {
    /// Key of `R_c - W0` at the server.
    fn of(client: u32) -> String {
        format!("client {client}")
    }

    fn k(&self, context: &Context) -> u32 {
        kept(context, self.0.values())
    }

    fn remembered(&self, key: &str) -> Vector {
        load(key).unwrap_or_else(|| Vector::new(self.0.values()))
    }
}

impl Policy for Unicast {
    fn describe() -> Description {
        Description {
            name: "unicast".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends each client the largest of what changed since it came last, and keeps what it left out (download \
                    only). For clients that take part rarely; the server remembers what each has."
                .into(),
            capabilities: Capabilities::STATEFUL_CLIENT,
            options: vec![],
        }
    }
}

impl Compressor for Unicast {
    fn new(layout: Layout, settings: Settings, _: &Options) -> Result<Self, PolicyError> {
        if settings.direction == Direction::Upload {
            return Err(bad_option("direction", "upload", "download"));
        }
        Codec::new(&layout, settings).map(Self)
    }

    fn encode(&mut self, context: &Context, values: &Vector, start: &Vector, _: &Message) -> Result<(), PolicyError> {
        if context.content == Content::Difference {
            let what = "unicast has a reference for each client: content is 'difference', 'weights' is needed \
                        (download.error_feedback = false)";
            return Err(PolicyError::Other(what.into()));
        }
        save(WEIGHTS, values);
        let moved = values.copy();
        moved.axpy(-1.0, start);
        save(MOVED, &moved);
        Ok(())
    }

    fn decode(&mut self, _: &Context, _: &Message, start: &Vector) -> Result<Vector, PolicyError> {
        if let Some(weights) = load(WEIGHTS) {
            return Ok(weights);
        }
        let received = self.remembered(MOVED);
        received.axpy(1.0, start);
        Ok(received)
    }
}

impl CatchingUp for Unicast {
    fn encode_catch_up(&mut self, context: &Context, into: &Message) -> Result<bool, PolicyError> {
        let Some(client) = context.client else {
            // Nobody's: what the run is worth, and its adapter.
            into.put_values(ValueCoding::F32, &self.remembered(WEIGHTS));
            return Ok(true);
        };
        let moved = self.remembered(MOVED);
        let has = self.remembered(&Self::of(client));
        moved.axpy(-1.0, &has);
        let k = self.k(context);
        has.axpy(1.0, &self.0.put(&moved, k, into)?);
        save(&Self::of(client), &has);
        Ok(true)
    }

    fn decode_catch_up(&mut self, context: &Context, message: &Message) -> Result<(), PolicyError> {
        if context.client.is_none() {
            save(WEIGHTS, &message.take_values(ValueCoding::F32, self.0.values())?);
            return Ok(());
        }
        let has = self.remembered(MOVED);
        has.axpy(1.0, &self.0.take(self.k(context), message)?);
        save(MOVED, &has);
        Ok(())
    }
}

type Component = Exported<Unicast>;
cellm_plugin::export_compressor!(Component);
cellm_plugin::export_catching_up!(Component);

#[cfg(test)]
mod tests;
