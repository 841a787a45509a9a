//! The head of a family's model for sequence or image classification: its layers, and the position that it reads.

use crate::trainer::kernel::PoolerActivation;

/// The layers from the hidden state to the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) struct Classifier {
    /// The name of the last one in `transformers`, a linear layer.
    pub name: &'static str,
    /// True where it has a bias.
    pub bias: bool,
    /// The layer before it.
    pub pooler: Option<PoolerLayer>,
}

/// A linear layer of the hidden size with an activation, between the hidden state and the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) struct PoolerLayer {
    /// Its whole path in `transformers`.
    pub path: &'static str,
    /// Its activation.
    pub activation: PoolerActivation,
    /// True where it belongs to the head, which is trained; false where it belongs to the base model, which is not.
    pub trained: bool,
}

impl Classifier {
    /// The linear layer alone.
    pub const fn linear(name: &'static str, bias: bool) -> Self {
        Self { name, bias, pooler: None }
    }

    /// The module that PEFT saves whole, by which it calls the last layer.
    pub fn module(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(module, _)| module)
    }

    /// The path of the layer before the classes, where that belongs to the base model.
    pub fn frozen_pooler(&self) -> Option<&'static str> {
        self.pooler.filter(|pooler| !pooler.trained).map(|pooler| pooler.path)
    }
}

/// The position of a sequence that predicts its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) enum ClassPosition {
    /// The first one.
    First,
    /// The last one whose token is not this one, the padding, as in `transformers`.
    LastBut(Option<u32>),
}

/// The classifier head of every language model.
pub(super) const SCORE: Classifier = Classifier::linear("score", false);
