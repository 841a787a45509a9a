//! LoRA (Hu et al. 2022): which linear layers get a pair, and where each pair lies in the flat adapter vector; where the
//! config asks for it, a residual of each of these layers (FedEx-LoRA, Singhal et al. 2025; FLoRA, Wang et al. 2024).

use rand_core::Rng;

use super::block::{BlockPlan, PROJECTIONS, path, shape};
use super::checkpoint::LlamaConfig;
use super::projection::{PairPlace, PairPlan};
use super::{LoraConfig, TrainerError};
use crate::adapter::{AdapterLayout, Role, TensorSpec};
use crate::random::{Purpose, stream};

/// The layout of the adapter that a config asks for, in PEFT's names, and the plan of every block. Tensors lie block by
/// block, in the order in which data flows, `A` before `B`; residuals, in the same order, behind all pairs.
pub(super) fn plan(
    config: &LlamaConfig,
    lora: &LoraConfig,
    seed: u64,
) -> Result<(AdapterLayout, Vec<BlockPlan>), TrainerError> {
    check(lora)?;
    let scale = lora.alpha / lora.rank as f32;
    let (mut specs, mut offset) = (Vec::new(), 0);
    let mut place = |layer: usize, linear: &str, role: Role, shape: [usize; 2]| {
        let path = path(layer, linear);
        let (name, rank, scale) = match role {
            Role::LoraA => (format!("base_model.model.{path}.lora_A.weight"), lora.rank, scale),
            Role::LoraB => (format!("base_model.model.{path}.lora_B.weight"), lora.rank, scale),
            _ => (TensorSpec::residual_name(&path), 0, 1.0),
        };
        let number = specs.len() as u32;
        let seed = stream(seed, Purpose::LoraStart, number, 0).next_u64();
        specs.push(TensorSpec { name, role, shape: shape.into(), rank, scale, seed });
        let from = offset;
        offset += shape[0] * shape[1];
        from..offset
    };
    let mut blocks = Vec::with_capacity(config.layers);
    for layer in 0..config.layers {
        blocks.push(PROJECTIONS.map(|linears| {
            let mut plan = PairPlan { pairs: Vec::new(), rank: lora.rank, scale, inputs: 0, outputs: 0 };
            for linear in linears {
                let [outputs, inputs] = shape(config, linear);
                if lora.targets.iter().any(|target| target == linear) {
                    plan.pairs.push(PairPlace {
                        a: place(layer, linear, Role::LoraA, [lora.rank, inputs]),
                        b: place(layer, linear, Role::LoraB, [outputs, lora.rank]),
                        outputs: plan.outputs..plan.outputs + outputs,
                        residual: None,
                    });
                }
                plan.inputs = inputs;
                plan.outputs += outputs;
            }
            plan
        }));
    }
    for (layer, block) in blocks.iter_mut().enumerate().filter(|_| lora.residual) {
        for (plan, linears) in block.iter_mut().zip(PROJECTIONS) {
            let targets = linears.iter().filter(|linear| lora.targets.iter().any(|target| target == *linear));
            for (pair, linear) in plan.pairs.iter_mut().zip(targets) {
                pair.residual = Some(place(layer, linear, Role::Base, shape(config, linear)));
            }
        }
    }
    Ok((AdapterLayout::new(specs), blocks))
}

fn check(lora: &LoraConfig) -> Result<(), TrainerError> {
    let setting = |fine: bool, key, found: String, expected| match fine {
        true => Ok(()),
        false => Err(TrainerError::Setting { key, found, expected }),
    };
    setting(lora.rank > 0, "lora.rank", lora.rank.to_string(), "at least 1")?;
    setting(lora.alpha.is_finite(), "lora.alpha", lora.alpha.to_string(), "a finite number")?;
    setting((0.0..1.0).contains(&lora.dropout), "lora.dropout", lora.dropout.to_string(), "in [0, 1)")?;
    setting(!lora.targets.is_empty(), "lora.targets", "empty".into(), "at least one linear layer")?;
    let known = PROJECTIONS.concat();
    match lora.targets.iter().find(|target| !known.contains(&target.as_str())) {
        Some(target) => Err(TrainerError::UnknownTarget { target: target.clone(), known: known.join(", ") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(targets: &[&str], seed: u64) -> Result<AdapterLayout, String> {
        let config = LlamaConfig::read(include_bytes!("bundled/stories260k/config.json"), "config.json").unwrap();
        let lora =
            LoraConfig { targets: targets.iter().map(|target| target.to_string()).collect(), ..LoraConfig::default() };
        plan(&config, &lora, seed).map(|(layout, _)| layout).map_err(|error| error.to_string())
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
    fn all_seven_targets_of_the_bundled_model_make_46240_values() {
        assert_eq!(layout(&PROJECTIONS.concat(), 1).unwrap().values(), 46_240);
    }

    #[test]
    fn residuals_lie_behind_all_pairs_and_leave_them_as_they_are() {
        let config = LlamaConfig::read(include_bytes!("bundled/stories260k/config.json"), "config.json").unwrap();
        let lora = LoraConfig { targets: vec!["v_proj".into(), "down_proj".into()], ..LoraConfig::default() };
        let (without, _) = plan(&config, &lora, 1).unwrap();
        let (with, _) = plan(&config, &LoraConfig { residual: true, ..lora }, 1).unwrap();
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
            "lora.targets has c_attn, but the model's linear layers are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, \
             down_proj"
        );
        assert_eq!(layout(&[], 1).unwrap_err(), "lora.targets is empty, but must be at least one linear layer");
    }
}
