//! Pictures: pixels as they were read, before a model resizes and normalizes them.

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Colours of a pixel: 3 for red, green and blue.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// `[channels, height, width]`, each 0 to 255.
    pub values: Vec<u8>,
}
