//! A training step gives the same bits on one thread and on many.

use candle_core::{Device, Tensor};
use fieldmark::head::HeadKind;
use fieldmark_trainer::net::backbone::Backbone;
use fieldmark_trainer::net::mc_loss::Factors;
use fieldmark_trainer::net::network::{ClassLayer, Learning, NetworkConfig, Norms, build};
use fieldmark_trainer::random::{Stream, stream};
use fieldmark_trainer::run::config::LossConfig;
use fieldmark_trainer::run::recipe::Recipe;
use fieldmark_trainer::training::loss::losses;
use fieldmark_trainer::training::optim::{Rates, Sgd};
use rand::RngExt;

const BATCH: usize = 5;
const SIDE: usize = 64;
const CLASSES: usize = 4;

/// All weights and statistics after three steps, as bits.
fn trained(backbone: Backbone, stride: usize, learning: Learning, threads: usize) -> Vec<u32> {
    let config = NetworkConfig {
        backbone,
        convention: None,
        class_layer: ClassLayer::Project { stride },
        xi: 3,
        head: HeadKind::GroupMean,
        dropout: 0.2,
    };
    let network = build(&config, CLASSES, SIDE as u32, 1).unwrap();
    let mc = Factors::paper(1.0, 0.5);
    let loss = LossConfig { label_smoothing: 0.1, ..LossConfig::paper(mc) };
    let mut sgd = Sgd::new(Recipe::Scratch.config().optim);
    let mut rng = stream(Stream::Trial { number: 7 });
    let pixels: Vec<f32> = (0..BATCH * 3 * SIDE * SIDE).map(|_| rng.random_range(0.0..255.0)).collect();
    let images = Tensor::from_vec(pixels, (BATCH, 3, SIDE, SIDE), &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32, 3, 1, 2, 2], &Device::Cpu).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        for _ in 0..3 {
            let losses = losses(&network, &images, &labels, &loss, mc.mu, learning, &mut rng).unwrap();
            sgd.step(
                &network.params,
                &losses.backward(&network).unwrap(),
                Rates { backbone: 0.05, head: 0.05 },
            )
            .unwrap();
        }
    });
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    network
        .specs()
        .iter()
        .flat_map(|spec| values(network.params.get(&spec.name).unwrap()))
        .map(f32::to_bits)
        .collect()
}

#[test]
fn three_steps_end_in_the_same_bits_on_one_two_and_five_threads() {
    let whole = Learning::Whole(Norms::Learn);
    for (backbone, stride, learning) in [
        (Backbone::Resnet18, 32, whole),
        (Backbone::EfficientnetLite0, 32, whole),
        (Backbone::Tiny, 8, whole),
        (Backbone::Tiny, 8, Learning::Whole(Norms::Keep)),
        (Backbone::Tiny, 8, Learning::Head),
    ] {
        let one = trained(backbone, stride, learning, 1);
        assert!(one.iter().all(|bits| f32::from_bits(*bits).is_finite()));
        for threads in [2, 5] {
            let many = trained(backbone, stride, learning, threads);
            assert!(many == one, "{backbone}, {learning:?}, on {threads} threads");
        }
    }
}
