//! Images: pixels as they were decoded, before a model resizes and normalizes them.

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Channels of a pixel: 3 for red, green and blue.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// `[channels, height, width]`, each 0 to 255.
    pub values: Vec<u8>,
}
