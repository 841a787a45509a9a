//! `dense`: sends every value, both ways. The do-nothing twin of every other policy, the baseline of every table.
//!
//! Options: `values`, the coding (`int8`: 256 levels a tensor, symmetric about zero), and `stochastic`, its rounding.

mod int8;

use cellm_plugin::{
    Capabilities, Compressor, Context, Description, Layout, Message, Options, Policy, PolicyError, Settings,
    ValueCoding, Vector, bad_option, option, value_coding,
};
use int8::Int8;

/// Coding of all values.
enum Coding {
    Values(ValueCoding),
    Int8(Int8),
}

struct Dense {
    values: u32,
    coding: Coding,
}

impl Policy for Dense {
    fn describe() -> Description {
        Description {
            name: "dense".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends every value. Density is ignored.".into(),
            // Of the coding that it has by default; rounding to the nearest of 256 levels is neither.
            capabilities: Capabilities::UNBIASED | Capabilities::LINEAR,
            options: vec![
                option::choice(
                    "values",
                    &["bits", "f32", "f16", "bf16", "int8"],
                    "Coding of the values; `bits` takes f32 for 32 bits, f16 for 16 and int8 for 8.",
                ),
                option::flag("stochastic", false, "int8 rounds up or down at random, right on average."),
            ],
        }
    }
}

impl Compressor for Dense {
    fn new(layout: Layout, settings: Settings, options: &Options) -> Result<Self, PolicyError> {
        let values = layout.values;
        let word = options.text("values")?;
        let int8 = word == "int8" || word == "bits" && settings.bits == 8;
        if !int8 && ![16, 32].contains(&settings.bits) {
            return Err(bad_option("bits", settings.bits, "8, 16 or 32"));
        }
        let coding = match word {
            _ if int8 => Coding::Int8(Int8::new(&layout, options.flag("stochastic")?)),
            "f32" => Coding::Values(ValueCoding::F32),
            "f16" => Coding::Values(ValueCoding::F16),
            "bf16" => Coding::Values(ValueCoding::Bf16),
            _ => Coding::Values(value_coding(settings.bits)?),
        };
        Ok(Self { values, coding })
    }

    fn encode(&mut self, context: &Context, values: &Vector, _: &Vector, into: &Message) -> Result<(), PolicyError> {
        match &self.coding {
            Coding::Values(coding) => {
                into.put_values(*coding, values);
                Ok(())
            }
            Coding::Int8(int8) => int8.encode(context.seed, values, into),
        }
    }

    fn decode(&mut self, _: &Context, message: &Message, _: &Vector) -> Result<Vector, PolicyError> {
        match &self.coding {
            Coding::Values(coding) => message.take_values(*coding, self.values),
            Coding::Int8(int8) => int8.decode(self.values, message),
        }
    }
}

type Component = cellm_plugin::Exported<Dense>;
cellm_plugin::export_compressor!(Component);

#[cfg(test)]
mod tests;
