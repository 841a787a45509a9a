//! The data readers beside pandas, pyarrow, datasets and PIL: fixtures that these wrote in, differences out.
//! `tests/golden/data.py` writes them.

use std::path::PathBuf;

use serde_json::Value;

use super::image_decoder::decode;
use super::{Config, Content, Dataset};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data"))
}

fn expected(kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all[kind].as_array().unwrap().clone()
}

fn config(case: &Value) -> Config {
    let config: Config = serde_json::from_value(case["data"].clone()).unwrap();
    Config { path: Some(folder().join(case["file"].as_str().unwrap())), ..config }
}

fn texts(list: &Value) -> Option<Vec<String>> {
    Some(list.as_array()?.iter().map(|text| text.as_str().unwrap().to_owned()).collect())
}

/// The differences of a case.
fn differences(case: &Value) -> Vec<String> {
    let config = config(case);
    let data = match Dataset::load(&config, case["by"].as_str(), None) {
        Ok(data) => data,
        Err(error) => return vec![error.to_string()],
    };
    let numbers: Vec<u32> = (0..).take(data.len()).collect();
    let mut found = Vec::new();
    let mut compare = |what: &str, ours: Vec<String>| {
        if let Some(theirs) = texts(&case[what]).filter(|theirs| *theirs != ours) {
            found.push(format!("{what}: {ours:?}, reference {theirs:?}"));
        }
    };
    let read = data.read(&numbers).unwrap();
    let text = |content: &Content| match content {
        Content::Text { text, .. } => text.clone(),
        other => format!("{other:?}"),
    };
    compare("texts", read.iter().map(|record| text(&record.content)).collect());
    let label = |record: &u32| data.label(*record).map(|label| data.labels()[label as usize].clone());
    compare("labels", numbers.iter().filter_map(label).collect());
    compare("ids", numbers.iter().filter_map(|record| data.natural_id(*record).map(str::to_owned)).collect());
    compare("classes", data.classes().to_vec());
    let left_out = case["left_out"].as_u64().unwrap_or(0);
    if data.left_out().count() as u64 != left_out {
        found.push(format!("{} left out, reference {left_out}", data.left_out().count()));
    }
    found
}

#[test]
fn records_are_those_that_pandas_and_datasets_read() {
    let cases = expected("records");
    let differ = |case: &Value| {
        let differences = differences(case);
        (!differences.is_empty()).then(|| format!("{} {}: {}", case["file"], case["data"], differences.join("; ")))
    };
    let found: Vec<String> = cases.iter().filter_map(differ).collect();
    assert!(cases.len() > 40 && found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    for case in expected("errors") {
        let error = Dataset::load(&config(&case), None, None).unwrap_err().to_string();
        let says = case["says"].as_str().unwrap();
        assert!(error.contains(says), "{}: `{error}` does not say `{says}`", case["file"]);
    }
    let decoded = |name: &str| decode(&std::fs::read(folder().join("pictures").join(name)).unwrap());
    assert!(decoded("deep.png").unwrap_err().contains("16 bits of gray"));
    assert_eq!(decoded("web.webp").unwrap_err(), "it is a WebP, PNG and JPEG are read");
}

#[test]
fn pictures_have_the_pixels_that_pil_finds_in_them() {
    for case in expected("pictures") {
        let file = case["file"].as_str().unwrap();
        let image = decode(&std::fs::read(folder().join(file)).unwrap()).unwrap();
        let size = ["height", "width"].map(|side| case[side].as_u64().unwrap() as usize);
        assert_eq!([image.height, image.width], size, "{file}");
        let pixels = std::fs::read(folder().join(format!("{file}.rgb"))).unwrap();
        let plane = image.height * image.width;
        let ours = (0..plane * 3).map(|at| image.values[at % 3 * plane + at / 3]);
        let apart: Vec<u8> = ours.zip(pixels).map(|(ours, theirs)| ours.abs_diff(theirs)).collect();
        let most = *apart.iter().max().unwrap();
        assert!(u64::from(most) <= case["tolerance"].as_u64().unwrap(), "{file}: a value is {most} off");
    }
}
