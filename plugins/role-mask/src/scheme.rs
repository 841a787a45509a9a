//! The schemes: which of LoRA's two factors is trained, and which travels, in a round.

use cellm_plugin::{OptionInfo, Options, PolicyError, option};

/// One of the two factors of every pair `B A`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// LoRA A, `[rank, in]`.
    A,
    /// LoRA B, `[out, rank]`.
    B,
}

impl Part {
    /// The factor that is frozen while this one is trained.
    pub fn other(self) -> Self {
        match self {
            Part::A => Part::B,
            Part::B => Part::A,
        }
    }
}

/// The values of the option `scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A stays at its seed, B is trained and sent.
    FfaLora,
    /// B in odd rounds, A in even ones: with A frozen first, as B's zeros would leave A without a gradient.
    Rolora,
    /// Both are trained, A is shared, B stays with the client.
    Fedsa,
    /// As `Rolora`, and of the trained factor only the ranks that contributed most are sent.
    LoraA2,
}

impl Scheme {
    /// The declaration of the option.
    pub fn option() -> OptionInfo {
        option::choice(
            "scheme",
            &["ffa-lora", "rolora", "fedsa", "lora-a2"],
            "`ffa-lora` trains B only; `rolora` B and A in turn; `fedsa` both but shares A; `lora-a2` in turn, best ranks.",
        )
    }

    /// The value of the option.
    pub fn read(options: &Options) -> Result<Self, PolicyError> {
        Ok(match options.text("scheme")? {
            "rolora" => Scheme::Rolora,
            "fedsa" => Scheme::Fedsa,
            "lora-a2" => Scheme::LoraA2,
            _ => Scheme::FfaLora,
        })
    }

    /// True where A and B take turns.
    pub fn alternates(self) -> bool {
        matches!(self, Scheme::Rolora | Scheme::LoraA2)
    }

    /// The factor that clients return in a round; the first is round 1.
    pub fn returns(self, round: u32) -> Part {
        match self {
            Scheme::FfaLora => Part::B,
            Scheme::Fedsa => Part::A,
            Scheme::Rolora | Scheme::LoraA2 if round % 2 == 1 => Part::B,
            Scheme::Rolora | Scheme::LoraA2 => Part::A,
        }
    }

    /// The factor that is trained in a round; none stands for both.
    pub fn trains(self, round: u32) -> Option<Part> {
        (self != Scheme::Fedsa).then(|| self.returns(round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_take_turns_and_b_comes_first() {
        for scheme in [Scheme::Rolora, Scheme::LoraA2] {
            assert_eq!([1, 2, 3, 4].map(|round| scheme.returns(round)), [Part::B, Part::A, Part::B, Part::A]);
            assert_eq!(scheme.trains(2), Some(Part::A));
        }
    }

    #[test]
    fn ffa_lora_never_touches_a_and_fedsa_never_sends_b() {
        for round in 1..5 {
            assert_eq!(Scheme::FfaLora.trains(round), Some(Part::B));
            assert_eq!((Scheme::Fedsa.trains(round), Scheme::Fedsa.returns(round)), (None, Part::A));
        }
    }
}
