//! `dense`: sends every value, both ways. The do-nothing twin of every other policy, the baseline of every table.

mod bindings {
    wit_bindgen::generate!({ world: "compressor", path: "../../wit" });
}

use std::cell::Cell;

use bindings::cellm::policy::host::{Message, Vector};
use bindings::cellm::policy::types::{
    BadOption, Context, Description, Layout, NamedOption, OptionInfo, OptionKind, OptionValue, PolicyError, ValueCoding,
};
use bindings::exports::cellm::policy::compressing::{Guest as Compressing, Settings};
use bindings::exports::cellm::policy::describing::Guest as Describing;

thread_local! {
    static STATE: Cell<(u32, ValueCoding)> = const { Cell::new((0, ValueCoding::F32)) };
}

struct Dense;

impl Describing for Dense {
    fn describe() -> Description {
        Description {
            name: "dense".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            about: "Sends every value. Density is ignored.".into(),
            options: vec![OptionInfo {
                name: "values".into(),
                kind: OptionKind::Choice(["bits", "f32", "f16", "bf16"].map(String::from).into()),
                default: OptionValue::Text("bits".into()),
                about: "Coding of the values; `bits` takes f32 for 32 bits and f16 for 16.".into(),
            }],
        }
    }
}

impl Compressing for Dense {
    fn init(layout: Layout, settings: Settings, options: Vec<NamedOption>) -> Result<(), PolicyError> {
        let mut coding = match settings.bits {
            16 => ValueCoding::F16,
            32 => ValueCoding::F32,
            bits => {
                let (name, allowed) = ("bits".into(), "16 or 32".into());
                return Err(PolicyError::BadOption(BadOption { name, found: bits.to_string(), allowed }));
            }
        };
        for (_, value) in options {
            match value {
                OptionValue::Text(word) if word == "f32" => coding = ValueCoding::F32,
                OptionValue::Text(word) if word == "f16" => coding = ValueCoding::F16,
                OptionValue::Text(word) if word == "bf16" => coding = ValueCoding::Bf16,
                _ => {}
            }
        }
        STATE.set((layout.values, coding));
        Ok(())
    }

    fn encode(_: Context, values: &Vector, _: &Vector, into: &Message) -> Result<(), PolicyError> {
        into.put_values(STATE.get().1, values);
        Ok(())
    }

    fn decode(_: Context, message: &Message, _: &Vector) -> Result<Vector, PolicyError> {
        let (values, coding) = STATE.get();
        message.take_values(coding, values)
    }
}

bindings::export!(Dense with_types_in bindings);
