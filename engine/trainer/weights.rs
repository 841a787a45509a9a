//! The weights of a Hugging Face checkpoint: a folder, or the bytes of one safetensors file, in; f32 values out, one
//! tensor at a time. Files are mapped into memory, not read: a tensor is converted once, straight from the file's
//! pages.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::gguf::StoredRows;
use super::{TrainerError, model_path};
use crate::adapter::float_bytes;

/// The file of a checkpoint without shards.
const SINGLE_FILE: &str = "model.safetensors";
/// The index of a checkpoint with shards: the shard of each tensor.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a checkpoint, in one file or in shards.
#[derive(Debug)]
pub(super) struct Checkpoint<'a> {
    /// The checkpoint's name in errors about a missing tensor: the one file, or the index.
    file: String,
    shards: Vec<Shard<'a>>,
    tensors: HashMap<String, TensorEntry>,
}

/// One safetensors file.
#[derive(Debug)]
pub(super) struct Shard<'a> {
    /// Its name in the folder.
    pub name: String,
    /// Its name in errors.
    file: String,
    bytes: Bytes<'a>,
}

/// The ends of the names of a LayerNorm's parameters, and what old checkpoints have for them.
const OLD_NAMES: [[&str; 2]; 2] = [["LayerNorm.weight", "LayerNorm.gamma"], ["LayerNorm.bias", "LayerNorm.beta"]];

#[derive(Debug)]
enum Bytes<'a> {
    Mapped(Arc<Mmap>),
    Given(&'a [u8]),
}

/// A tensor's shard, type, shape and bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorEntry {
    /// Index of the shard.
    pub shard: usize,
    /// Type of the values in the file; of blocks the type that they are made.
    pub dtype: Dtype,
    /// Row-major shape.
    pub shape: Vec<usize>,
    range: Range<usize>,
    /// Type and order of the rows of a GGUF file; none in a safetensors file.
    pub rows: Option<StoredRows>,
}

/// The rows of a matrix in a mapped GGUF file. `Clone` shares the file.
#[derive(Debug, Clone)]
pub(super) struct MappedRows {
    map: Arc<Mmap>,
    range: Range<usize>,
    rows: StoredRows,
    /// Number of rows.
    pub count: usize,
}

impl MappedRows {
    /// Writes the values of some rows.
    pub fn write(&self, rows: Range<usize>, to: &mut [f32]) {
        self.rows.write(&self.map[self.range.clone()], rows, to);
    }

    /// Writes the products of some rows with `input`, a row's width of values: a number a row.
    pub fn write_products(&self, rows: Range<usize>, input: &[f32], to: &mut [f32]) {
        self.rows.write_products(&self.map[self.range.clone()], rows, input, to);
    }
}

/// The content of model.safetensors.index.json.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Checkpoint<'static> {
    /// Maps `model.safetensors` of a folder, or every shard that `model.safetensors.index.json` names, and checks that
    /// each is whole. The files must not change while the checkpoint lives.
    ///
    /// # Errors
    /// [`TrainerError`] naming the file that is missing or cut off, or the tensor that the index names and no shard has.
    pub fn open(folder: &Path) -> Result<Self, TrainerError> {
        let (whole, index) = (folder.join(SINGLE_FILE), folder.join(INDEX));
        if whole.exists() || !index.exists() {
            return match whole.exists() {
                true => Self::of_shard(map(&whole, SINGLE_FILE)?),
                false => Err(missing_weights(folder, whole)),
            };
        }
        let file = index.display().to_string();
        let text = model_path::read(&index)?;
        let failed = |reason: String| TrainerError::Index { file: file.clone(), reason };
        let Index { weight_map } = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort();
        names.dedup();
        let (mut shards, mut found) = (Vec::with_capacity(names.len()), HashMap::new());
        for (number, name) in names.into_iter().enumerate() {
            // The index is not trusted: it may not point out of its folder.
            if !matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
                return Err(failed(format!("shard {name} is no plain file name")));
            }
            let shard = map(&folder.join(name), name).map_err(|error| match error {
                TrainerError::Read { source, .. } => {
                    TrainerError::MissingShard { file: file.clone(), shard: name.clone(), source }
                }
                other => other,
            })?;
            found.extend(shard.tensors(number)?);
            shards.push(shard);
        }
        let mut tensors = HashMap::with_capacity(weight_map.len());
        for (tensor, shard) in weight_map {
            let stored = found.remove(&tensor).filter(|stored| shards[stored.shard].name == shard);
            match stored {
                Some(stored) => tensors.insert(tensor, stored),
                None => return Err(TrainerError::NotInShard { file, tensor, shard }),
            };
        }
        Ok(Self { file, shards, tensors })
    }

    /// Maps one file of another format, without tensors yet. The file must not change while the checkpoint lives.
    ///
    /// # Errors
    /// [`TrainerError`] naming the file where it cannot be read.
    pub fn map_file(path: &Path) -> Result<Self, TrainerError> {
        let shard = map(path, SINGLE_FILE)?;
        Ok(Self { file: shard.file.clone(), shards: vec![shard], tensors: HashMap::new() })
    }

    /// Gives a checkpoint of one file its tensors.
    pub fn set_tensors(&mut self, tensors: Vec<(String, TensorEntry)>) {
        self.tensors = tensors.into_iter().collect();
    }
}

impl TensorEntry {
    /// The entry of a tensor of a checkpoint of one file.
    pub fn of_rows(shape: Vec<usize>, range: Range<usize>, rows: StoredRows) -> Self {
        Self { shard: 0, dtype: Dtype::F32, shape, range, rows: Some(rows) }
    }
}

impl<'a> Checkpoint<'a> {
    /// Takes the bytes of one file and checks that it is whole; `file` is its name in errors.
    ///
    /// # Errors
    /// [`TrainerError::Weights`] where the bytes are no whole safetensors file.
    pub fn read(bytes: &'a [u8], file: &str) -> Result<Self, TrainerError> {
        Self::of_shard(Shard { name: SINGLE_FILE.into(), file: file.into(), bytes: Bytes::Given(bytes) })
    }

    fn of_shard(shard: Shard<'a>) -> Result<Self, TrainerError> {
        let tensors = shard.tensors(0)?.collect();
        Ok(Self { file: shard.file.clone(), shards: vec![shard], tensors })
    }

    /// True where there is a tensor of this name.
    pub fn has(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    /// The shape of a tensor; `None` where there is none of this name.
    pub fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.tensors.get(tensor).map(|stored| &*stored.shape)
    }

    /// The files, in the order of their names.
    pub fn shards(&self) -> &[Shard<'a>] {
        &self.shards
    }

    /// All tensors with their names, in no order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorEntry)> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored))
    }

    /// The bytes of the GGUF file that it is made of; none of safetensors files.
    pub fn gguf_file(&self) -> Option<&[u8]> {
        self.tensors.values().any(|stored| stored.rows.is_some()).then(|| self.file_bytes())
    }

    /// The bytes of the first file.
    pub fn file_bytes(&self) -> &[u8] {
        self.shards.first().map_or(&[], Shard::bytes)
    }

    /// Gives the pages of the files back to the system, which reads them again where they are asked for. So what was read
    /// once, on loading, does not count as memory.
    pub fn give_back_pages(&self) {
        #[cfg(unix)]
        for shard in &self.shards {
            if let Bytes::Mapped(map) = &shard.bytes {
                // SAFETY: nothing was ever written to the map, so its pages come back as they were. Advice may fail.
                let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            }
        }
    }

    /// The values of a tensor as f32, row-major; `None` for a type that is not read.
    pub fn floats(&self, stored: &TensorEntry) -> Option<Vec<f32>> {
        let Some(rows) = &stored.rows else { return float_bytes::floats(stored.dtype, self.bytes(stored)) };
        let mut values = vec![0.0; stored.shape.iter().product()];
        rows.write(self.bytes(stored), 0..stored.shape[0], &mut values);
        Some(values)
    }

    /// The bytes of a tensor as its file has them.
    pub fn bytes(&self, stored: &TensorEntry) -> &[u8] {
        &self.shards[stored.shard].bytes()[stored.range.clone()]
    }

    /// The checkpoint's name of a tensor: the whole name or, where the checkpoint has that alone, the name without its
    /// first part, which a checkpoint of the base model leaves out; of the parameters of a `LayerNorm` the names `gamma`
    /// and `beta` too, which old checkpoints of BERT have and `transformers` renames.
    pub fn checkpoint_name(&self, tensor: &str) -> String {
        let bare = |tensor: &str| tensor.split_once('.').map(|(_, bare)| bare.to_owned());
        let old = OLD_NAMES.iter().find_map(|[new, old]| Some(format!("{}{old}", tensor.strip_suffix(new)?)));
        let others = [bare(tensor), old.clone(), old.as_deref().and_then(bare)];
        match others.into_iter().flatten().find(|other| !self.has(tensor) && self.has(other)) {
            Some(other) => other,
            None => tensor.into(),
        }
    }

    /// The values of one tensor as f32, row-major, after a check of its shape.
    ///
    /// # Errors
    /// [`TrainerError`] naming the file and the tensor that is missing, of another shape, or of a type that is not read.
    pub fn values(&self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, TrainerError> {
        let stored = self.check(tensor, shape)?;
        let file = || self.shards[stored.shard].file.clone();
        let values = self.floats(stored).ok_or_else(|| TrainerError::TensorType {
            file: file(),
            tensor: tensor.into(),
            found: format!("{:?}", stored.dtype),
        })?;
        check_finite(&values, &file(), tensor, 0)?;
        Ok(values)
    }

    /// The rows of a matrix that stay in their GGUF file, after a check of its shape and values.
    ///
    /// # Errors
    /// As [`Self::values`]; and a checkpoint that is no GGUF file, by the key that asks for it.
    pub fn kept_rows(&self, tensor: &str, shape: &[usize]) -> Result<MappedRows, TrainerError> {
        let stored = self.check(tensor, shape)?;
        let (Some(rows), Bytes::Mapped(map)) = (stored.rows, &self.shards[stored.shard].bytes) else {
            let expected = "none or int8 where model.path is no GGUF file: there are no blocks to keep";
            return Err(TrainerError::Setting { key: "model.quantize", found: "keep".into(), expected });
        };
        let kept = MappedRows { map: map.clone(), range: stored.range.clone(), rows, count: stored.shape[0] };
        let mut values = vec![0.0; rows.width];
        for row in 0..kept.count {
            kept.write(row..row + 1, &mut values);
            check_finite(&values, &self.file, tensor, row * rows.width)?;
        }
        Ok(kept)
    }

    /// The entry of a tensor, after a check of its shape.
    ///
    /// # Errors
    /// As [`Self::values`], but for the type.
    pub fn check(&self, tensor: &str, shape: &[usize]) -> Result<&TensorEntry, TrainerError> {
        let Some(stored) = self.tensors.get(tensor) else {
            return Err(TrainerError::MissingTensor { file: self.file.clone(), tensor: tensor.into() });
        };
        if stored.shape != shape {
            // Four-bit values lie two in a byte: the error is their type, not their shape.
            if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                let (file, found) = (self.shards[stored.shard].file.clone(), format!("{:?}", stored.dtype));
                return Err(TrainerError::TensorType { file, tensor: tensor.into(), found });
            }
            let (expected, found) = (shape.to_vec(), stored.shape.clone());
            let file = self.shards[stored.shard].file.clone();
            return Err(TrainerError::TensorShape { file, tensor: tensor.into(), expected, found });
        }
        Ok(stored)
    }
}

impl Shard<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Given(bytes) => bytes,
        }
    }

    /// Every tensor of the file, as of shard `shard`.
    fn tensors(&self, shard: usize) -> Result<impl Iterator<Item = (String, TensorEntry)> + use<>, TrainerError> {
        let (header, metadata) = float_bytes::parsed(self.bytes(), SafeTensors::read_metadata)
            .map_err(|reason| TrainerError::Weights { file: self.file.clone(), reason })?;
        let tensors = metadata.tensors().into_iter().map(|(name, info)| {
            // Offsets count from the end of the header, whose own length precedes it.
            let (from, to) = info.data_offsets;
            let first = size_of::<u64>() + header;
            let range = first + from..first + to;
            (name, TensorEntry { shard, dtype: info.dtype, shape: info.shape.clone(), range, rows: None })
        });
        Ok(tensors.collect::<Vec<_>>().into_iter())
    }
}

fn map(path: &Path, name: &str) -> Result<Shard<'static>, TrainerError> {
    model_path::check_file(path)?;
    // SAFETY: the pages are read as plain bytes, of which every pattern is valid; a file that another process cuts off
    // while it is mapped ends this one with a bus error, as documented on `open`.
    let mapped = File::open(path).and_then(|file| unsafe { Mmap::map(&file) });
    let mapped = mapped.map_err(|source| TrainerError::Read { path: path.into(), source })?;
    Ok(Shard { name: name.into(), file: path.display().to_string(), bytes: Bytes::Mapped(mapped.into()) })
}

/// Refuses values that are no numbers; the first is number `first` of its tensor.
fn check_finite(values: &[f32], file: &str, tensor: &str, first: usize) -> Result<(), TrainerError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let (file, tensor) = (file.into(), tensor.into());
            Err(TrainerError::NotANumber { file, tensor, at: first + at, value: values[at] })
        }
        None => Ok(()),
    }
}

/// The error for a folder without model.safetensors: names weights of another format that lie there.
fn missing_weights(folder: &Path, whole: PathBuf) -> TrainerError {
    let files = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut others: Vec<String> = files
        .filter_map(|name| name.into_string().ok())
        .filter(|name| {
            let end = Path::new(name).extension().and_then(|end| end.to_str()).unwrap_or_default();
            ["bin", "pt", "pth", "gguf", "h5", "msgpack", "safetensors"].contains(&end)
        })
        .collect();
    others.sort();
    if let Some(gguf) = others.iter().find(|name| name.to_lowercase().ends_with(".gguf")) {
        let file = folder.join(gguf);
        let reason = format!("it is missing, but {gguf} can be read: model.path = {:?}", file.display().to_string());
        return TrainerError::File { path: whole, reason };
    }
    let Some(first) = others.first() else {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return TrainerError::Read { path: whole, source };
    };
    let reason = format!(
        "it is missing, and {first} is not read: write {SINGLE_FILE} with transformers, from_pretrained({:?}) and save_pretrained",
        folder.display().to_string()
    );
    TrainerError::File { path: whole, reason }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn file(tensors: &[(&str, Dtype, &[u8])]) -> Vec<u8> {
        let view = |dtype: Dtype, data| {
            let count = 8 * size_of_val::<[u8]>(data) / dtype.bitsize();
            safetensors::tensor::TensorView::new(dtype, vec![count], data).unwrap()
        };
        safetensors::serialize(tensors.iter().map(|(name, dtype, data)| (*name, view(*dtype, *data))), None).unwrap()
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn half_precision_files_are_read_and_other_types_refused() {
        let values = [1.0f32, -2.5, 0.15625];
        let halves: Vec<u8> = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let upper: Vec<u8> = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        let bytes = file(&[("f16", Dtype::F16, &halves), ("bf16", Dtype::BF16, &upper), ("u8", Dtype::U8, &[1, 2, 3])]);
        let checkpoint = Checkpoint::read(&bytes, "m").unwrap();
        assert_eq!(checkpoint.values("f16", &[3]).unwrap(), values);
        assert_eq!(checkpoint.values("bf16", &[3]).unwrap(), values);
        let error = |tensor: &str, shape: &[usize]| checkpoint.values(tensor, shape).unwrap_err().to_string();
        let says = "model weights m: tensor u8 has type U8, but only F32, F16 and BF16 are read: save the model in one of these";
        assert!(error("u8", &[3]).starts_with(says) && error("u8", &[6]).starts_with(says));
        assert_eq!(error("f16", &[1, 3]), "model weights m: tensor f16 has shape [3], but config.json makes it [1, 3]");
        assert_eq!(error("lm_head.weight", &[3]), "model weights m: tensor lm_head.weight is missing");
        assert!(checkpoint.has("u8") && !checkpoint.has("lm_head.weight"));
        assert!(Checkpoint::read(&bytes[..bytes.len() - 1], "m").is_err());
    }

    #[test]
    fn a_weight_that_is_no_number_is_named_with_its_place() {
        for odd in [f32::NAN, f32::NEG_INFINITY] {
            let bytes = file(&[("norm", Dtype::F32, &f32s(&[1.0, odd, 2.0]))]);
            let error = Checkpoint::read(&bytes, "m").unwrap().values("norm", &[3]).unwrap_err().to_string();
            assert_eq!(error, format!("model weights m: tensor norm has {odd} at value 1"));
        }
    }

    #[test]
    fn weights_that_are_none_are_told_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pytorch_model.bin"), b"pickled").unwrap();
        let error = refused(&dir);
        assert!(
            error.starts_with("model file model.safetensors: it is missing, and pytorch_model.bin is not read: write"),
            "{error}"
        );
        std::fs::write(dir.path().join("model-q8_0.gguf"), b"GGUF").unwrap();
        let error = refused(&dir);
        assert!(
            error.starts_with(
                "model file model.safetensors: it is missing, but model-q8_0.gguf can be read: model.path ="
            ),
            "{error}"
        );
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1044992\n";
        std::fs::write(dir.path().join(SINGLE_FILE), pointer).unwrap();
        let error = refused(&dir);
        assert!(
            error.starts_with(
                "model file model.safetensors: it is a pointer of git-lfs, not the file: run git lfs pull"
            ),
            "{error}"
        );
        std::fs::remove_file(dir.path().join(SINGLE_FILE)).unwrap();
        std::fs::create_dir(dir.path().join(SINGLE_FILE)).unwrap();
        assert_eq!(refused(&dir), "model file model.safetensors: it is a directory, not a file");
    }

    /// A folder of two shards: `a` in the first, `b` and `c` in the second, and an index that says `map`.
    fn sharded(map: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("one.safetensors", &file(&[("a", Dtype::F32, &f32s(&[1.0, 2.0]))]));
        write(
            "two.safetensors",
            &file(&[("b", Dtype::F32, &f32s(&[3.0])), ("c", Dtype::F32, &f32s(&[4.0, 5.0, 6.0]))]),
        );
        write(INDEX, format!("{{\"metadata\": {{\"total_size\": 24}}, \"weight_map\": {{{map}}}}}").as_bytes());
        dir
    }

    const MAP: &str = r#""a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors""#;

    fn refused(dir: &tempfile::TempDir) -> String {
        let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn a_sharded_checkpoint_is_read_as_if_it_were_one_file() {
        let dir = sharded(MAP);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.values("a", &[2]).unwrap(), [1.0, 2.0]);
        assert_eq!(checkpoint.values("c", &[3]).unwrap(), [4.0, 5.0, 6.0]);
        let error = checkpoint.values("b", &[7]).unwrap_err().to_string();
        assert!(error.ends_with("two.safetensors: tensor b has shape [1], but config.json makes it [7]"), "{error}");
        let error = checkpoint.values("d", &[1]).unwrap_err().to_string();
        assert!(error.ends_with("model.safetensors.index.json: tensor d is missing"), "{error}");
        let names: Vec<&str> = checkpoint.shards().iter().map(|shard| shard.name.as_str()).collect();
        assert_eq!((names, checkpoint.tensors().count()), (vec!["one.safetensors", "two.safetensors"], 3));
    }

    #[test]
    fn one_file_wins_over_an_index_beside_it() {
        let dir = sharded(r#""x": "nowhere.safetensors""#);
        std::fs::write(dir.path().join(SINGLE_FILE), file(&[("x", Dtype::F32, &f32s(&[9.0]))])).unwrap();
        assert_eq!(Checkpoint::open(dir.path()).unwrap().values("x", &[1]).unwrap(), [9.0]);
    }

    #[test]
    fn what_is_wrong_with_shards_is_named() {
        let dir = sharded(MAP);
        std::fs::remove_file(dir.path().join("two.safetensors")).unwrap();
        let error = refused(&dir);
        assert!(error.starts_with("model weights model.safetensors.index.json: shard two.safetensors: "), "{error}");
        assert_eq!(
            refused(&sharded(r#""a": "one.safetensors", "d": "two.safetensors""#)),
            "model weights model.safetensors.index.json: tensor d should lie in two.safetensors, which does not have it"
        );
        assert_eq!(
            refused(&sharded(r#""a": "two.safetensors", "b": "two.safetensors""#)),
            "model weights model.safetensors.index.json: tensor a should lie in two.safetensors, which does not have it"
        );
        assert_eq!(
            refused(&sharded(r#""a": "../one.safetensors""#)),
            "model weights model.safetensors.index.json: shard ../one.safetensors is no plain file name"
        );
        assert!(refused(&sharded("a")).contains("index.json: key must be a string"));
    }

    #[test]
    fn a_cut_off_shard_is_named() {
        let dir = sharded(MAP);
        let shard = dir.path().join("one.safetensors");
        let bytes = std::fs::read(&shard).unwrap();
        for left in [bytes.len() - 1, 20, 7, 0] {
            std::fs::write(&shard, &bytes[..left]).unwrap();
            let error = refused(&dir);
            assert!(
                error.starts_with("model weights one.safetensors: not a readable safetensors file: "),
                "{left}: {error}"
            );
        }
    }

    #[test]
    fn a_folder_without_weights_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refused(&dir).starts_with("cannot read model file model.safetensors: "));
    }
}
