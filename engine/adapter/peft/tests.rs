//! The promises of reading and writing PEFT folders.

use super::*;
use crate::adapter::{Role, TensorSpec};

const PREFIX: &str = "base_model.model.model.layers.0.self_attn";

/// A pair of `rank`, scale 2, for each of these linear layers of three inputs and two outputs.
fn specs(rank: usize, linears: &[&str]) -> Vec<TensorSpec> {
    let spec = |linear: &str, role, part: &str, shape: [usize; 2]| TensorSpec {
        name: format!("{PREFIX}.{linear}.{part}.weight"),
        role,
        shape: shape.into(),
        rank,
        scale: 2.0,
        seed: 7,
    };
    let pair = |linear: &&str| {
        [spec(linear, Role::LoraA, "lora_A", [rank, 3]), spec(linear, Role::LoraB, "lora_B", [2, rank])]
    };
    linears.iter().flat_map(pair).collect()
}

fn head(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.into(), role: Role::Head, shape: shape.into(), rank: 0, scale: 1.0, seed: 0 }
}

fn layout(rank: usize, linears: &[&str]) -> AdapterLayout {
    AdapterLayout::new(specs(rank, linears))
}

fn config(rank: usize) -> PeftConfig {
    PeftConfig {
        base_model: Some("base".into()),
        task: Some("CAUSAL_LM".into()),
        rank,
        alpha: 2.0 * rank as f32,
        rank_pattern: Default::default(),
        alpha_pattern: Default::default(),
        rslora: false,
        dropout: 0.5,
        targets: ["q", "v"].into(),
        fan_in_fan_out: false,
        heads: Vec::new(),
        residual: false,
        classes: Vec::new(),
        excluded: Targets::Names(Vec::new()),
        layers: Vec::new(),
        layers_pattern: Vec::new(),
    }
}

/// Every value another.
fn values(layout: &AdapterLayout) -> AdapterWeights {
    AdapterWeights(Arc::new((0..layout.values()).map(|value| value as f32 + 0.25).collect()))
}

/// The text of an error, without the folder.
fn said(dir: &Path, error: PeftError) -> String {
    error.to_string().replace(&format!("{}/", dir.display()), "")
}

/// The values that reading gives.
fn weights(dir: &Path, layout: &AdapterLayout, start: AdapterWeights) -> Result<AdapterWeights, PeftError> {
    read(dir, layout, start, true).map(|read| read.weights)
}

/// The adapter that is read, under the layout given, from a folder of rank 2 with the layers `v`, `q`.
fn read_as(layout_read: &AdapterLayout) -> Result<AdapterWeights, String> {
    let dir = tempfile::tempdir().unwrap();
    let written = layout(2, &["v", "q"]);
    write(dir.path(), &written, &values(&written), &config(2)).unwrap();
    assert_eq!(read_config(dir.path()).unwrap(), config(2));
    weights(dir.path(), layout_read, layout_read.start()).map_err(|error| said(dir.path(), error))
}

#[test]
fn what_was_written_is_read_back_to_the_bit_in_layout_order() {
    let layout = layout(2, &["v", "q"]);
    assert_eq!(read_as(&layout).unwrap(), values(&layout));
}

#[test]
fn a_folder_of_another_adapter_is_refused_with_both_values() {
    let error = |rank, names: &[&str]| read_as(&layout(rank, names)).unwrap_err();
    assert_eq!(
        error(2, &["v", "k"]),
        "adapter weights adapter_model.safetensors: \
         missing: base_model.model.model.layers.0.self_attn.k.lora_A.weight [2, 3], \
         base_model.model.model.layers.0.self_attn.k.lora_B.weight [2, 2]; \
         not part of the run's adapter: base_model.model.model.layers.0.self_attn.q.lora_A.weight [2, 3], \
         base_model.model.model.layers.0.self_attn.q.lora_B.weight [2, 2]"
    );
    assert_eq!(
        error(4, &["v", "q"]),
        "adapter config adapter_config.json: r of model.layers.0.self_attn.v is 2, but the run has 4"
    );
    let mut specs = specs(2, &["v", "q"]);
    specs[0].scale = 1.5;
    assert_eq!(
        read_as(&AdapterLayout::new(specs.clone())).unwrap_err(),
        "adapter config adapter_config.json: the scale of model.layers.0.self_attn.v is 2, but the run has 1.5"
    );
    specs[0].scale = 2.0;
    specs[0].shape = vec![3, 2];
    assert_eq!(
        read_as(&AdapterLayout::new(specs)).unwrap_err(),
        "adapter weights adapter_model.safetensors: tensor base_model.model.model.layers.0.self_attn.v.lora_A.weight has \
         shape [2, 3], but the run's has [3, 2]"
    );
}

#[test]
fn many_missing_tensors_are_counted_behind_the_first() {
    let names: Vec<String> = (0..9).map(|number| format!("l{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["v", "q"]).collect();
    assert!(read_as(&layout(2, &names)).unwrap_err().ends_with("l3.lora_B.weight [2, 2] and 10 more"));
}

#[test]
fn heads_go_under_modules_to_save_and_older_names_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut specs = specs(2, &["v", "q"]);
    specs.push(head("base_model.model.score.weight", &[5, 3]));
    let layout = AdapterLayout::new(specs);
    let expected = values(&layout);
    write(dir.path(), &layout, &expected, &PeftConfig { task: Some("SEQ_CLS".into()), ..config(2) }).unwrap();
    assert_eq!(read_config(dir.path()).unwrap().heads, ["score"]);
    assert_eq!(weights(dir.path(), &layout, layout.start()).unwrap(), expected);

    let file = dir.path().join(WEIGHTS);
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    for older in ["modules_to_save", "modules_to_save.default"] {
        let renamed = tensors.iter().map(|(name, view)| (name.replace("score", &format!("score.{older}")), view));
        std::fs::write(&file, safetensors::serialize(renamed, None).unwrap()).unwrap();
        assert_eq!(weights(dir.path(), &layout, layout.start()).unwrap(), expected);
    }
    let without = tensors.iter().filter(|(name, _)| !name.contains("score")).map(|(name, view)| (name, view));
    std::fs::write(&file, safetensors::serialize(without, None).unwrap()).unwrap();
    let error = said(dir.path(), weights(dir.path(), &layout, layout.start()).unwrap_err());
    assert!(error.ends_with("missing: base_model.model.score.weight [5, 3]"), "{error}");
}

#[test]
fn a_head_of_several_layers_is_one_module_and_older_names_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut specs = specs(2, &["v", "q"]);
    for (layer, rows) in [("dense", 3), ("out_proj", 5)] {
        specs.push(head(&format!("base_model.model.classifier.{layer}.weight"), &[rows, 3]));
        specs.push(head(&format!("base_model.model.classifier.{layer}.bias"), &[rows]));
    }
    let layout = AdapterLayout::new(specs);
    let expected = values(&layout);
    write(dir.path(), &layout, &expected, &PeftConfig { task: Some("SEQ_CLS".into()), ..config(2) }).unwrap();
    assert_eq!(read_config(dir.path()).unwrap().heads, ["classifier"]);
    assert_eq!(weights(dir.path(), &layout, layout.start()).unwrap(), expected);

    let file = dir.path().join(WEIGHTS);
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    for older in ["modules_to_save", "modules_to_save.default"] {
        let renamed =
            tensors.iter().map(|(name, view)| (name.replace("classifier", &format!("classifier.{older}")), view));
        std::fs::write(&file, safetensors::serialize(renamed, None).unwrap()).unwrap();
        assert_eq!(weights(dir.path(), &layout, layout.start()).unwrap(), expected, "{older}");
    }
}

#[test]
fn an_adapter_without_a_head_is_a_start_for_a_run_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let without = layout(2, &["v", "q"]);
    write(dir.path(), &without, &values(&without), &config(2)).unwrap();
    let mut specs = specs(2, &["v", "q"]);
    specs.push(head("base_model.model.classifier.bias", &[5]));
    let layout = AdapterLayout::new(specs);
    let start = AdapterWeights(vec![0.5; layout.values()].into());
    let read = weights(dir.path(), &layout, start).unwrap();
    assert_eq!(read.0[..without.values()], **values(&without).0);
    assert_eq!(read.0[without.values()..], [0.5; 5]);
}

#[test]
fn half_precision_adapters_are_read_and_other_types_refused() {
    use safetensors::Dtype;
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(2, &["v", "q"]);
    write(dir.path(), &layout, &values(&layout), &config(2)).unwrap();
    let write_as = |dtype: Dtype| {
        let bytes: Vec<Vec<u8>> = layout
            .tensors()
            .iter()
            .map(|tensor| {
                let values = &values(&layout).0[tensor.offset..tensor.offset + tensor.len];
                crate::adapter::float_bytes::bytes(dtype, values).unwrap_or_else(|| vec![0; 8 * values.len()])
            })
            .collect();
        let views = layout.tensors().iter().zip(&bytes).map(|(tensor, bytes)| {
            let view = safetensors::tensor::TensorView::new(dtype, tensor.spec.shape.clone(), bytes).unwrap();
            (tensor.spec.name.clone(), view)
        });
        std::fs::write(dir.path().join(WEIGHTS), safetensors::serialize(views, None).unwrap()).unwrap();
    };
    for dtype in [Dtype::F16, Dtype::BF16] {
        write_as(dtype);
        assert_eq!(weights(dir.path(), &layout, layout.start()).unwrap(), values(&layout), "{dtype:?}");
    }
    write_as(Dtype::I64);
    let error = said(dir.path(), weights(dir.path(), &layout, layout.start()).unwrap_err());
    assert!(error.ends_with("lora_A.weight has type I64, but only F32, F16 and BF16 are read"), "{error}");
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(2, &["v", "q"]);
    let error = || weights(dir.path(), &layout, layout.start()).unwrap_err().to_string();
    assert!(error().starts_with("cannot read adapter file ") && error().contains(CONFIG));
    write(dir.path(), &layout, &layout.start(), &config(2)).unwrap();
    let bytes = std::fs::read(dir.path().join(WEIGHTS)).unwrap();
    std::fs::write(dir.path().join(WEIGHTS), &bytes[..bytes.len() - 1]).unwrap();
    assert!(error().contains("adapter_model.safetensors: not a readable safetensors file: "), "{}", error());
}

#[test]
fn variants_of_lora_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |key: &str, value: serde_json::Value| {
        let mut json = serde_json::json!({
            "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"], "bias": "none", "use_dora": false,
            "rank_pattern": null, "modules_to_save": null, "layers_to_transform": null, "megatron_config": {},
        });
        json[key] = value;
        std::fs::write(dir.path().join(CONFIG), json.to_string()).unwrap();
        let error = read_config(dir.path()).map(|_| ()).map_err(|error| said(dir.path(), error));
        error.err().unwrap_or_default()
    };
    assert_eq!(refused("inference_mode", true.into()), "");
    assert_eq!(
        refused("peft_type", "LOHA".into()),
        "adapter config adapter_config.json: peft_type is \"LOHA\", but only \"LORA\" is supported"
    );
    assert!(refused("bias", "all".into()).ends_with("bias is \"all\", but only \"none\" is supported"));
    assert!(refused("use_dora", true.into()).ends_with("use_dora is true, which is not supported"));
    assert_eq!(refused("layers_to_transform", serde_json::json!([1])), "");
    assert_eq!(refused("exclude_modules", serde_json::json!(["k"])), "");
    assert!(refused("layers_pattern", "h".into()).ends_with("which PEFT refuses without layers_to_transform"));
    assert!(refused("r", 0.into()).ends_with("r is 0, but only a whole number above 0 is supported"));
    assert!(refused("r", (-1).into()).contains("r is -1, but"));
    assert!(refused("lora_alpha", "x".into()).ends_with("lora_alpha is \"x\", but only a number is supported"));
    assert!(refused("rank_pattern", serde_json::json!({ "q": 0 })).contains("rank_pattern of q is 0, but"));
    assert!(refused("target_modules", serde_json::Value::Null).contains("target_modules is missing"));
    assert!(refused("trainable_token_indices", serde_json::json!([3])).contains("trainable_token_indices is [3]"));
    assert!(refused("target_parameters", serde_json::json!(["q.weight"])).contains("target_parameters is"));
    assert!(refused("init_lora_weights", "pissa_niter_4".into()).ends_with("which changes the base model's weights"));
    assert!(refused("target_modules", 3.into()).contains("all-linear"));
}

/// Writes the tensors of a folder again under other names.
fn rename(dir: &Path, to: impl Fn(&str) -> String, more: &[&str]) {
    let file = dir.join(WEIGHTS);
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    let first = tensors[0].1.clone();
    let renamed = tensors.iter().map(|(name, view)| (to(name), view.clone()));
    let more = more.iter().map(|name| (name.to_string(), first.clone()));
    std::fs::write(&file, safetensors::serialize(renamed.chain(more), None).unwrap()).unwrap();
}

#[test]
fn the_name_of_an_adapter_in_the_names_of_tensors_is_read_over() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(2, &["v", "q"]);
    write(dir.path(), &layout, &values(&layout), &config(2)).unwrap();
    rename(dir.path(), |name| name.replace(".weight", ".default.weight"), &[]);
    assert_eq!(weights(dir.path(), &layout, layout.start()).unwrap(), values(&layout));
    let twice = format!("{PREFIX}.v.lora_A.weight");
    rename(dir.path(), str::to_owned, &[&twice]);
    let error = said(dir.path(), weights(dir.path(), &layout, layout.start()).unwrap_err());
    assert!(error.contains("is there twice, under the name of an adapter too"), "{error}");
}

#[test]
fn what_peft_reads_over_is_read_over_and_said_and_what_the_rules_name_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(2, &["v", "q"]);
    write(dir.path(), &layout, &values(&layout), &config(2)).unwrap();
    let idle = format!("{PREFIX}.k.lora_A.weight");
    rename(dir.path(), str::to_owned, &[&idle, "base_model.model.lm_head.weight", "elsewhere"]);
    let found = read(dir.path(), &layout, layout.start(), true).unwrap();
    assert_eq!(found.weights, values(&layout));
    assert!(
        found.left_out[0]
            .ends_with(&format!("2 tensors are read over, as by PEFT, for no rule of the adapter names them ({idle})"))
    );
    let whole: Vec<&str> = found.whole.iter().map(|(named, _)| named.tensor.as_str()).collect();
    assert_eq!(whole, ["base_model.model.lm_head.weight"]);
    let named = "base_model.model.model.layers.7.self_attn.q.lora_A.weight";
    rename(dir.path(), str::to_owned, &[named]);
    let error = said(dir.path(), read(dir.path(), &layout, layout.start(), true).unwrap_err());
    assert!(error.contains(&format!("not part of the run's adapter: {named}")), "{error}");
}

#[test]
fn a_value_that_is_no_number_is_named_with_its_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(2, &["v", "q"]);
    let mut odd = values(&layout);
    Arc::<Vec<f32>>::make_mut(&mut odd.0)[3] = f32::NAN;
    write(dir.path(), &layout, &odd, &config(2)).unwrap();
    let error = said(dir.path(), weights(dir.path(), &layout, layout.start()).unwrap_err());
    assert!(error.ends_with("layers.0.self_attn.v.lora_A.weight has NaN at value 3"), "{error}");
}

#[test]
fn a_pair_that_the_files_rules_leave_out_is_not_taken_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(2, &["v", "q"]);
    write(dir.path(), &layout, &values(&layout), &config(2)).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join(CONFIG)).unwrap()).unwrap();
    json["exclude_modules"] = serde_json::json!(["q"]);
    std::fs::write(dir.path().join(CONFIG), json.to_string()).unwrap();
    let error = said(dir.path(), weights(dir.path(), &layout, layout.start()).unwrap_err());
    assert!(
        error.ends_with("the pair of model.layers.0.self_attn.q is left out by its rules, but the run has one"),
        "{error}"
    );
}

#[test]
fn all_linear_is_written_as_the_names_that_it_meant() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(2, &["v", "q"]);
    write(dir.path(), &layout, &values(&layout), &PeftConfig { targets: Targets::All, ..config(2) }).unwrap();
    assert_eq!(read_config(dir.path()).unwrap().targets, ["v", "q"].into());
}
