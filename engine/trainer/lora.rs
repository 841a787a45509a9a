//! LoRA (Hu et al. 2022): the linear layers that get a pair, its rank and scale, and its place in the flat adapter
//! vector; with `lora.residual` a residual of each of these layers (FedEx-LoRA, Singhal et al. 2025; FLoRA, Wang et al.
//! 2024).

use std::ops::Range;

use rand_core::Rng;

use super::block::BlockPlan;
use super::family::{Classifier, Linear, Spec};
use super::head::ClassPlan;
use super::pooler::PoolerPlan;
use super::projection::{PairPlace, PairPlan};
use super::{LoraConfig, TrainerError};
use crate::adapter::peft::{PairRule, PairRules, PeftConfig, Targets};
use crate::adapter::{AdapterLayout, Role, TensorSpec};
use crate::random::{Purpose, stream};

/// The layout of the adapter in PEFT's names, and the plan of every block. Tensors lie block by block, in the order in
/// which data flows, `A` before `B`; then the classifier head, with `classes` above 0; then the residuals, in the order
/// of the pairs, behind all trained values.
pub(super) fn plan(
    spec: &Spec,
    lora: &LoraConfig,
    classes: usize,
    seed: u64,
) -> Result<(AdapterLayout, Vec<BlockPlan>, Option<ClassPlan>), TrainerError> {
    check(lora)?;
    let rules = PairRules::new(&peft_config(lora))?;
    check_targets(spec, &rules, classes > 0, "section lora")?;
    check_size(spec, lora, &rules)?;
    let (mut specs, mut offset) = (Vec::new(), 0);
    let mut place = |path: &str, role: Role, shape: &[usize], rule: PairRule| {
        let (name, rank, scale) = match role {
            Role::LoraA => (format!("base_model.model.{path}.lora_A.weight"), rule.rank, rule.scale),
            Role::LoraB => (format!("base_model.model.{path}.lora_B.weight"), rule.rank, rule.scale),
            Role::Base => (TensorSpec::residual_name(path), 0, 1.0),
            _ => (format!("base_model.model.{path}"), 0, 1.0),
        };
        let number = specs.len() as u32;
        let seed = stream(seed, Purpose::LoraStart, number, 0).next_u64();
        specs.push(TensorSpec { name, role, shape: shape.into(), rank, scale, seed });
        let from = offset;
        offset += shape.iter().product::<usize>();
        from..offset
    };
    let mut blocks: Vec<BlockPlan> = Vec::with_capacity(spec.blocks());
    for number in 0..spec.blocks() {
        let mut block: BlockPlan = std::array::from_fn(|_| PairPlan { pairs: Vec::new(), inputs: 0, outputs: 0 });
        for (plan, linears) in block.iter_mut().zip(&spec.linears) {
            for linear in linears {
                let path = spec.path(number, linear.path);
                if let Some(rule) = rules.pair(&path)? {
                    plan.pairs.push(PairPlace {
                        a: place(&path, Role::LoraA, &[rule.rank, linear.inputs], rule),
                        b: place(&path, Role::LoraB, &[linear.outputs, rule.rank], rule),
                        rank: rule.rank,
                        scale: rule.scale,
                        outputs: plan.outputs..plan.outputs + linear.outputs,
                        residual: None,
                    });
                }
                plan.inputs = linear.inputs;
                plan.outputs += linear.outputs;
            }
        }
        blocks.push(block);
    }
    let no_rule = PairRule { rank: 0, scale: 1.0 };
    let mut of_head = |name: &str, shape: &[usize]| place(name, Role::Head, shape, no_rule);
    let head = (classes > 0).then(|| class_plan(spec, classes, &mut of_head));
    for (number, block) in blocks.iter_mut().enumerate().filter(|_| lora.residual) {
        for (plan, linears) in block.iter_mut().zip(&spec.linears) {
            let mut pairs = plan.pairs.iter_mut();
            for linear in linears {
                let path = spec.path(number, linear.path);
                if let Some(rule) = rules.pair(&path)?
                    && let Some(pair) = pairs.next()
                {
                    pair.residual = Some(place(&path, Role::Base, &[linear.outputs, linear.inputs], rule));
                }
            }
        }
    }
    Ok((AdapterLayout::new(specs), blocks, head))
}

/// The plan of a head for classes, layer by layer in the order in which data flows; `place` is given the name and shape
/// of a tensor.
fn class_plan(spec: &Spec, classes: usize, place: &mut dyn FnMut(&str, &[usize]) -> Range<usize>) -> ClassPlan {
    let Classifier { name, bias, pooler } = spec.classifier;
    let pooler = pooler.filter(|pooler| pooler.trained).map(|pooler| PoolerPlan {
        weight: place(&format!("{}.weight", pooler.path), &[spec.hidden, spec.hidden]),
        bias: place(&format!("{}.bias", pooler.path), &[spec.hidden]),
        activation: pooler.activation,
    });
    let weight = place(&format!("{name}.weight"), &[classes, spec.hidden]);
    let bias = bias.then(|| place(&format!("{name}.bias"), &[classes]));
    ClassPlan { classes, weight, bias, pooler }
}

/// The settings as the adapter_config.json of a PEFT folder has them, for any model.
pub(super) fn peft_config(lora: &LoraConfig) -> PeftConfig {
    PeftConfig {
        base_model: None,
        task: None,
        rank: lora.rank,
        alpha: lora.alpha,
        rank_pattern: lora.rank_pattern.clone(),
        alpha_pattern: lora.alpha_pattern.clone(),
        rslora: lora.rslora,
        dropout: lora.dropout,
        targets: lora.targets.clone(),
        fan_in_fan_out: false,
        heads: Vec::new(),
        residual: lora.residual,
        classes: Vec::new(),
        excluded: Targets::Names(Vec::new()),
        layers: Vec::new(),
        layers_pattern: Vec::new(),
    }
}

/// The whole paths of the linear layers of all blocks.
pub(super) fn paths(spec: &Spec) -> impl Iterator<Item = (String, &Linear)> {
    let of_block =
        move |block| spec.linears.iter().flatten().map(move |linear| (spec.path(block, linear.path), linear));
    (0..spec.blocks()).flat_map(of_block)
}

/// Checks that every name and expression matches some layer, that at least one layer is trained, and that no module is
/// matched that cannot be.
fn check_targets(spec: &Spec, rules: &PairRules, classifies: bool, of: &str) -> Result<(), TrainerError> {
    let known = || spec.targets().join(", ");
    let mut others = spec.embeddings();
    others.extend(spec.classifier.frozen_pooler().map(String::from));
    // In all-linear PEFT has no head either. A trained layer of a head has no pair in PEFT, whatever names it.
    others.push(if classifies { spec.classifier.name.into() } else { LANGUAGE_HEAD_MODULE.into() });
    for path in others {
        if !rules.take_all() && rules.chooses(&path)? {
            return Err(TrainerError::NoPair { of: of.into(), path, known: known() });
        }
    }
    let paths: Vec<String> = paths(spec).map(|(path, _)| path).collect();
    match rules.idle(&paths)? {
        Some(target) => Err(TrainerError::UnknownTarget { target, known: known() }),
        None => Ok(()),
    }
}

/// The module of the language head in `transformers`.
pub(super) const LANGUAGE_HEAD_MODULE: &str = "lm_head";

/// Values that an adapter may have however small its model is: 2^24, 64 MB in f32.
const ALWAYS_ALLOWED_VALUES: u128 = 1 << 24;

/// Bounds an adapter before it is made, by four times the weights of its target layers.
fn check_size(spec: &Spec, lora: &LoraConfig, rules: &PairRules) -> Result<(), TrainerError> {
    let (mut values, mut weights) = (0u128, 0u128);
    for (path, linear) in paths(spec) {
        if let Some(rule) = rules.pair(&path)? {
            values += rule.rank as u128 * (linear.inputs + linear.outputs) as u128;
            weights += (linear.inputs * linear.outputs) as u128;
        }
    }
    let limit = ALWAYS_ALLOWED_VALUES.max(4 * weights);
    let key =
        if lora.rank_pattern.0.iter().any(|(_, rank)| *rank > lora.rank) { "lora.rank_pattern" } else { "lora.rank" };
    let [values, limit] = [values, limit].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
    if values > limit { Err(TrainerError::AdapterSize { key, values, limit }) } else { Ok(()) }
}

fn check(lora: &LoraConfig) -> Result<(), TrainerError> {
    let setting = |fine: bool, key, found: String, expected| match fine {
        true => Ok(()),
        false => Err(TrainerError::Setting { key, found, expected }),
    };
    setting(lora.rank > 0, "lora.rank", lora.rank.to_string(), "at least 1")?;
    setting(lora.alpha.is_finite(), "lora.alpha", lora.alpha.to_string(), "a finite number")?;
    setting((0.0..1.0).contains(&lora.dropout), "lora.dropout", lora.dropout.to_string(), "in [0, 1)")?;
    let no_rank = lora.rank_pattern.0.iter().find(|(_, rank)| *rank == 0);
    setting(no_rank.is_none(), "lora.rank_pattern", "0".into(), "at least 1 everywhere")?;
    let odd = lora.alpha_pattern.0.iter().map(|(_, alpha)| alpha).find(|alpha| !alpha.is_finite());
    setting(odd.is_none(), "lora.alpha_pattern", odd.map_or_else(String::new, f32::to_string), "finite numbers")?;
    setting(!lora.targets.is_empty(), "lora.targets", "empty".into(), "at least one linear layer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundled() -> Spec {
        Spec::read(include_bytes!("bundled/stories260k/config.json"), "config.json").unwrap()
    }

    fn layout(targets: &[&str], seed: u64) -> Result<AdapterLayout, String> {
        let targets = Targets::Names(targets.iter().map(|target| target.to_string()).collect());
        of(&LoraConfig { targets, ..LoraConfig::default() }, seed)
    }

    fn of(lora: &LoraConfig, seed: u64) -> Result<AdapterLayout, String> {
        plan(&bundled(), lora, 0, seed).map(|(layout, ..)| layout).map_err(|error| error.to_string())
    }

    #[test]
    fn tensors_have_pefts_names_and_shapes() {
        let layout = layout(&["v_proj", "down_proj"], 1).unwrap();
        let tensors: Vec<_> =
            layout.tensors().iter().map(|tensor| (tensor.spec.name.as_str(), &*tensor.spec.shape)).collect();
        assert_eq!(tensors.len(), 20);
        assert_eq!(tensors[0], ("base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight", &[8, 64][..]));
        assert_eq!(tensors[1], ("base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", &[32, 8][..]));
        assert_eq!(tensors[19], ("base_model.model.model.layers.4.mlp.down_proj.lora_B.weight", &[64, 8][..]));
    }

    #[test]
    fn without_targets_all_seven_linear_layers_of_the_bundled_model_make_46240_values() {
        let default = of(&LoraConfig::default(), 1).unwrap();
        assert_eq!(default, layout(&bundled().targets(), 1).unwrap());
        assert_eq!(default.values(), 46_240);
    }

    #[test]
    fn residuals_lie_behind_all_pairs_and_leave_them_as_they_are() {
        let lora = LoraConfig { targets: ["v_proj", "down_proj"].into(), ..LoraConfig::default() };
        let (without, ..) = plan(&bundled(), &lora, 0, 1).unwrap();
        let (with, ..) = plan(&bundled(), &LoraConfig { residual: true, ..lora }, 0, 1).unwrap();
        let (pairs, residuals) = with.tensors().split_at(20);
        assert_eq!(pairs, without.tensors());
        let names: Vec<_> = residuals.iter().map(|tensor| (tensor.spec.name.as_str(), &*tensor.spec.shape)).collect();
        assert_eq!(names.len(), 10);
        assert_eq!(names[0], ("base_model.model.model.layers.0.self_attn.v_proj.residual.weight", &[32, 64][..]));
        assert_eq!(names[9], ("base_model.model.model.layers.4.mlp.down_proj.residual.weight", &[64, 172][..]));
        assert!(residuals.iter().all(|tensor| tensor.spec.is_residual() && tensor.spec.rank == 0));
        assert_eq!((with.trained(), with.has_residual()), (without.values(), true));
        assert_eq!((without.trained(), without.has_residual()), (without.values(), false));
        assert!(with.start().0[with.trained()..].iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_head_lies_between_the_pairs_and_the_residuals() {
        let lora = LoraConfig { targets: ["v_proj"].into(), residual: true, ..LoraConfig::default() };
        let (layout, _, head) = plan(&bundled(), &lora, 3, 1).unwrap();
        let (head, tensor) = (head.unwrap(), &layout.tensors()[10]);
        assert_eq!((tensor.spec.name.as_str(), tensor.spec.role), ("base_model.model.score.weight", Role::Head));
        assert_eq!((&tensor.spec.shape[..], tensor.spec.rank), (&[3, 64][..], 0));
        assert_eq!((head.weight.clone(), head.bias), (tensor.offset..tensor.offset + 192, None));
        assert_eq!(layout.trained(), head.weight.end);
        assert!(layout.start().0[head.weight].iter().all(|value| *value == 0.0));
    }

    #[test]
    fn the_start_differs_between_tensors_and_between_seeds() {
        let (one, two) = (layout(&["q_proj"], 1).unwrap(), layout(&["q_proj"], 2).unwrap());
        let seeds: std::collections::BTreeSet<_> = one.tensors().iter().map(|tensor| tensor.spec.seed).collect();
        assert_eq!(seeds.len(), one.tensors().len());
        assert_ne!(one.hash(), two.hash());
    }

    #[test]
    fn an_unknown_target_is_refused_with_the_known_ones() {
        assert_eq!(
            layout(&["c_attn"], 1).unwrap_err(),
            "section lora names c_attn, but the model's linear layers are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, \
             down_proj"
        );
        assert_eq!(layout(&[], 1).unwrap_err(), "lora.targets is empty, but must be at least one linear layer");
    }

    #[test]
    fn an_expression_that_means_an_embedding_or_a_head_is_refused() {
        let of =
            |pattern: &str| of(&LoraConfig { targets: Targets::Pattern(pattern.into()), ..LoraConfig::default() }, 1);
        assert!(of(r".*_proj").is_ok());
        let error = of(r".*(q_proj|lm_head)").unwrap_err();
        assert!(
            error.starts_with("section lora names lm_head, which cannot have a pair here: q_proj, k_proj"),
            "{error}"
        );
        assert!(of(".*").unwrap_err().starts_with("section lora names model.embed_tokens, which"));
    }

    #[test]
    fn a_rank_out_of_proportion_is_refused_before_anything_is_made() {
        for rank in [100_000, 4_294_967_295, usize::MAX] {
            let error = of(&LoraConfig { rank, ..LoraConfig::default() }, 1).unwrap_err();
            assert!(error.starts_with("lora.rank makes the adapter "), "{error}");
            assert!(error.ends_with("but at most 16777216 fit: four times the layers that it is for"), "{error}");
        }
        let rank_pattern = [("q_proj".to_string(), 1 << 40)].into();
        let error = of(&LoraConfig { rank_pattern, ..LoraConfig::default() }, 1).unwrap_err();
        assert!(error.starts_with("lora.rank_pattern makes the adapter "), "{error}");
        assert!(of(&LoraConfig { rank: 256, ..LoraConfig::default() }, 1).is_ok());
    }

    #[test]
    fn targets_may_be_an_expression_and_patterns_set_ranks_and_scales() {
        let lora = LoraConfig {
            targets: Targets::Pattern(r".*layers\.[01]\..*(q|v)_proj".into()),
            rank_pattern: [("q_proj".to_string(), 2)].into(),
            alpha_pattern: [("layers.1.self_attn.v_proj".to_string(), 4.0)].into(),
            ..LoraConfig::default()
        };
        let layout = of(&lora, 1).unwrap();
        let seen: Vec<_> =
            layout.tensors().iter().map(|tensor| (&*tensor.spec.shape, tensor.spec.rank, tensor.spec.scale)).collect();
        assert_eq!(seen[..2], [(&[2, 64][..], 2, 8.0), (&[64, 2][..], 2, 8.0)]);
        assert_eq!(seen[2..4], [(&[8, 64][..], 8, 2.0), (&[32, 8][..], 8, 2.0)]);
        assert_eq!((seen[6], seen.len()), ((&[8, 64][..], 8, 0.5), 8));
        let rslora = of(&LoraConfig { rslora: true, rank: 16, ..LoraConfig::default() }, 1).unwrap();
        assert!(rslora.tensors().iter().all(|tensor| tensor.spec.scale == 4.0));
    }

    #[test]
    fn a_pattern_that_fits_nothing_or_is_none_is_refused() {
        let error = |lora| of(&lora, 1).unwrap_err();
        let rank_pattern = [("gate".to_string(), 2)].into();
        assert!(
            error(LoraConfig { rank_pattern, ..LoraConfig::default() }).starts_with("section lora names gate, but")
        );
        let rank_pattern = [("q_proj".to_string(), 0)].into();
        assert_eq!(
            error(LoraConfig { rank_pattern, ..LoraConfig::default() }),
            "lora.rank_pattern is 0, but must be at least 1 everywhere"
        );
        let targets = Targets::Pattern("(".into());
        assert!(
            error(LoraConfig { targets, ..LoraConfig::default() })
                .starts_with("section lora: the regular expression `(`")
        );
    }
}
