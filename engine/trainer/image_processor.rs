//! The image processor: pixels in; normalized patches out, resized as Pillow does and as `preprocessor_config.json`
//! asks for.

use serde::Deserialize;

use super::TrainerError;
use super::family::Patches;
use crate::data::Image;

/// The processing of an image before a model reads it: resizing, normalization, cutting into patches.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImageProcessor {
    patches: Patches,
    filter: Filter,
    /// A value is `pixel * factor[channel] + offset[channel]`.
    factors: Vec<f32>,
    offsets: Vec<f32>,
}

/// The resampling filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Linear,
    Cubic,
}

/// The keys of preprocessor_config.json that are read.
#[derive(Deserialize)]
struct PreprocessorConfig {
    #[serde(default = "bilinear")]
    resample: u32,
    #[serde(default = "yes")]
    do_rescale: bool,
    #[serde(default = "to_unit")]
    rescale_factor: f32,
    #[serde(default = "yes")]
    do_normalize: bool,
    image_mean: Option<Vec<f32>>,
    image_std: Option<Vec<f32>>,
}

/// Pillow's number of the filter.
fn bilinear() -> u32 {
    2
}

fn yes() -> bool {
    true
}

fn to_unit() -> f32 {
    1.0 / 255.0
}

impl ImageProcessor {
    /// Reads preprocessor_config.json, where there is one; `file` is its name in errors.
    pub fn read(json: Option<&[u8]>, file: &str, patches: Patches) -> Result<Self, TrainerError> {
        let settings: PreprocessorConfig = serde_json::from_slice(json.unwrap_or(b"{}"))
            .map_err(|error| TrainerError::Config { file: file.into(), reason: error.to_string() })?;
        let unsupported = |key: &str, found: String, supported: String| {
            Err(TrainerError::Unsupported { file: file.into(), key: key.into(), found, supported })
        };
        let filter = match settings.resample {
            2 => Filter::Linear,
            3 => Filter::Cubic,
            other => return unsupported("resample", other.to_string(), "2 (bilinear) or 3 (bicubic)".into()),
        };
        let scale = if settings.do_rescale { settings.rescale_factor } else { 1.0 };
        let (mut key_use, mut deviations) = (vec![0.0; patches.channels], vec![1.0; patches.channels]);
        if settings.do_normalize {
            key_use = settings.image_mean.unwrap_or_else(|| vec![0.5; patches.channels]);
            deviations = settings.image_std.unwrap_or_else(|| vec![0.5; patches.channels]);
        }
        for (key, values) in [("image_mean", &key_use), ("image_std", &deviations)] {
            if values.len() != patches.channels {
                return unsupported(
                    key,
                    format!("{values:?}"),
                    format!("a number for each of {} channels", patches.channels),
                );
            }
        }
        let factors = deviations.iter().map(|deviation| scale / deviation).collect();
        let offsets = key_use.iter().zip(&deviations).map(|(mean, deviation)| -mean / deviation).collect();
        Ok(Self { patches, filter, factors, offsets })
    }

    /// Positions of an image: the class token and one a patch.
    pub fn positions(&self) -> usize {
        let Patches { size, patch, .. } = self.patches;
        1 + (size[0] / patch[0]) * (size[1] / patch[1])
    }

    /// Checks that the model can read an image: its channels and its number of values.
    pub fn check_image(&self, image: &Image) -> Result<(), TrainerError> {
        let values = image.channels * image.height * image.width;
        match image.channels == self.patches.channels && values > 0 && image.values.len() == values {
            true => Ok(()),
            false => Err(TrainerError::Picture {
                found: [image.channels, image.height, image.width],
                values: image.values.len(),
                channels: self.patches.channels,
            }),
        }
    }

    /// Appends a row for each position: zeros for the class token, then the patches, row by row, each `[channels,
    /// patch, patch]`.
    pub fn append(&self, image: &Image, rows: &mut Vec<f32>) {
        let Patches { size, patch, .. } = self.patches;
        let planes: Vec<Vec<f32>> = image
            .values
            .chunks_exact(image.height * image.width)
            .zip(self.factors.iter().zip(&self.offsets))
            .map(|(pixels, (factor, offset))| {
                let resized = self.resized(pixels, [image.height, image.width]);
                resized.into_iter().map(|pixel| f32::from(pixel) * factor + offset).collect()
            })
            .collect();
        rows.resize(rows.len() + self.patches.values(), 0.0);
        for top in (0..size[0]).step_by(patch[0]) {
            for left in (0..size[1]).step_by(patch[1]) {
                for plane in &planes {
                    for row in top..top + patch[0] {
                        rows.extend_from_slice(&plane[row * size[1] + left..][..patch[1]]);
                    }
                }
            }
        }
    }

    /// One channel, `[height, width]`, resized to the model's size: across, then down, rounded to whole values after
    /// each.
    fn resized(&self, pixels: &[u8], [height, width]: [usize; 2]) -> Vec<u8> {
        let [to_height, to_width] = self.patches.size;
        let across = if width == to_width {
            pixels.to_vec()
        } else {
            let pixel_weights = self.filter.pixel_weights(width, to_width);
            let rows = pixels.chunks_exact(width);
            rows.flat_map(|row| pixel_weights.iter().map(move |weights_of| weights_of.of(|at| row[at]))).collect()
        };
        if height == to_height {
            return across;
        }
        let (pixel_weights, across) = (self.filter.pixel_weights(height, to_height), &across);
        let row = |weights_of: &PixelWeights| -> Vec<u8> {
            (0..to_width).map(|column| weights_of.of(|at| across[at * to_width + column])).collect()
        };
        pixel_weights.iter().flat_map(row).collect()
    }
}

/// The source pixels of one resized pixel, with weights in units of [`UNIT`]: whole numbers, as in Pillow, so that
/// values are rounded as in Pillow.
struct PixelWeights {
    first: usize,
    shares: Vec<i64>,
}

/// The sum of the weights of a pixel.
const UNIT: i64 = 1 << 22;

impl PixelWeights {
    fn of(&self, pixel: impl Fn(usize) -> u8) -> u8 {
        let shares = self.shares.iter().enumerate();
        let sum: i64 = shares.map(|(number, share)| share * i64::from(pixel(self.first + number))).sum();
        (sum + UNIT / 2).div_euclid(UNIT).clamp(0, 255) as u8
    }
}

impl Filter {
    /// The filter's radius, in pixels of the result or of the source, whichever are larger.
    fn reach(self) -> f64 {
        match self {
            Self::Linear => 1.0,
            Self::Cubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Linear => (1.0 - x).max(0.0),
            // Keys 1981 with a = -1/2.
            Self::Cubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Cubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Cubic => 0.0,
        }
    }

    /// The source pixels of each of `to` pixels, out of `from`.
    fn pixel_weights(self, from: usize, to: usize) -> Vec<PixelWeights> {
        let step = from as f64 / to as f64;
        let stretch = step.max(1.0);
        let weights_of = |place: usize| {
            let (center, reach) = ((place as f64 + 0.5) * step, self.reach() * stretch);
            let first = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..end).map(|at| self.weight((at as f64 + 0.5 - center) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            let share = |weight: f64| (weight / sum * UNIT as f64).round() as i64;
            PixelWeights { first, shares: weights.into_iter().map(share).collect() }
        };
        (0..to).map(weights_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCHES: Patches = Patches { channels: 1, size: [2, 4], patch: [2, 2] };

    fn picture(channels: usize, height: usize, width: usize, values: &[u8]) -> Image {
        Image { channels, height, width, values: values.into() }
    }

    fn rows(json: &[u8], image: &Image) -> Vec<f32> {
        let mut rows = Vec::new();
        ImageProcessor::read(Some(json), "p", PATCHES).unwrap().append(image, &mut rows);
        rows
    }

    #[test]
    fn patches_lie_one_after_the_other_behind_a_row_of_zeros() {
        let plain = br#"{"do_rescale": false, "do_normalize": false}"#;
        let image = picture(1, 2, 4, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(rows(plain, &image), [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
    }

    #[test]
    fn values_are_normalized_and_pictures_resized() {
        let json = br#"{"image_mean": [0.25], "image_std": [0.5]}"#;
        let found = rows(json, &picture(1, 1, 2, &[0, 255]));
        let expected = [0.0f32, 64.0, 191.0, 255.0].map(|pixel| (pixel / 255.0 - 0.25) / 0.5);
        for (at, expected) in [4, 5, 8, 9].into_iter().zip(expected) {
            assert!((found[at] - expected).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_both_values() {
        let error = |json: &[u8]| ImageProcessor::read(Some(json), "p", PATCHES).unwrap_err().to_string();
        assert_eq!(
            error(br#"{"resample": 1}"#),
            "model config p: resample is 1, but only 2 (bilinear) or 3 (bicubic) is supported"
        );
        assert!(error(br#"{"image_mean": [1, 2]}"#).contains("[1.0, 2.0], but only a number for each of 1 channels"));
        let preprocessor = ImageProcessor::read(None, "p", PATCHES).unwrap();
        assert_eq!(
            preprocessor.check_image(&picture(3, 1, 2, &[0; 6])).unwrap_err().to_string(),
            "a picture has the shape [3, 1, 2] and 6 values, but the model reads 1 channels"
        );
        assert!(preprocessor.check_image(&picture(1, 0, 2, &[])).is_err());
    }
}
