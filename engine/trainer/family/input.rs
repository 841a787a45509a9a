//! The input of a family: the tables that tokens are looked up in, or the sizes of image patches.

/// The input of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) enum Input {
    /// Token ids.
    Tokens(TokenTables),
    /// Images, cut into patches.
    Patches(Patches),
}

/// The tables of an embedding of tokens, by their names in checkpoints. The rows of all of them are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) struct TokenTables {
    /// The token embedding.
    pub tokens: &'static str,
    /// The position embedding; none where positions are not learned.
    pub positions: Option<&'static str>,
    /// The embedding of token types and its rows. A record is one segment, so every token has the first type.
    pub types: Option<(&'static str, usize)>,
    /// The norm of the sum.
    pub norm: Option<&'static str>,
    /// A token that takes up no position: it has the row of the position embedding with its own number, and other
    /// tokens have those behind it. RoBERTa's padding.
    pub unplaced: Option<u32>,
}

impl TokenTables {
    /// The tables of a model that has only these.
    pub fn plain(tokens: &'static str, positions: Option<&'static str>) -> Self {
        Self { tokens, positions, types: None, norm: None, unplaced: None }
    }

    /// The first row of the position embedding that a sequence has.
    pub fn first_position(self) -> usize {
        self.unplaced.map_or(0, |token| token as usize + 1)
    }
}

/// The sizes of an image and its patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trainer) struct Patches {
    /// Colour channels of a pixel.
    pub channels: usize,
    /// Height and width of an image, in pixels.
    pub size: [usize; 2],
    /// Height and width of a patch, in pixels; each divides that of the image.
    pub patch: [usize; 2],
}

impl Patches {
    /// Values of a patch.
    pub fn values(self) -> usize {
        self.channels * self.patch[0] * self.patch[1]
    }
}
