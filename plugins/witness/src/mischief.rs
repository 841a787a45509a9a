//! Things that the witness does and a policy should not: it logs much or odd text, panics, keeps a variable from one
//! message to the next.

use cellm_plugin::{LogLevel, Options, PolicyError, log};

/// The kinds, as the option says them.
pub const KINDS: [&str; 6] = ["none", "say", "flood", "giant", "panic", "variable"];

/// One of the kinds, and the variable.
pub struct Mischief {
    kind: String,
    calls: u32,
}

impl Mischief {
    /// The value of the option.
    pub fn of(options: &Options) -> Result<Self, PolicyError> {
        Ok(Self { kind: options.text("mischief")?.into(), calls: 0 })
    }

    /// Does it; a factor for what the hook sends.
    pub fn done(&mut self, hook: &str) -> f32 {
        self.calls += 1;
        match self.kind.as_str() {
            "say" => log(LogLevel::Warn, &format!("\u{1b}[2J{hook} number {}", self.calls)),
            "flood" => (0..10_000).for_each(|line| log(LogLevel::Info, &format!("line {line}"))),
            "giant" => log(LogLevel::Info, &"g".repeat(1 << 20)),
            "panic" => panic!("{hook} will not \u{1b}]0;go on\n"),
            "variable" => return self.calls as f32,
            _ => {}
        }
        1.0
    }
}
