//! The first-party codecs as components, through real frames: what comes back, and the bytes that it costs.

use std::sync::Arc;

use crate::adapter::{AdapterLayout, Role, TensorSpec};
use crate::policy::{Content, Context, Direction, LimitsConfig, Memory, PolicyConfig, PolicyHost};
use crate::wire::{Frame, FrameKind, Header, Limits, UploadHeader};

/// Rank 16 between 4000 and 2000.
fn layout() -> Arc<AdapterLayout> {
    let tensor = |end: &str, role, shape: [usize; 2]| TensorSpec {
        name: format!("base_model.model.layers.0.{end}.weight"),
        role,
        shape: shape.into(),
        rank: 16,
        scale: 2.0,
        seed: 3,
    };
    let (a, b) = (tensor("lora_A", Role::LoraA, [16, 2000]), tensor("lora_B", Role::LoraB, [4000, 16]));
    Arc::new(AdapterLayout::new(vec![a, b]))
}

/// A codec at work: the policy, its bits and its density.
struct Case {
    policy: &'static str,
    bits: u32,
    density: f64,
    /// The reduction against f32, within 6 percent. FedSRD takes A alone here, whose partners are larger: shorter gaps.
    reduction: f64,
    /// The most that the squared error may be, as a share.
    error: f64,
}

const CASES: [Case; 8] = [
    Case { policy: "topk-ef", bits: 2, density: 1.0 / 64.0, reduction: 215.0, error: 0.93 },
    Case { policy: "topk-ef", bits: 4, density: 1.0 / 16.0, reduction: 53.0, error: 0.78 },
    Case { policy: "topk-ef", bits: 16, density: 1.0 / 4.0, reduction: 6.6, error: 0.35 },
    Case { policy: "stc", bits: 1, density: 1.0 / 32.0, reduction: 136.0, error: 0.87 },
    Case { policy: "eden", bits: 1, density: 1.0, reduction: 32.0, error: 0.60 },
    Case { policy: "eden", bits: 4, density: 1.0, reduction: 8.0, error: 0.0101 },
    Case { policy: "fedsrd-topk", bits: 16, density: 1.0 / 4.0, reduction: 7.4, error: 0.70 },
    Case { policy: "ecolora", bits: 16, density: 1.0 / 4.0, reduction: 33.0, error: 0.90 },
];

impl Case {
    /// An upload through its frame: how many bytes, and what the server has.
    fn exchange(&self, host: &PolicyHost, delta: &Arc<Vec<f32>>, start: &Arc<Vec<f32>>) -> (usize, Arc<Vec<f32>>) {
        let options = format!(r#"{{"direction":"upload","bits":{}}}"#, self.bits);
        let instance = || host.load(self.policy).unwrap().compressor(&layout(), &options).unwrap();
        let context = Context {
            direction: Direction::Upload,
            content: Content::Delta,
            round: 1,
            rounds: 40,
            seed: 1,
            client: Some(3),
            tier: 0,
            density: self.density,
            rank: 0,
            byte_budget: None,
            examples: 0,
            loss: Some(2.0),
            last_seen: None,
        };
        let (mut client, mut server) = (Memory::default(), Memory::default());
        let mut sender = instance();
        if host.load(self.policy).unwrap().plans() {
            assert_eq!(sender.plan(&context, start.clone(), start.clone(), &mut client).unwrap(), None);
        }
        let message = sender.encode(&context, delta.clone(), start.clone(), &mut client).unwrap();
        let upload = UploadHeader::default();
        let header = Header { kind: FrameKind::Upload, layout: 1, policy: 2, round: 1, client: 3, sequence: 0, upload };
        let frame = Frame::encode(&header, &message).unwrap();
        let received = frame.decode(&Limits::for_values(delta.len())).unwrap();
        (frame.len(), instance().decode(&context, received, start.clone(), &mut server).unwrap())
    }
}

#[test]
fn codecs_cost_and_keep_what_their_papers_say() {
    let host = PolicyHost::new(&LimitsConfig::default(), &PolicyConfig::default()).unwrap();
    let start = layout().start().0;
    let delta = Arc::new(cellm_kernels::random_normal(start.len(), 5, 1));
    let norm = cellm_kernels::norm(&delta);
    for case in &CASES {
        let (bytes, decoded) = case.exchange(&host, &delta, &start);
        let reduction = (delta.len() * 4) as f64 / bytes as f64;
        let error = (cellm_kernels::distance(&delta, &decoded) / norm).powi(2);
        let name = format!("{} at {} bits and {}", case.policy, case.bits, case.density);
        assert!((reduction / case.reduction - 1.0).abs() < 0.06, "{name}: {reduction} times fewer bytes");
        assert!(error < case.error, "{name}: error {error}");
    }
}
